// SPDX-License-Identifier: Apache-2.0

package iot

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"

	"github.com/gocrt/aws-iot-device-sdk-go/http/proxy"
	"github.com/gocrt/aws-iot-device-sdk-go/http/websocket"
	"github.com/gocrt/aws-iot-device-sdk-go/io/socket"
	"github.com/gocrt/aws-iot-device-sdk-go/io/tlsctx"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
)

// Stages of a connection, as in [ConnectError] and [Explanation].
const (
	StageOptions     = "options"
	StageCredentials = "credentials"
	StageDNS         = "DNS"
	StageTCP         = "TCP"
	StageProxy       = "proxy"
	StageTLS         = "TLS"
	StageUpgrade     = "WebSocket upgrade"
	StageConnect     = "MQTT CONNECT"
	StageMQTT        = "MQTT"
)

// Explanation says where an error arose and what to do about it.
type Explanation struct {
	// Stage is one of the Stage constants; "" if it is not known.
	Stage string
	// Hint says what to check; "" if nothing is known beyond the error's text.
	Hint string
}

// Explain says where an error of this SDK arose and what to check: one from a
// constructor, from an event of a client, or from an operation. The hint is the
// one that the error carries, or what fits its kind. For other errors, and nil,
// it is empty.
func Explain(err error) Explanation {
	if err == nil {
		return Explanation{}
	}
	if c := (*ConnectError)(nil); errors.As(err, &c) {
		e := Explanation{Stage: c.Stage, Hint: c.Hint}
		if e.Hint == "" {
			e.Hint = causeHint(c.Err)
		}
		return e
	}
	return Explanation{Stage: stageOf(err), Hint: causeHint(err)}
}

// stageOf finds the stage in the error of a layer.
func stageOf(err error) string {
	var staged interface{ Stage() string }
	var foreign adviser
	var connack *mqtt5.ConnackError
	var ack *mqtt5.AckError
	var invalid *mqtt5.ValidationError
	switch {
	case errors.Is(err, ErrInvalidEndpoint):
		return StageOptions
	case errors.As(err, new(*signingError)):
		return StageCredentials
	case errors.As(err, &foreign): // before the layers that wrap it
		return foreign.Stage()
	case errors.As(err, &staged):
		return staged.Stage()
	case isDNS(err):
		return StageDNS
	case isDial(err):
		return StageTCP
	case errors.Is(err, ErrInvalidOptions), errors.As(err, &invalid):
		return StageOptions
	case errors.As(err, &connack), errors.Is(err, mqtt5.ErrConnackTimeout):
		return StageConnect
	case errors.As(err, &ack), errors.Is(err, mqtt5.ErrDisconnectReceived), errors.Is(err, mqtt5.ErrHangup), errors.Is(err, mqtt5.ErrPingTimeout),
		errors.Is(err, mqtt5.ErrAckTimeout), errors.Is(err, mqtt5.ErrConnectionLost), errors.Is(err, mqtt5.ErrSessionLost), errors.Is(err, mqtt5.ErrStalled):
		return StageMQTT
	}
	return ""
}

// isDNS recognizes the error of a resolver in one of a dialer of the user.
func isDNS(err error) bool {
	var dns *net.DNSError
	return errors.As(err, &dns)
}

// isDial recognizes the error of a dialer of the user.
func isDial(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}

