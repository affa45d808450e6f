// SPDX-License-Identifier: Apache-2.0

package credentials

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
)

const (
	maxReply              = 64 << 10
	defaultTimeout        = 10 * time.Second
	defaultConnectTimeout = 5 * time.Second
	defaultAttempts       = 3
	maxBackoff            = 5 * time.Second

	// Where there is no metadata endpoint, packets to it are usually dropped:
	// do not keep a chain waiting.
	metadataTimeout        = 3 * time.Second
	metadataConnectTimeout = time.Second
)

// HTTPOptions says how a provider reaches its endpoint. The zero value connects
// directly and verifies servers against the system's trust store.
type HTTPOptions struct {
	// Dial opens a connection; address is "host:port", with the host as it is in
	// the URL. Proxy and socket dialers fit. Default: a [net.Dialer].
	Dial func(ctx context.Context, network, address string) (net.Conn, error)

	// TLS gives the configuration for one connection to serverName; it is called
	// for each, so that certificates and trust stores can change. The result is
	// not modified. Its NextProtos is not used, and its ServerName only if set.
	// Default: an empty configuration. The Config method of a TLS context fits.
	TLS func(ctx context.Context, serverName string) (*tls.Config, error)

	// ConnectTimeout bounds connecting, including the TLS handshake. Default: 5
	// seconds, 1 second for metadata endpoints.
	ConnectTimeout time.Duration

	// Timeout bounds one attempt, connecting and reply included. Default: 10
	// seconds, 3 seconds for metadata endpoints.
	Timeout time.Duration

	// Attempts is how often a request is sent at most. Requests are repeated
	// after connection errors, throttling and server errors (5xx), with
	// exponential backoff; refusals (4xx) are final. Default: 3.
	Attempts int
}

func (o HTTPOptions) isZero() bool {
	return o.Dial == nil && o.TLS == nil && o.ConnectTimeout == 0 && o.Timeout == 0 && o.Attempts == 0
}

func (o HTTPOptions) validate() error {
	if o.ConnectTimeout < 0 || o.Timeout < 0 || o.Attempts < 0 {
		return errors.New("HTTPOptions: ConnectTimeout, Timeout and Attempts must not be negative")
	}
	return nil
}

// withDefaults sets the defaults of the fields that are not set.
func (o HTTPOptions) withDefaults(connectTimeout, timeout time.Duration) HTTPOptions {
	if o.Dial == nil {
		o.Dial = (&net.Dialer{}).DialContext
	}
	if o.TLS == nil {
		o.TLS = func(context.Context, string) (*tls.Config, error) { return &tls.Config{}, nil }
	}
	o.ConnectTimeout = cmpOr(o.ConnectTimeout, connectTimeout)
	o.Timeout = cmpOr(o.Timeout, timeout)
	if o.Attempts == 0 {
		o.Attempts = defaultAttempts
	}
	return o
}

// retryer returns the retry policy in the terms of the AWS SDK.
func (o HTTPOptions) retryer() aws.Retryer {
	return retry.NewStandard(func(s *retry.StandardOptions) {
		s.MaxAttempts = o.Attempts
		s.MaxBackoff = maxBackoff
		s.Retryables = append(s.Retryables, retry.RetryableHTTPStatusCode{
			Codes: map[int]struct{}{http.StatusTooManyRequests: {}},
		})
	})
}

// client returns an HTTP client that obeys the options, which must have their
// defaults. It holds nothing between requests.
func (o HTTPOptions) client() *http.Client {
	return &http.Client{
		Transport: limitReplies{&http.Transport{
			Proxy:             nil, // the dialer decides
			DialContext:       o.dial,
			DialTLSContext:    o.dialTLS,
			DisableKeepAlives: true, // hours lie between requests

			MaxResponseHeaderBytes: maxReply,
		}},
		Timeout: o.Timeout,
		// A redirect would carry tokens elsewhere.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

func (o HTTPOptions) dial(ctx context.Context, network, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, o.ConnectTimeout)
	defer cancel()
	return o.Dial(ctx, network, address)
}

func (o HTTPOptions) dialTLS(ctx context.Context, network, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, o.ConnectTimeout)
	defer cancel()
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	cfg, err := o.TLS(ctx, host)
	if err != nil {
		return nil, &tlsHookError{err}
	}
	if cfg == nil {
		cfg = &tls.Config{}
	}
	cfg = cfg.Clone()
	if cfg.ServerName == "" {
		cfg.ServerName = host
	}
	// A context made for MQTT may ask for protocols that this server lacks.
	cfg.NextProtos = nil
	raw, err := o.Dial(ctx, network, address)
	if err != nil {
		return nil, err
	}
	conn := tls.Client(raw, cfg)
	if err := conn.HandshakeContext(ctx); err != nil {
		_ = raw.Close()
		return nil, fmt.Errorf("TLS handshake with %s: %w", host, err)
	}
	return conn, nil
}

// tlsHookError marks the error of a TLS hook: trying again does not help.
type tlsHookError struct{ err error }

func (e *tlsHookError) Error() string        { return "TLS configuration: " + e.err.Error() }
func (e *tlsHookError) Unwrap() error        { return e.err }
func (e *tlsHookError) RetryableError() bool { return false }

// limitReplies bounds the body of each reply.
type limitReplies struct{ next http.RoundTripper }

func (l limitReplies) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := l.next.RoundTrip(r)
	if err == nil {
		resp.Body = &limitedBody{body: resp.Body, left: maxReply}
	}
	return resp, err
}

type limitedBody struct {
	body io.ReadCloser
	left int64
}

func (b *limitedBody) Read(p []byte) (int, error) {
	// One byte more than is allowed distinguishes a reply of the limit from a longer one.
	if int64(len(p)) > b.left+1 {
		p = p[:b.left+1]
	}
	n, err := b.body.Read(p)
	if int64(n) > b.left {
		n, b.left = int(b.left), 0
		return n, ErrReplyTooLarge
	}
	b.left -= int64(n)
	return n, err
}

func (b *limitedBody) Close() error { return b.body.Close() }
