// SPDX-License-Identifier: Apache-2.0

package iot

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"strconv"
	"strings"
	"sync/atomic"

	"go.uber.org/zap"

	"github.com/gocrt/aws-iot-device-sdk-go/io/socket"
	"github.com/gocrt/aws-iot-device-sdk-go/io/tlsctx"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
)

// Application protocols and ports of AWS IoT Core.
const (
	alpnMTLS       = "x-amzn-mqtt-ca"
	alpnCustomAuth = "mqtt"

	portTLS  = 443
	portMTLS = 8883
	portTCP  = 1883
)

// apply collects the options.
func apply(options []Option) *settings {
	s := &settings{}
	for _, o := range options {
		if o != nil {
			o(s)
		}
	}
	return s
}

// build makes the client.
func (s *settings) build(endpoint string, m method) (*mqtt5.Client, error) {
	c, err := s.connector(endpoint, m)
	if err != nil {
		return nil, err
	}
	client, err := mqtt5.NewClient(c.options)
	if err == nil && len(c.expiring) > 0 {
		watchExpiry(client, s.reconnectAhead, c.expiring, s.logger)
	}
	return client, err
}

// connector is what a client is made of.
type connector struct {
	host    string
	port    int
	tls     *tlsctx.Context // nil without TLS
	tlsOpts tlsctx.Options
	network mqtt5.DialFunc // what is below TLS
	dial    mqtt5.DialFunc // all layers
	options mqtt5.ClientOptions
	profile bool
	// certificate means that the client may authenticate with one.
	certificate bool
	// expiring is what [WithReconnectBeforeExpiry] watches; empty without it.
	expiring []expiring
	// noALPN reports that the last TLS connection agreed on none of the
	// application protocols that were offered.
	noALPN atomic.Bool
}

// connector checks the settings and puts the layers together.
func (s *settings) connector(endpoint string, m method) (*connector, error) {
	host, err := parseEndpoint(endpoint)
	problems := append([]error{err}, s.problems...)
	c := &connector{host: host, port: s.port, profile: !m.broker || err == nil && isAWSHost(host)}
	if s.profile != nil {
		c.profile = *s.profile
	}
	if c.port == 0 {
		c.port = s.defaultPort(m)
	}
	problems = append(problems, s.contradictions(m)...)
	c.tlsOpts = tlsctx.Options{Identity: s.identity, ALPN: s.applicationProtocols(m, c.port), Logger: s.logger}
	for _, f := range s.tls {
		f(&c.tlsOpts)
	}
	c.certificate = c.tlsOpts.Identity != nil || s.tlsContext != nil
	switch {
	case s.plaintext:
	case s.tlsContext != nil:
		c.tls = s.tlsContext
	default:
		if c.tls, err = tlsctx.New(c.tlsOpts); err != nil {
			problems = append(problems, each(err)...)
		}
	}
	s.watch(c)
	if c.network, err = s.networkDialer(); err != nil {
		problems = append(problems, each(err)...)
	}
	if len(problems) == 0 || errors.Join(problems...) == nil {
		if c.dial, err = s.layers(c, m); err != nil {
			problems = append(problems, each(err)...)
		}
	}
	if s.probe != nil {
		s.probe.attach(c, s, m)
		c.dial = s.probe.above(c.dial)
	}
	problems = append(problems, s.clientOptions(c, m)...)
	options := c.options
	if host == "" || len(s.problems) > 0 {
		options.Address = "host:1" // endpoint and port have been judged
	}
	if err := options.Validate(); err != nil {
		problems = append(problems, &optionError{err})
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	return c, nil
}

// watch collects what expires.
func (s *settings) watch(c *connector) {
	if s.reconnectAhead <= 0 {
		return
	}
	if s.credentials != nil {
		c.expiring = append(c.expiring, s.credentials)
	}
	if c.tls != nil && c.certificate {
		c.expiring = append(c.expiring, c.tls)
	}
	if len(c.expiring) == 0 && s.logger != nil {
		s.logger.Warn("an option has no effect", zap.String("option", "WithReconnectBeforeExpiry"),
			zap.String("because", "neither a certificate nor credentials are used"))
	}
}

// each makes one problem of each of the errors that a layer has joined, so that
// each has a line of its own.
func each(err error) []error {
	var list []error
	if joined, ok := err.(interface{ Unwrap() []error }); ok && strings.Contains(err.Error(), "\n") {
		for _, e := range joined.Unwrap() {
			list = append(list, each(e)...)
		}
		return list
	}
	if wrapped := errors.Unwrap(err); wrapped != nil && strings.Contains(err.Error(), "\n") {
		return each(wrapped)
	}
	return []error{&optionError{err}}
}

func (s *settings) defaultPort(m method) int {
	switch {
	case s.plaintext && !m.websocket():
		return portTCP
	case m.broker && s.identity == nil && s.authorizer == nil:
		return portMTLS
	}
	return portTLS
}

func (s *settings) applicationProtocols(m method, port int) []string {
	switch {
	case s.alpnSet:
		return s.alpn
	case m.websocket() || port == portMTLS:
		return nil
	case s.authorizer != nil:
		return []string{alpnCustomAuth}
	case s.identity != nil:
		return []string{alpnMTLS}
	}
	return nil
}

// networkDialer opens connections to the server, through the proxy if there is
// one.
func (s *settings) networkDialer() (mqtt5.DialFunc, error) {
	dial := s.dial
	if dial == nil {
		d := s.socket
		if d == nil {
			d = &socket.Dialer{}
		}
		if err := d.Validate(); err != nil {
			return nil, err
		}
		dial = d.DialContext
	}
	if s.probe != nil {
		dial = s.probe.below(dial)
	}
	if s.proxy == nil {
		return dial, nil
	}
	dial, err := s.tunnel(s, dial)
	if err == nil && s.probe != nil {
		dial = s.probe.through(dial)
	}
	return dial, err
}

// layers puts TLS and WebSocket on top of the network, and explains what fails.
func (s *settings) layers(c *connector, m method) (mqtt5.DialFunc, error) {
	dial := c.network
	switch {
	case m.websocket():
		var err error
		if dial, err = m.upgrade(s, c, m, dial); err != nil {
			return nil, err
		}
	case !s.plaintext:
		d := &tlsctx.Dialer{Context: c.tls, NetDialer: tlsctx.DialFunc(dial)}
		dial = d.DialContext
	}
	explained := dial
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := explained(ctx, network, address)
		if err != nil {
			return nil, c.explainDial(err, m)
		}
		if t, ok := conn.(interface{ ConnectionState() tls.ConnectionState }); ok {
			c.noALPN.Store(len(c.tlsOpts.ALPN) > 0 && t.ConnectionState().NegotiatedProtocol == "")
		}
		return conn, nil
	}, nil
}

