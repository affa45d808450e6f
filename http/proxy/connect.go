// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"bufio"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/http/internal/exchange"
)

const (
	// maxRounds bounds the CONNECT requests for one tunnel.
	maxRounds = 8
	// drainTimeout is how long the rest of a 407 may take before a new
	// connection is the better way to go on.
	drainTimeout = 2 * time.Second

	authorization = "Proxy-Authorization"
)

// session is a connection to an HTTP proxy that carries one request after the other.
type session struct {
	conn net.Conn
	br   *bufio.Reader
	// reused means that the proxy has answered a request and promised to read another.
	reused bool
}

// connect asks an HTTP proxy for a tunnel on conn, which it closes on error.
// ctx carries the deadline of the tunnel.
func (d *Dialer) connect(ctx context.Context, conn net.Conn, network, target string) (_ net.Conn, err error) {
	s := &session{conn: conn, br: bufio.NewReader(conn)}
	defer func() {
		if err != nil {
			_ = s.conn.Close()
		}
	}()
	header, err := d.connectHeader(ctx, ConnectRequest{Target: target})
	if err != nil {
		return nil, d.fail(StepHeader, target, err)
	}
	basicSent := false
	if d.opts.PreemptiveAuth && d.proxy.hasAuth && header.Get(authorization) == "" {
		header.Set(authorization, d.proxy.basic())
		basicSent = true
	}
	for round := 1; ; round++ {
		resp, err := d.ask(ctx, s, network, target, header)
		if err != nil {
			return nil, err
		}
		switch {
		case resp.status >= 200 && resp.status <= 299:
			rest, _ := s.br.Peek(s.br.Buffered())
			return exchange.WithPrefix(s.conn, rest), nil
		case resp.status == http.StatusUnauthorized:
			// tinyproxy says so when it does not accept the credentials.
			return nil, d.refused(target, resp, ErrAuthentication)
		case resp.status != http.StatusProxyAuthRequired:
			return nil, d.refused(target, resp, ErrRefused)
		case round == maxRounds:
			return nil, d.refused(target, resp, ErrAuthentication)
		}

		header, err = d.connectHeader(ctx, ConnectRequest{Target: target, Round: round, Challenge: resp.header})
		if err != nil {
			return nil, d.fail(StepHeader, target, err)
		}
		if header.Get(authorization) == "" {
			if !d.proxy.hasAuth || basicSent || !resp.offers("basic") {
				return nil, d.refused(target, resp, ErrAuthentication)
			}
			header.Set(authorization, d.proxy.basic())
			basicSent = true
		}
		if s.reused = s.drain(ctx, resp); !s.reused {
			if err := d.reopen(ctx, s, network, target); err != nil {
				return nil, err
			}
		}
	}
}

// ask sends a request and reads the header of the answer. A proxy that promised
// to read another request and has closed the connection instead is asked again
// on a new one.
func (d *Dialer) ask(ctx context.Context, s *session, network, target string, header http.Header) (*response, error) {
	resp, err := s.exchange(ctx, target, header)
	if err != nil && s.reused && ctx.Err() == nil && errors.As(err, new(silentError)) {
		if err := d.reopen(ctx, s, network, target); err != nil {
			return nil, err
		}
		resp, err = s.exchange(ctx, target, header)
	}
	if err != nil {
		e := d.fail(StepTunnel, target, exchangeError(err))
		e.Hint = protocolHint(err)
		return nil, e
	}
	return resp, nil
}

// reopen replaces the connection of s by a new one.
func (d *Dialer) reopen(ctx context.Context, s *session, network, target string) error {
	_ = s.conn.Close()
	conn, err := d.open(ctx, network, target)
	if err != nil {
		return err
	}
	s.conn, s.reused = conn, false
	s.br.Reset(conn)
	return nil
}

func (s *session) exchange(ctx context.Context, target string, header http.Header) (resp *response, err error) {
	err = exchange.Run(ctx, s.conn, func() (err error) {
		if _, err = s.conn.Write(connectRequest(target, header)); err != nil {
			return silentError{err}
		}
		resp, err = readResponse(s.br)
		return err
	})
	return resp, err
}

// drain reads the rest of an answer and reports whether the connection can
// carry another request.
func (s *session) drain(ctx context.Context, resp *response) bool {
	if !resp.keepAlive() {
		return false
	}
	ctx, cancel := exchange.WithTimeout(ctx, drainTimeout)
	defer cancel()
	return exchange.Run(ctx, s.conn, func() error { return resp.discardBody(s.br) }) == nil
}

// connectHeader asks the callback for headers. The result may be written to.
func (d *Dialer) connectHeader(ctx context.Context, r ConnectRequest) (http.Header, error) {
	out := http.Header{}
	if d.opts.ConnectHeader == nil {
		return out, nil
	}
	r.Challenge = r.Challenge.Clone()
	h, err := d.opts.ConnectHeader(ctx, r)
	if err != nil {
		return nil, err
	}
	if ctx.Err() != nil {
		return nil, exchange.Cause(ctx)
	}
	for name, values := range h {
		key := http.CanonicalHeaderKey(name)
		switch {
		case !exchange.IsToken(name):
			return nil, fmt.Errorf("invalid header name %q", name)
		case key == "Host", key == "Content-Length", key == "Transfer-Encoding":
			return nil, fmt.Errorf("header %s cannot be set", key)
		}
		for _, v := range values {
			if !exchange.IsFieldValue(v) {
				return nil, fmt.Errorf("invalid value of header %s", key)
			}
			out.Add(key, v)
		}
	}
	return out, nil
}

// connectRequest is the request as it goes over the wire. The target was
// checked by splitTarget and the header by connectHeader.
func connectRequest(target string, header http.Header) []byte {
	var b strings.Builder
	b.WriteString("CONNECT ")
	b.WriteString(target)
	b.WriteString(" HTTP/1.1\r\nHost: ")
	b.WriteString(target)
	b.WriteString("\r\n")
	_ = header.Write(&b)
	b.WriteString("\r\n")
	return []byte(b.String())
}

// basic is the Proxy-Authorization of RFC 7617 in UTF-8.
func (e endpoint) basic() string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(e.user+":"+e.pass))
}

// refused builds the error for an answer that opens no tunnel.
func (d *Dialer) refused(target string, resp *response, condition error) *Error {
	e := d.fail(StepTunnel, target, condition)
	e.StatusCode = resp.status
	e.Reason = resp.reason
	e.Header = resp.diagnostics()
	e.Hint = d.hint(resp)
	return e
}
