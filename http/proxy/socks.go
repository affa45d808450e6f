// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"

	"github.com/gocrt/aws-iot-device-sdk-go/http/internal/exchange"
)

// SOCKS5 protocol numbers (RFC 1928, RFC 1929).
const (
	socksVersion      = 5
	socksAuthVersion  = 1
	socksNoAuth       = 0
	socksUserPass     = 2
	socksNoAcceptable = 0xff
	socksConnect      = 1
	socksIPv4         = 1
	socksName         = 3
	socksIPv6         = 4

	// Replies: RFC 1928 section 6.
	socksNotAllowed = 2
	socksTTLExpired = 6
)

// socks asks a SOCKS5 proxy for a tunnel on conn, which it closes on error.
// ctx carries the deadline of the tunnel.
func (d *Dialer) socks(ctx context.Context, conn net.Conn, target string) (net.Conn, error) {
	reply := SOCKSReply(0)
	err := exchange.Run(ctx, conn, func() (err error) {
		reply, err = d.socksTunnel(conn, target)
		return err
	})
	if err == nil {
		return conn, nil
	}
	_ = conn.Close()
	e := d.fail(StepTunnel, target, exchangeError(err))
	if ctx.Err() == nil {
		e.Reply = reply
		e.Hint = d.socksHint(err, reply)
	}
	return nil, e
}

// socksTunnel speaks SOCKS5. The reply code is that of a proxy that refused.
func (d *Dialer) socksTunnel(conn net.Conn, target string) (SOCKSReply, error) {
	if err := d.socksAuthenticate(conn); err != nil {
		return 0, err
	}
	request, err := socksRequest(target)
	if err != nil {
		return 0, err
	}
	if _, err := conn.Write(request); err != nil {
		return 0, err
	}
	var head [4]byte
	n, err := io.ReadFull(conn, head[:])
	switch { // a proxy that refuses may say no more than that
	case n >= 1 && head[0] != socksVersion:
		return 0, malformed("reply is not SOCKS5")
	case n >= 2 && head[1] != 0:
		return SOCKSReply(head[1]), ErrRefused
	case err != nil:
		return 0, err
	case head[2] != 0:
		return 0, malformed("reply has an invalid field")
	}
	// The bound address means nothing to a client, but has to be read.
	size := 0
	switch head[3] {
	case socksIPv4:
		size = net.IPv4len
	case socksIPv6:
		size = net.IPv6len
	case socksName:
		var n [1]byte
		if _, err := io.ReadFull(conn, n[:]); err != nil {
			return 0, err
		}
		size = int(n[0])
	default:
		return 0, malformed("reply has an invalid field")
	}
	_, err = io.ReadFull(conn, make([]byte, size+2))
	return 0, err
}

// socksAuthenticate agrees on a method, and logs in if the proxy wants that.
func (d *Dialer) socksAuthenticate(conn net.Conn) error {
	offer := []byte{socksVersion, 1, socksNoAuth}
	if d.proxy.hasAuth {
		offer = []byte{socksVersion, 2, socksNoAuth, socksUserPass}
	}
	if _, err := conn.Write(offer); err != nil {
		return err
	}
	var choice [2]byte
	if n, err := io.ReadFull(conn, choice[:]); n == 0 {
		return silentError{err}
	} else if err != nil {
		return err
	}
	switch {
	case choice[0] == 'H': // as in HTTP/1.1
		return errSpeaksHTTP
	case choice[0] == 0x15, choice[0] == 0x16:
		return errSpeaksTLS
	case choice[0] == 0:
		return errSpeaksSOCKS4
	case choice[0] != socksVersion:
		return malformed("not SOCKS5")
	case choice[1] == socksNoAuth:
		return nil
	case choice[1] == socksNoAcceptable:
		return ErrAuthentication
	case choice[1] != socksUserPass || !d.proxy.hasAuth:
		return malformed("authentication method that was not offered")
	}
	login := append([]byte{socksAuthVersion, byte(len(d.proxy.user))}, d.proxy.user...)
	login = append(append(login, byte(len(d.proxy.pass))), d.proxy.pass...)
	if _, err := conn.Write(login); err != nil {
		return err
	}
	if _, err := io.ReadFull(conn, choice[:]); err != nil {
		return err
	}
	if choice[1] != 0 {
		return ErrAuthentication
	}
	return nil
}

// socksRequest asks for a connection to the target, whose name goes to the
// proxy as it is.
func socksRequest(target string) ([]byte, error) {
	host, service, err := net.SplitHostPort(target)
	if err != nil {
		return nil, err
	}
	port, err := strconv.ParseUint(service, 10, 16)
	if err != nil {
		return nil, err
	}
	b := []byte{socksVersion, socksConnect, 0}
	if addr, err := netip.ParseAddr(host); err == nil {
		if addr = addr.Unmap().WithZone(""); addr.Is4() {
			b = append(b, socksIPv4)
		} else {
			b = append(b, socksIPv6)
		}
		b = append(b, addr.AsSlice()...)
	} else {
		if len(host) > 255 {
			return nil, &net.AddrError{Err: "host name is longer than 255 bytes", Addr: target}
		}
		b = append(append(b, socksName, byte(len(host))), host...)
	}
	return append(b, byte(port>>8), byte(port)), nil
}

func malformed(what string) error { return fmt.Errorf("%w: %s", ErrMalformedResponse, what) }
