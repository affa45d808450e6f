// SPDX-License-Identifier: Apache-2.0

package iottest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
)

// port is a port of the core. addr is the one asked for until it was opened,
// and the actual one from then on; ln is guarded by Core.mu once the core runs,
// and nil while the port is closed.
type port struct {
	service string // the port of AWS IoT Core that it stands for: "443", "8883" or "1883"
	addr    string
	ln      net.Listener
}

// PortError says which port could not be opened.
type PortError struct {
	Port string // the port of AWS IoT Core that it stands for: "443", "8883" or "1883"
	Addr string // the address that was asked for
	Err  error
}

// Error names the port, its address and the cause.
func (e *PortError) Error() string {
	return fmt.Sprintf("iottest: the port that stands for %s cannot be opened on %s: %v", e.Port, e.Addr, e.Err)
}

// Unwrap returns the cause, for instance [syscall.EADDRINUSE].
func (e *PortError) Unwrap() error { return e.Err }

// openPorts opens the ports that are closed, all or none.
func (c *Core) openPorts() error {
	var opened []*port
	for _, p := range c.ports {
		if p.ln != nil {
			continue
		}
		ln, err := net.Listen("tcp", p.addr)
		if err != nil {
			for _, q := range opened {
				_ = q.ln.Close()
				q.ln = nil
			}
			return &PortError{Port: p.service, Addr: p.addr, Err: err}
		}
		p.ln = ln
		opened = append(opened, p)
	}
	for _, p := range opened {
		p.addr = p.ln.Addr().String()
	}
	return nil
}

// closePorts closes the ports that are open. c.mu is held.
func (c *Core) closePorts() {
	for _, p := range c.ports {
		if p.ln != nil {
			_ = p.ln.Close()
			p.ln = nil
		}
	}
}

// StopListening closes all ports, so that new connections are refused, as
// during a restart of a server. Connections that exist stay; [Core.CutAll] ends
// them. [Core.Listen] opens the ports again.
func (c *Core) StopListening() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closePorts()
}

// Listen opens the ports again that [Core.StopListening] closed, on the same addresses.
func (c *Core) Listen() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return errors.New("iottest: the core is closed")
	}
	var closed []*port
	for _, p := range c.ports {
		if p.ln == nil {
			closed = append(closed, p)
		}
	}
	if err := c.openPorts(); err != nil {
		return err
	}
	for _, p := range closed {
		c.accept(p.ln, p.service)
	}
	return nil
}

// portAddr is the address of a port; it does not change while the port is closed.
func (c *Core) portAddr(service string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range c.ports {
		if p.service == service {
			return p.addr
		}
	}
	return ""
}

func portNumber(addr string) int {
	_, number, err := net.SplitHostPort(addr)
	if err != nil {
		return 0
	}
	n, _ := strconv.Atoi(number)
	return n
}

// Addr is the address, host and port, of the port that stands for 443: MQTT
// with ALPN "x-amzn-mqtt-ca" (client certificate) or "mqtt" (custom
// authorizer), without ALPN or with "http/1.1" HTTPS and WebSockets on /mqtt.
func (c *Core) Addr() string { return c.portAddr(portHTTPS) }

// MTLSAddr is the address of the port that stands for 8883: MQTT with a client
// certificate.
func (c *Core) MTLSAddr() string { return c.portAddr(portMTLS) }

// TCPAddr is the address of the port without TLS, empty unless [Options.PlainTCP].
func (c *Core) TCPAddr() string { return c.portAddr(portPlain) }

// Port is the number of the port that stands for 443.
func (c *Core) Port() int { return portNumber(c.Addr()) }

// MTLSPort is the number of the port that stands for 8883.
func (c *Core) MTLSPort() int { return portNumber(c.MTLSAddr()) }

// TCPPort is the number of the port without TLS, 0 unless [Options.PlainTCP].
func (c *Core) TCPPort() int { return portNumber(c.TCPAddr()) }

// DialContext dials as [net.Dialer.DialContext], but takes the host names the
// core stands for (everything below amazonaws.com) to the core, on ports 443
// and 8443, 8883 and 1883, or the core's own port numbers. It is how a client
// under test connects by the real name.
func (c *Core) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("iottest: dial: %w", err)
	}
	var d net.Dialer
	if !strings.HasSuffix(host, ".amazonaws.com") {
		return d.DialContext(ctx, network, address)
	}
	switch port {
	case "443", "8443", strconv.Itoa(c.Port()):
		address = c.Addr()
	case "8883", strconv.Itoa(c.MTLSPort()):
		address = c.MTLSAddr()
	default:
		if c.TCPAddr() == "" || port != "1883" && port != strconv.Itoa(c.TCPPort()) {
			return nil, fmt.Errorf("iottest: dial %s: the core has no such port", address)
		}
		address = c.TCPAddr()
	}
	return d.DialContext(ctx, network, address)
}
