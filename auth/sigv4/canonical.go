// SPDX-License-Identifier: Apache-2.0

package sigv4

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/url"
	"sort"
	"strings"
	"time"
)

const (
	algorithm  = "AWS4-HMAC-SHA256"
	timeFormat = "20060102T150405Z"
	dateFormat = "20060102"

	// emptyPayload is the SHA-256 of nothing.
	emptyPayload = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
)

// canonical is a request in the terms of the signature.
type canonical struct {
	time    time.Time // UTC
	region  string
	service string
	host    string
	path    string // as sent
	query   string // sorted and encoded
}

func (c *canonical) scope() string {
	return c.time.Format(dateFormat) + "/" + c.region + "/" + c.service + "/aws4_request"
}

func (c *canonical) request() string {
	path := c.path
	if path == "" {
		path = "/"
	}
	// All services but S3 encode the path as sent once more.
	return "GET\n" + escapePath(path) + "\n" + c.query + "\nhost:" + c.host + "\n\nhost\n" + emptyPayload
}

func (c *canonical) signature(secret string) string {
	hash := sha256.Sum256([]byte(c.request()))
	toSign := algorithm + "\n" + c.time.Format(timeFormat) + "\n" + c.scope() + "\n" + hex.EncodeToString(hash[:])
	key := mac([]byte("AWS4"+secret), c.time.Format(dateFormat))
	key = mac(key, c.region)
	key = mac(key, c.service)
	key = mac(key, "aws4_request")
	return hex.EncodeToString(mac(key, toSign))
}

func mac(key []byte, data string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(data))
	return h.Sum(nil)
}

// param is a query parameter, both parts percent-encoded.
type param struct{ name, value string }

// queryParams reads the query that a request already has, without the
// parameters of an earlier signature.
func queryParams(raw string) ([]param, error) {
	var params []param
	for raw != "" {
		var pair string
		pair, raw, _ = strings.Cut(raw, "&")
		if pair == "" {
			continue
		}
		name, value, _ := strings.Cut(pair, "=")
		// A plus sign means a space in a query, for servers as for net/url.
		name, err := url.QueryUnescape(name)
		if err == nil {
			value, err = url.QueryUnescape(value)
		}
		if err != nil {
			return nil, fmt.Errorf("sigv4: query: %w", err)
		}
		switch strings.ToLower(name) {
		case "x-amz-algorithm", "x-amz-credential", "x-amz-date", "x-amz-expires",
			"x-amz-signedheaders", "x-amz-signature", "x-amz-security-token":
			continue
		}
		params = append(params, param{escape(name), escape(value)})
	}
	return params, nil
}

// encodeParams sorts by encoded name, then by encoded value.
func encodeParams(params []param) string {
	sort.Slice(params, func(i, j int) bool {
		if params[i].name != params[j].name {
			return params[i].name < params[j].name
		}
		return params[i].value < params[j].value
	})
	var b strings.Builder
	for i, p := range params {
		if i > 0 {
			b.WriteByte('&')
		}
		b.WriteString(p.name)
		b.WriteByte('=')
		b.WriteString(p.value)
	}
	return b.String()
}

// escape percent-encodes every byte outside RFC 3986's unreserved set.
func escape(s string) string { return percentEncode(s, false) }

func escapePath(s string) string { return percentEncode(s, true) }

func percentEncode(s string, keepSlash bool) string {
	const hexDigits = "0123456789ABCDEF"
	var b strings.Builder
	b.Grow(len(s))
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9',
			c == '-', c == '.', c == '_', c == '~', c == '/' && keepSlash:
			b.WriteByte(c)
		default:
			b.WriteByte('%')
			b.WriteByte(hexDigits[c>>4])
			b.WriteByte(hexDigits[c&15])
		}
	}
	return b.String()
}
