// SPDX-License-Identifier: Apache-2.0

package authtest

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

var (
	// ErrUnsigned means that a request has no signature, or half of one.
	ErrUnsigned = errors.New("authtest: the request is not signed")
	// ErrUnknownKey means that nobody has the access key.
	ErrUnknownKey = errors.New("authtest: unknown access key")
	// ErrScope means that a request is signed for another region or service.
	ErrScope = errors.New("authtest: credential should be scoped to a valid region and service")
	// ErrSkew means that the time of the signature is too far from now.
	ErrSkew = errors.New("authtest: signature expired or not yet current")
	// ErrToken means that the session token is missing, wrong or expired.
	ErrToken = errors.New("authtest: the security token included in the request is missing, invalid or expired")
	// ErrSignature means that the signature does not match.
	ErrSignature = errors.New("authtest: the request signature does not match")
)

// Verifier checks AWS Signature Version 4, as headers or as query parameters.
type Verifier struct {
	// Region and Service that requests must be signed for.
	Region, Service string

	// Lookup returns the credentials of an access key id.
	Lookup func(accessKeyID string) (aws.Credentials, bool)

	// Now is the clock. Default: [time.Now].
	Now func() time.Time

	// MaxSkew is how old or young a signature may be. Default: 5 minutes.
	MaxSkew time.Duration
}

const amzTime = "20060102T150405Z"

// Verify checks a request with the given body. Query parameters are checked as
// AWS IoT does for WebSocket upgrades: only the host header may be signed, and
// the session token must not be.
func (v *Verifier) Verify(r *http.Request, body []byte) error {
	query := r.URL.Query()
	presigned := query.Has("X-Amz-Signature")
	var credential, date, signedHeaders, signature, token string
	if presigned {
		credential, date = query.Get("X-Amz-Credential"), query.Get("X-Amz-Date")
		signedHeaders, signature = query.Get("X-Amz-SignedHeaders"), query.Get("X-Amz-Signature")
		token = query.Get("X-Amz-Security-Token")
		if query.Get("X-Amz-Algorithm") != "AWS4-HMAC-SHA256" {
			return ErrUnsigned
		}
	} else {
		auth, ok := strings.CutPrefix(r.Header.Get("Authorization"), "AWS4-HMAC-SHA256 ")
		if !ok {
			return ErrUnsigned
		}
		for _, part := range strings.Split(auth, ",") {
			name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
			switch name {
			case "Credential":
				credential = value
			case "SignedHeaders":
				signedHeaders = value
			case "Signature":
				signature = value
			}
		}
		date, token = r.Header.Get("X-Amz-Date"), r.Header.Get("X-Amz-Security-Token")
	}

	scope := strings.Split(credential, "/")
	at, err := time.Parse(amzTime, date)
	if err != nil || len(scope) != 5 || scope[4] != "aws4_request" || scope[1] != at.Format("20060102") {
		return ErrUnsigned
	}
	creds, ok := v.Lookup(scope[0])
	if !ok {
		return ErrUnknownKey
	}
	if scope[2] != v.Region || scope[3] != v.Service {
		return fmt.Errorf("%w: got %s/%s, want %s/%s", ErrScope, scope[2], scope[3], v.Region, v.Service)
	}
	now := time.Now()
	if v.Now != nil {
		now = v.Now()
	}
	maxSkew := v.MaxSkew
	if maxSkew == 0 {
		maxSkew = 5 * time.Minute
	}
	if now.Sub(at).Abs() > maxSkew {
		return fmt.Errorf("%w: signed at %s, now %s", ErrSkew, at.Format(time.RFC3339), now.UTC().Format(time.RFC3339))
	}
	if token != creds.SessionToken || creds.CanExpire && !now.Before(creds.Expires) {
		return ErrToken
	}
	want, err := resign(r, body, creds, scope[2], scope[3], at, strings.Split(signedHeaders, ";"), presigned)
	if err != nil {
		return err
	}
	if subtle.ConstantTimeCompare([]byte(want), []byte(signature)) != 1 {
		return ErrSignature
	}
	return nil
}

// resign signs what the client says it signed, with the signer of the AWS SDK.
func resign(r *http.Request, body []byte, creds aws.Credentials, region, service string, at time.Time, signed []string, presigned bool) (string, error) {
	query := r.URL.Query()
	for _, name := range []string{"X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Date", "X-Amz-SignedHeaders", "X-Amz-Signature"} {
		query.Del(name)
	}
	if presigned {
		query.Del("X-Amz-Security-Token") // appended after the signature
		if len(signed) != 1 || signed[0] != "host" {
			return "", fmt.Errorf("%w: only the host header may be signed", ErrSignature)
		}
	}
	again := &http.Request{
		Method: r.Method,
		URL:    &url.URL{Scheme: "https", Host: r.Host, Path: r.URL.Path, RawPath: r.URL.RawPath, RawQuery: query.Encode()},
		Host:   r.Host,
		Header: http.Header{},
	}
	hash := sha256.Sum256(body)
	payload := hex.EncodeToString(hash[:])
	signer := v4.NewSigner(func(o *v4.SignerOptions) { o.DisableSessionToken = presigned })
	if presigned {
		uri, _, err := signer.PresignHTTP(r.Context(), creds, again, payload, service, region, at)
		if err != nil {
			return "", err
		}
		u, err := url.Parse(uri)
		if err != nil {
			return "", err
		}
		return u.Query().Get("X-Amz-Signature"), nil
	}
	for _, name := range signed {
		switch name {
		case "host":
		case "content-length":
			again.ContentLength = int64(len(body))
		default:
			again.Header[http.CanonicalHeaderKey(name)] = r.Header.Values(name)
		}
	}
	if err := signer.SignHTTP(r.Context(), creds, again, payload, service, region, at); err != nil {
		return "", err
	}
	_, signature, _ := strings.Cut(again.Header.Get("Authorization"), "Signature=")
	return signature, nil
}
