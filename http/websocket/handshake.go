// SPDX-License-Identifier: Apache-2.0

package websocket

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode"

	"github.com/gocrt/aws-iot-device-sdk-go/http/internal/stage"
)

const (
	// maxHeaderBytes bounds the header of the answer.
	maxHeaderBytes = 64 << 10
	// maxErrorBody bounds the body kept in an UpgradeError.
	maxErrorBody = 1 << 10
	// errorBodyTimeout is how long that body may take.
	errorBodyTimeout = 2 * time.Second
	// maxInformational bounds the 1xx answers before the real one.
	maxInformational = 5
	// maxReason bounds the reason phrase in errors.
	maxReason = 128
)

// handshake is the transport of the HTTP client that sends the upgrade request:
// one request on a connection that is already there. Unlike an
// http.Transport it starts no goroutines, bounds the header, and leaves the
// connection in the state in which the answer left it.
type handshake struct {
	ctx    context.Context // of the upgrade
	conn   net.Conn
	used   bool
	stream *stream        // set by a 101
	resp   *http.Response // set by any answer
	body   []byte         // of an answer that is not a 101
	err    error          // why there is no answer
}

// RoundTrip implements http.RoundTripper.
func (h *handshake) RoundTrip(r *http.Request) (*http.Response, error) {
	if h.used {
		return nil, errors.New("the connection carries one request")
	}
	h.used = true
	resp, err := h.exchange(r)
	if err != nil {
		h.err = err
		return nil, err
	}
	h.resp = resp
	return resp, nil
}

func (h *handshake) exchange(r *http.Request) (*http.Response, error) {
	var out bytes.Buffer
	if err := r.Write(&out); err != nil {
		return nil, errors.New("the upgrade request is not valid")
	}
	if _, err := h.conn.Write(out.Bytes()); err != nil {
		return nil, err
	}
	limit := &io.LimitedReader{R: h.conn, N: maxHeaderBytes}
	br := bufio.NewReader(limit)
	for range maxInformational {
		resp, err := http.ReadResponse(br, r)
		if err != nil {
			return nil, responseError(err, limit.N <= 0)
		}
		switch {
		case resp.StatusCode == http.StatusSwitchingProtocols:
			if !resp.ProtoAtLeast(1, 1) {
				return nil, fmt.Errorf("%w: HTTP/1.0 cannot be upgraded", ErrMalformedResponse)
			}
			rest, _ := br.Peek(br.Buffered())
			h.stream = newStream(stage.WithPrefix(h.conn, rest))
			resp.Body = h.stream
			return resp, nil
		case resp.StatusCode >= 200:
			limit.N = maxHeaderBytes
			h.body = h.errorBody(resp.Body)
			resp.Body = io.NopCloser(bytes.NewReader(h.body))
			return resp, nil
		}
	}
	return nil, fmt.Errorf("%w: too many informational responses", ErrMalformedResponse)
}

// errorBody reads the beginning of a body, and waits for it only briefly: the
// status is worth more.
func (h *handshake) errorBody(body io.Reader) []byte {
	ctx, cancel := stage.WithTimeout(h.ctx, errorBodyTimeout)
	defer cancel()
	var b []byte
	_ = stage.Run(ctx, h.conn, func() (err error) {
		b, err = io.ReadAll(io.LimitReader(body, maxErrorBody))
		return err
	})
	return b
}

// responseError classifies a failure to read the answer.
func responseError(err error, exhausted bool) error {
	var ne net.Error
	switch {
	case exhausted:
		return ErrHeaderTooLarge
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("the server closed the connection: %w", io.ErrUnexpectedEOF)
	case errors.As(err, &ne), errors.Is(err, io.ErrClosedPipe), errors.Is(err, net.ErrClosed):
		return err
	default:
		// The text quotes the answer, which is not fit for logs.
		return ErrMalformedResponse
	}
}

// refused builds the error for the answer.
func (h *handshake) refused(u *url.URL, condition error) *UpgradeError {
	clean := url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path, RawPath: u.RawPath}
	_, reason, _ := strings.Cut(h.resp.Status, " ")
	e := &UpgradeError{
		URL:        clean.String(),
		StatusCode: h.resp.StatusCode,
		Reason:     printable(reason, maxReason),
		Header:     http.Header{},
		Body:       h.body,
		Err:        condition,
	}
	if t, err := http.ParseTime(h.resp.Header.Get("Date")); err == nil {
		e.Date = t
	}
	for _, name := range []string{
		"Content-Type", "Date", "Location", "Retry-After", "Sec-Websocket-Protocol", "Sec-Websocket-Version", "Server",
		"Upgrade", "Via", "Www-Authenticate", "X-Amzn-Errortype", "X-Amzn-Requestid", "X-Amz-Cf-Id",
	} {
		for _, v := range h.resp.Header[name] {
			if len(e.Header[name]) < 8 && len(v) <= 1024 {
				e.Header[name] = append(e.Header[name], v)
			}
		}
	}
	return e
}

// printable makes text from the network fit for errors and logs.
func printable(s string, limit int) string {
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, ""))
	for i := range s {
		if i >= limit {
			return s[:i]
		}
	}
	return s
}
