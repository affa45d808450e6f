// SPDX-License-Identifier: Apache-2.0

package iottest

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// AccessKey is an AWS access key the core knows. Printing it does not reveal its secrets.
type AccessKey struct {
	AccessKeyID     string
	SecretAccessKey string
	SessionToken    string    // empty for a long-term key
	Expires         time.Time // zero for a long-term key

	policies []*Policy
}

// Format hides the secrets.
func (k AccessKey) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, "AccessKey("+k.AccessKeyID+")")
}

// AccessKeyOptions say what key [Core.CreateAccessKey] makes.
type AccessKeyOptions struct {
	// Lifetime makes a temporary key with a session token, which expires after
	// this time on the core's clock. Zero makes a long-term key.
	Lifetime time.Duration
	// Policies are AWS IoT policies, as JSON documents. Without any the key may
	// do everything.
	Policies []string
}

// CreateAccessKey makes an access key that the core accepts in signatures.
func (c *Core) CreateAccessKey(o AccessKeyOptions) (*AccessKey, error) {
	k := &AccessKey{
		AccessKeyID:     "AKIA" + strings.ToUpper(randomHex(8)),
		SecretAccessKey: randomHex(20),
	}
	for _, doc := range o.Policies {
		p, err := ParsePolicy(doc)
		if err != nil {
			return nil, err
		}
		k.policies = append(k.policies, p)
	}
	if o.Lifetime != 0 {
		k.AccessKeyID = "ASIA" + k.AccessKeyID[4:]
		// Characters that need escaping in a URL are the ones clients get wrong.
		k.SessionToken = "FwoG/" + randomHex(24) + "+" + randomHex(24) + "=="
		k.Expires = c.now().Add(o.Lifetime)
	}
	c.mu.Lock()
	c.addKey(k)
	c.mu.Unlock()
	copied := *k
	return &copied, nil
}

// AddAccessKey makes the core accept a key that came from elsewhere. It may do
// everything.
func (c *Core) AddAccessKey(k AccessKey) {
	k.policies = nil
	c.mu.Lock()
	defer c.mu.Unlock()
	c.addKey(&k)
}

// DeleteAccessKey makes the core forget a key.
func (c *Core) DeleteAccessKey(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.removeKey(id)
}

// Errors of signatures, as [Event.Err] of [RequestRefused].
var (
	ErrUnknownAccessKey   = errors.New("iottest: the security token included in the request is invalid: unknown access key")
	ErrSessionToken       = errors.New("iottest: the security token included in the request is invalid: wrong or missing session token")
	ErrCredentialsExpired = errors.New("iottest: the security token included in the request is expired")
	ErrSignatureExpired   = errors.New("iottest: signature expired or not yet current: the signing time is too far from the server's")
	ErrSignatureMismatch  = errors.New("iottest: the request signature does not match the one calculated by the server")
	ErrCredentialScope    = errors.New("iottest: the credential is not scoped to the right date, region and service")
	ErrUnsigned           = errors.New("iottest: the request is not signed")
)

// maxSkew is how far signing time and server time may be apart.
const maxSkew = 5 * time.Minute

const signingAlgorithm = "AWS4-HMAC-SHA256"

// verifySignature checks an AWS Signature Version 4, in the query or in the
// Authorization header, and returns its key.
func (c *Core) verifySignature(r *http.Request, service, payloadHash string) (*AccessKey, error) {
	s, err := readSignature(r)
	if err != nil {
		return nil, err
	}
	key, err := c.keyOf(s, service)
	if err != nil {
		return nil, err
	}
	if !slices.Contains(strings.Split(s.signed, ";"), "host") {
		return nil, fmt.Errorf("%w: the host header is not signed", ErrSignatureMismatch)
	}
	if !hmac.Equal([]byte(s.compute(r, payloadHash, key.SecretAccessKey)), []byte(s.signature)) {
		return nil, ErrSignatureMismatch
	}
	return key, nil
}

// signature is what a request says of its signature.
type signature struct {
	query     [][2]string
	scope     []string // access key, date, region, service, "aws4_request"
	date      string   // of signing
	when      time.Time
	expires   string // seconds; empty: not given
	token     string // of the session
	signed    string // names of the signed headers
	signature string
}