// explainDial says what to check when no transport could be opened.
func (c *connector) explainDial(err error, m method) error {
	e := &ConnectError{Stage: stageOf(err), Endpoint: c.host, Err: err}
	var resolve *socket.ResolveError
	var tunnel *proxy.Error
	var upgrade *websocket.UpgradeError
	var handshake *tlsctx.HandshakeError
	var edit *websocket.Error
	switch {
	case errors.Is(err, context.Canceled):
	case errors.As(err, &tunnel) && tunnel.Step != proxy.StepDirect:
		e.Hint = proxyHint(tunnel)
	case errors.As(err, &resolve):
		e.Hint = "check that the network is up and its DNS works"
		if resolve.NotFound() {
			e.Hint = "check the endpoint"
			if c.profile {
				e.Hint += ": " + describeEndpoint
			}
		}
	case errors.As(err, &handshake):
		e.Hint = handshake.Hint
		if hint := c.wrongEndpoint(); hint != "" && (e.Hint == "" || strings.Contains(e.Hint, "CAFile")) {
			e.Hint = hint
		}
	case errors.As(err, &upgrade):
		if m.upgradeHint != nil {
			e.Hint = m.upgradeHint(upgrade)
		}
		if e.Hint == "" {
			e.Hint = statusHint(upgrade.StatusCode)
		}
	case errors.As(err, &edit) && edit.Step == websocket.StepTransform:
		if e.Hint = causeHint(err); e.Hint == "" {
			e.Hint = m.transformHint
		}
	case errors.As(err, &edit) && edit.Step == websocket.StepUpgrade && e.Stage == StageTLS:
		e.Hint = "the server does not accept the client certificate: check that it is registered and active there"
		if c.tlsOpts.Identity == nil {
			e.Hint = "the server wants a client certificate: check the port, or give a certificate with WithIdentity"
		}
	case e.Stage == StageUpgrade:
		e.Hint = "this is not how a WebSocket server answers: check host, port and path"
	case e.Stage == StageDNS:
		e.Hint = "check the endpoint, and that the network is up and its DNS works"
	case e.Stage == StageTCP:
		e.Hint = "check endpoint, port and firewalls"
	default:
		e.Hint = causeHint(err)
	}
	return e
}

// statusHint explains an answer to an upgrade by its status alone.
func statusHint(status int) string {
	switch {
	case status >= http.StatusInternalServerError:
		return "the service cannot take connections now: the client tries again by itself, with growing delays"
	case status == http.StatusTooManyRequests:
		return "connect less often"
	}
	return "this is not how AWS IoT Core answers: check host, port and path"
}

// wrongEndpoint recognizes the old kind of data endpoint, whose certificate is
// from an authority that systems do not trust any more.
func (c *connector) wrongEndpoint() string {
	label, rest, _ := strings.Cut(strings.ToLower(c.host), ".")
	if isAWSHost(c.host) && strings.HasPrefix(rest, "iot.") && !strings.HasSuffix(label, "-ats") && !strings.Contains(rest, "ats.") {
		return "this is the old endpoint, whose authority is not trusted any more: use the one with -ats; " + describeEndpoint
	}
	return ""
}

func proxyHint(e *proxy.Error) string {
	switch {
	case e.Hint != "":
		return e.Hint
	case errors.Is(e.Err, proxy.ErrAuthentication):
		return "check the proxy's user name and password"
	case e.Step == proxy.StepTLS:
		return "check that the proxy speaks TLS on this port (https in its URL) and that its CA is trusted"
	case errors.Is(e.Err, proxy.ErrRefused):
		return "check that the proxy can reach the endpoint"
	case e.Step == proxy.StepDial:
		return "check host and port of the proxy"
	case e.Step == proxy.StepHeader:
		return "the function ConnectHeader of the proxy's options failed"
	case e.Step == proxy.StepTunnel:
		return "check that a proxy of this kind is on this port, and that it can reach the endpoint"
	}
	return ""
}

// requested reports whether the program ended the connection itself.
func requested(err error) bool {
	return errors.Is(err, mqtt5.ErrStopRequested) || errors.Is(err, mqtt5.ErrReconnectRequested) || errors.Is(err, mqtt5.ErrClosed)
}

