// SPDX-License-Identifier: Apache-2.0

package iot

import (
	"github.com/gocrt/aws-iot-device-sdk-go/http/websocket"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
)

// Method is a way to connect and to authenticate, as a value: what
// [MTLSFromPath] and its like return, for [NewClient] and [Diagnose]. Each
// constructor NewX(endpoint, ...) is NewClient(endpoint, X(...)).
//
// A method may serve many clients. The zero value is none.
type Method struct {
	// begin adds what the method needs to the settings of a client.
	begin func(s *settings, endpoint string) method
}

// method is what a [Method] comes to for one client.
type method struct {
	// upgrade makes the dialer of WebSockets, if the method uses them. Like all
	// that not every program needs, it is a function that the method brings along:
	// the linker leaves out what nobody refers to.
	upgrade   func(s *settings, c *connector, m method, below mqtt5.DialFunc) (mqtt5.DialFunc, error)
	transform websocket.HandshakeTransform
	// transformHint explains a transform that failed; "" if its error does.
	transformHint string
	// upgradeHint explains why the server refused a WebSocket upgrade.
	upgradeHint func(*websocket.UpgradeError) string
	// connectHint explains why the server did not authorize a CONNECT, in place
	// of what [Hint] says.
	connectHint func(mqtt5.Refusal) string
	// signs means that the method has a use for a region.
	signs bool
	// broker means that the method is not one of AWS.
	broker bool
	// source is where the certificate comes from, for the metrics.
	source string
	// discard gives up what the method holds, if no client comes of it.
	discard func()
}

func (m method) websocket() bool { return m.upgrade != nil }

// NewClient makes a client that connects to endpoint by a method.
func NewClient(endpoint string, m Method, options ...Option) (*mqtt5.Client, error) {
	return newClient(endpoint, m, apply(options))
}

func newClient(endpoint string, m Method, s *settings) (*mqtt5.Client, error) {
	if m.begin == nil {
		return nil, invalid("the method is the zero value; give one such as MTLSFromPath(certFile, keyFile)")
	}
	concrete := m.begin(s, endpoint)
	client, err := s.build(endpoint, concrete)
	if err != nil && concrete.discard != nil {
		concrete.discard()
	}
	return client, err
}

// NewForBroker makes a client for any MQTT 5 broker, without a way to
// authenticate: TLS on port 8883, or with [WithPlaintext] MQTT over TCP on port
// 1883. [WithIdentity] adds a certificate, [WithUsername] and [WithPassword] what
// most brokers want. The rules of AWS IoT Core do not apply, unless the host is
// one of AWS; see [WithAWSProfile].
func NewForBroker(host string, options ...Option) (*mqtt5.Client, error) {
	return NewClient(host, ForBroker(), options...)
}

// ForBroker is the method of [NewForBroker].
func ForBroker() Method {
	return Method{func(*settings, string) method { return method{broker: true} }}
}

// WithPlaintext leaves TLS out, for a broker on the same machine. Everybody on
// the way can read and change what is sent, the password included. AWS IoT Core
// has no such port.
func WithPlaintext() Option { return func(s *settings) { s.plaintext = true } }