func readSignature(r *http.Request) (*signature, error) {
	query, err := parseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSignatureMismatch, err)
	}
	get := func(name string) string {
		for _, p := range query {
			if p[0] == name {
				return p[1]
			}
		}
		return ""
	}
	s := &signature{query: query, date: get("X-Amz-Date"), expires: get("X-Amz-Expires"), token: get("X-Amz-Security-Token"),
		signed: get("X-Amz-SignedHeaders"), signature: get("X-Amz-Signature")}
	credential := get("X-Amz-Credential")
	if header := r.Header.Get("Authorization"); header != "" {
		rest, ok := strings.CutPrefix(header, signingAlgorithm+" ")
		if !ok {
			return nil, ErrUnsigned
		}
		for _, part := range strings.Split(rest, ",") {
			name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
			switch name {
			case "Credential":
				credential = value
			case "SignedHeaders":
				s.signed = value
			case "Signature":
				s.signature = value
			}
		}
		s.date, s.token = r.Header.Get("X-Amz-Date"), r.Header.Get("X-Amz-Security-Token")
	} else if get("X-Amz-Algorithm") != signingAlgorithm {
		return nil, ErrUnsigned
	}
	s.scope = strings.Split(credential, "/")
	if s.when, err = time.Parse("20060102T150405Z", s.date); err != nil || len(s.scope) != 5 || s.signature == "" {
		return nil, fmt.Errorf("%w: malformed signature parameters", ErrSignatureMismatch)
	}
	return s, nil
}

// keyOf returns the access key of a signature, if that is valid for it now and
// for the service.
func (c *Core) keyOf(s *signature, service string) (*AccessKey, error) {
	c.mu.Lock()
	now := c.nowLocked()
	key := c.keys[s.scope[0]]
	c.mu.Unlock()
	scope := s.scope[1:]
	switch {
	case key == nil:
		return nil, ErrUnknownAccessKey
	case s.token != key.SessionToken:
		return nil, ErrSessionToken
	case !key.Expires.IsZero() && !now.Before(key.Expires):
		return nil, ErrCredentialsExpired
	case now.Sub(s.when).Abs() > maxSkew:
		return nil, fmt.Errorf("%w: %s against %s", ErrSignatureExpired, s.date, now.UTC().Format("20060102T150405Z"))
	case scope[0] != s.when.Format("20060102") || scope[1] != c.opts.Region || scope[2] != service || scope[3] != "aws4_request":
		return nil, fmt.Errorf("%w: %s", ErrCredentialScope, strings.Join(scope, "/"))
	}
	if s.expires != "" {
		if seconds, err := strconv.Atoi(s.expires); err != nil || now.After(s.when.Add(time.Duration(seconds)*time.Second)) {
			return nil, ErrSignatureExpired
		}
	}
	return key, nil
}

// compute returns the signature that the request has to have.
func (s *signature) compute(r *http.Request, payloadHash, secret string) string {
	var headers strings.Builder
	for _, name := range strings.Split(s.signed, ";") {
		value := strings.Join(r.Header.Values(name), ",")
		if name == "host" {
			value = r.Host
		}
		fmt.Fprintf(&headers, "%s:%s\n", name, strings.Join(strings.Fields(value), " "))
	}
	scope := s.scope[1:]
	canonical := strings.Join([]string{r.Method, canonicalPath(r.URL), canonicalQuery(s.query), headers.String(), s.signed, payloadHash}, "\n")
	toSign := strings.Join([]string{signingAlgorithm, s.date, strings.Join(scope, "/"), hexSHA256([]byte(canonical))}, "\n")
	k := []byte("AWS4" + secret)
	for _, part := range append(slices.Clone(scope), toSign) {
		mac := hmac.New(sha256.New, k)
		mac.Write([]byte(part))
		k = mac.Sum(nil)
	}
	return hex.EncodeToString(k)
}

func hexSHA256(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

func parseQuery(raw string) ([][2]string, error) {
	var out [][2]string
	for _, pair := range strings.Split(raw, "&") {
		if pair == "" {
			continue
		}
		name, value, _ := strings.Cut(pair, "=")
		n, err := url.QueryUnescape(name)
		if err != nil {
			return nil, err
		}
		v, err := url.QueryUnescape(value)
		if err != nil {
			return nil, err
		}
		out = append(out, [2]string{n, v})
	}
	return out, nil
}

// canonicalQuery leaves out the signature, and the session token, which the
// service does not want signed.
func canonicalQuery(query [][2]string) string {
	var parts []string
	for _, p := range query {
		if p[0] != "X-Amz-Signature" && p[0] != "X-Amz-Security-Token" {
			parts = append(parts, escape(p[0])+"="+escape(p[1]))
		}
	}
	slices.Sort(parts)
	return strings.Join(parts, "&")
}

func canonicalPath(u *url.URL) string {
	if u.Path == "" {
		return "/"
	}
	segments := strings.Split(u.EscapedPath(), "/")
	for i, s := range segments {
		segments[i] = escape(s)
	}
	return strings.Join(segments, "/")
}

// escape is percent-encoding of all but the unreserved characters of RFC 3986.
func escape(s string) string {
	var b strings.Builder
	for i := range len(s) {
		switch ch := s[i]; {
		case 'a' <= ch && ch <= 'z', 'A' <= ch && ch <= 'Z', '0' <= ch && ch <= '9', strings.IndexByte("-._~", ch) >= 0:
			b.WriteByte(ch)
		default:
			fmt.Fprintf(&b, "%%%02X", ch)
		}
	}
	return b.String()
}