// clientOptions are the options of the MQTT client: defaults, then what the
// user says, then what is wrapped around it.
func (s *settings) clientOptions(c *connector, m method) (problems []error) {
	o := mqtt5.ClientOptions{
		Address: net.JoinHostPort(c.host, strconv.Itoa(c.port)),
		Dial:    c.dial,
		Logger:  s.logger,
		// Connected means hearing: see WithoutResubscribe.
		Resubscribe: true,
	}
	if c.profile {
		o.Limits = mqtt5.AWSIoTCoreLimits()
		o.Hint = s.hint(m)
	}
	for _, f := range s.client {
		f(&o)
	}
	problems = c.checkClient(&o)
	if s.authorizer != nil {
		// What is known now is checked now.
		static := *s.authorizer
		packet := o.Connect
		if err := static.validate(); err != nil {
			problems = append(problems, err)
		} else if static.Refresh == nil && o.PrepareConnect == nil {
			if err := static.apply(&packet); err != nil {
				problems = append(problems, err)
			}
		}
	}
	s.prepareConnect(&o, c, m)
	if s.probe != nil {
		s.probe.handlers(&o)
	}
	c.wrapHandlers(&o)
	c.options = o
	return problems
}

// prepareConnect completes the CONNECT of each attempt: first the user's own
// function, then the custom authorizer, then the metrics.
func (s *settings) prepareConnect(o *mqtt5.ClientOptions, c *connector, m method) {
	own, authorizer := o.PrepareConnect, s.authorizer
	// What counts is where the client connects to, which the user may have changed.
	host, _, err := net.SplitHostPort(o.Address)
	withMetrics := !s.noMetrics && err == nil && isAWSHost(host)
	if authorizer == nil && !withMetrics {
		return
	}
	var metrics Metrics
	if withMetrics {
		metrics = s.metrics(o, c, m)
	}
	o.PrepareConnect = func(ctx context.Context, packet *mqtt5.ConnectPacket) error {
		if own != nil {
			if err := own(ctx, packet); err != nil {
				return err
			}
		}
		if authorizer != nil {
			a := *authorizer
			a.Password = bytes.Clone(a.Password) // Refresh may change what it points to
			if a.Refresh != nil {
				if err := a.Refresh(ctx, &a); err != nil {
					return &ConnectError{Stage: StageCredentials, Hint: "the Refresh function of the custom authorizer failed", Err: err}
				}
			}
			if err := a.apply(packet); err != nil {
				return err
			}
		}
		if withMetrics {
			name := ""
			if packet.Username != nil {
				name = *packet.Username
			}
			if name := metrics.Username(name); name != "" {
				packet.Username = &name
			}
		}
		return nil
	}
}
