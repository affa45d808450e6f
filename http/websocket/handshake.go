// SPDX-License-Identifier: Apache-2.0

package websocket

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/http/internal/exchange"
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
)

// handshake is one upgrade on a connection that is already there. Unlike an
// http.Transport it starts no goroutines, bounds the header, and leaves the
// connection in the state in which the answer left it.
type handshake struct {
	ctx   context.Context // of the upgrade
	conn  net.Conn
	key   string         // Sec-WebSocket-Key
	resp  *http.Response // set by any answer
	body  []byte         // of an answer that is not a 101
	early []byte         // what came behind a 101
}

// newKey makes a Sec-WebSocket-Key.
func newKey() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return base64.StdEncoding.EncodeToString(b[:])
}

// acceptKey is the Sec-WebSocket-Accept for a key: RFC 6455 section 4.2.2. The
// hash proves that the server has understood the request. It protects nothing,
// so that it is no use of cryptography in the sense of FIPS 140.
func acceptKey(key string) string {
	var sum [sha1.Size]byte
	unenforced(func() { sum = sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11")) })
	return base64.StdEncoding.EncodeToString(sum[:])
}

// exchange sends the request and reads the answer.
func (h *handshake) exchange(r *http.Request) error {
	var out bytes.Buffer
	if err := r.Write(&out); err != nil {
		return errors.New("the upgrade request is not valid") // the error quotes the URL
	}
	if _, err := h.conn.Write(out.Bytes()); err != nil {
		return err
	}
	limit := &io.LimitedReader{R: h.conn, N: maxHeaderBytes}
	br := bufio.NewReader(limit)
	for range maxInformational {
		resp, err := http.ReadResponse(br, r)
		if err != nil {
			return responseError(err, limit.N <= 0)
		}
		switch {
		case resp.StatusCode == http.StatusSwitchingProtocols:
			if !resp.ProtoAtLeast(1, 1) {
				return fmt.Errorf("%w: HTTP/1.0 cannot be upgraded", ErrMalformedResponse)
			}
			h.resp = resp
			h.early, _ = br.Peek(br.Buffered())
			return nil
		case resp.StatusCode >= 200:
			h.resp = resp
			limit.N = maxHeaderBytes
			h.body = h.errorBody(resp.Body)
			return nil
		}
	}
	return fmt.Errorf("%w: too many informational responses", ErrMalformedResponse)
}

// check verifies a 101 answer by RFC 6455 section 4.1.
func (h *handshake) check(subprotocols []string) error {
	header := h.resp.Header
	switch {
	case !exchange.HasToken(header["Connection"], "upgrade"):
		return fmt.Errorf("%w: the Connection field does not say Upgrade", ErrInvalidUpgrade)
	case !exchange.HasToken(header["Upgrade"], "websocket"):
		return fmt.Errorf("%w: the Upgrade field does not say websocket", ErrInvalidUpgrade)
	case header.Get("Sec-Websocket-Accept") != acceptKey(h.key):
		return fmt.Errorf("%w: the Sec-WebSocket-Accept field is not that of the key", ErrInvalidUpgrade)
	case len(header["Sec-Websocket-Extensions"]) > 0:
		return fmt.Errorf("%w: an extension that was not offered", ErrInvalidUpgrade)
	case len(header["Sec-Websocket-Protocol"]) > 1 || !slices.Contains(subprotocols, header.Get("Sec-Websocket-Protocol")):
		return ErrSubprotocol
	}
	return nil
}

// errorBody reads the beginning of a body, and waits for it only briefly: the
// status is worth more.
func (h *handshake) errorBody(body io.Reader) []byte {
	ctx, cancel := exchange.WithTimeout(h.ctx, errorBodyTimeout)
	defer cancel()
	var b []byte
	_ = exchange.Run(ctx, h.conn, func() (err error) {
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
		Reason:     exchange.Printable(reason),
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
			if name == "Location" { // may repeat the query of the request
				v = exchange.WithoutSecrets(v)
			}
			if len(e.Header[name]) < 8 && len(v) <= 1024 {
				e.Header[name] = append(e.Header[name], v)
			}
		}
	}
	return e
}