// explainFailure completes the error of an attempt that failed.
func (c *connector) explainFailure(err error, clientID string) error {
	if err == nil || requested(err) {
		return err
	}
	if known := (*ConnectError)(nil); errors.As(err, &known) {
		// The text of the outer error stays; only the type is lifted.
		if err == error(known) {
			return err
		}
		return &ConnectError{Stage: known.Stage, Endpoint: c.host, Hint: known.Hint, Err: err}
	}
	e := &ConnectError{Stage: stageOf(err), Endpoint: c.host, Hint: causeHint(err), Err: err}
	defer func() { e.Hint = c.alpnHint(e) }()
	var transport *mqtt5.TransportError
	switch {
	case errors.Is(err, mqtt5.ErrHangup), errors.As(err, &transport) && e.Stage == "":
		e.Stage = StageConnect
		if c.profile {
			e.Hint = c.silentRefusalHint(clientID)
		} else {
			e.Hint = "check what the server logs"
			if c.tls == nil {
				e.Hint = "the port probably requires TLS: leave out WithPlaintext; if it does not, check what the server logs"
			}
		}
	case errors.Is(err, mqtt5.ErrConnackTimeout):
		e.Hint = "the server did not answer CONNECT: check that an MQTT 5 server is on this port"
	case e.Stage == "":
		e.Stage = StageConnect
	}
	return e
}

// silentRefusalHint explains a connection that ended without a CONNACK, as AWS
// IoT Core ends those that it refuses.
func (c *connector) silentRefusalHint(clientID string) string {
	if !c.certificate {
		return "check that the credentials or the token are valid, and that their policy allows iot:Connect on " + clientResource(clientID)
	}
	return "check that the certificate is active and registered with this endpoint's account and region, " +
		"and that its policy allows iot:Connect on " + clientResource(clientID) +
		"; a certificate that registers itself is meant to succeed at the next attempt"
}

// alpnHint adds to the hint of a failure before CONNACK that the server ignored
// the application protocols offered: AWS IoT Core and its like agree on one, a
// web server or an interceptor does not.
func (c *connector) alpnHint(e *ConnectError) string {
	if e.Stage != StageConnect || !c.noALPN.Load() || errors.As(e.Err, new(*mqtt5.ConnackError)) {
		return e.Hint
	}
	hint := fmt.Sprintf("the server agreed to no application protocol (ALPN), although %s was offered: this is probably not the endpoint, but a web server, a portal or an interceptor",
		strings.Join(c.tlsOpts.ALPN, ", "))
	if e.Hint == "" {
		return hint
	}
	return hint + "; " + e.Hint
}

// foreignHint says what to check when the server answered in another protocol.
func foreignHint(e *mqtt5.ForeignProtocolError) string {
	switch e.Protocol {
	case mqtt5.ProtocolHTTP, mqtt5.ProtocolHTTP2:
		return "a web server, a proxy or a portal answers here, not MQTT: check host and port, and whether this network wants a login first"
	case mqtt5.ProtocolTLS:
		return "this port wants TLS: leave out WithPlaintext, or use the port for MQTT without TLS (1883)"
	case mqtt5.ProtocolMQTT3:
		return "this server knows MQTT 3.1.1 only: turn MQTT 5 on there, or use another server"
	}
	return "another service is on this port: check host and port"
}

// explainLoss completes the error of a connection that was lost.
func (c *connector) explainLoss(err error) error {
	if err == nil || requested(err) {
		return err
	}
	e := &ConnectError{Stage: StageMQTT, Endpoint: c.host, Hint: causeHint(err), Err: err}
	if errors.Is(err, mqtt5.ErrHangup) && c.profile {
		e.Hint = "the usual causes: a policy does not allow what was sent or received last (iot:Publish, iot:Subscribe, iot:Receive), another client has the same client id, or a WebSocket connection is 24 hours old"
	}
	return e
}

// wrapHandlers lets the handlers of the user see explained errors.
func (c *connector) wrapHandlers(o *mqtt5.ClientOptions) {
	id := o.Connect.ClientID
	if own := o.OnConnectionFailure; own != nil {
		o.OnConnectionFailure = func(f *mqtt5.ConnectionFailure) {
			explained := *f
			explained.Err = c.explainFailure(f.Err, id)
			own(&explained)
		}
	}
	if own := o.OnDisconnection; own != nil {
		o.OnDisconnection = func(d *mqtt5.Disconnection) {
			explained := *d
			explained.Err = c.explainLoss(d.Err)
			own(&explained)
		}
	}
	if own := o.ShouldRetry; own != nil {
		o.ShouldRetry = func(r mqtt5.RetryInfo) bool {
			r.Err = c.explainFailure(r.Err, id)
			return own(r)
		}
	}
}
