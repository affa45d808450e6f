// SPDX-License-Identifier: Apache-2.0

package mqtt5

import "github.com/gocrt/aws-iot-device-sdk-go/mqtt5/internal/wire"

// Protocols that a [ForeignProtocolError] names.
const (
	ProtocolHTTP  = "HTTP"
	ProtocolHTTP2 = "HTTP/2"
	ProtocolTLS   = "TLS"
	ProtocolSSH   = "SSH"
	ProtocolMQTT3 = "MQTT 3.1.1"
)

// ForeignProtocolError reports a server that answered CONNECT in another
// protocol than MQTT 5.
//
// With [ProtocolMQTT3] the server refused the connection in MQTT 3.1.1, and the
// error matches [ErrConnectionRefused].
type ForeignProtocolError struct {
	// Protocol is one of the Protocol constants, or the name of another protocol.
	Protocol string
	// Detail is what the server said, shortened and printable: a status line, a
	// greeting, a return code. It may be empty.
	Detail string
}

// Error names the protocol and what the server said.
func (e *ForeignProtocolError) Error() string {
	var text string
	switch e.Protocol {
	case ProtocolTLS:
		text = "mqtt5: the server answered with a TLS alert, not MQTT: this port wants TLS"
	case ProtocolMQTT3:
		text = "mqtt5: the server speaks MQTT 3.1.1 only, not MQTT 5"
	default:
		text = "mqtt5: the server answered in " + e.Protocol + ", not MQTT"
	}
	if e.Detail != "" {
		text += " (" + e.Detail + ")"
	}
	return text
}

// Is matches [ErrConnectionRefused] for a server that refused in MQTT 3.1.1.
func (e *ForeignProtocolError) Is(target error) bool {
	return target == ErrConnectionRefused && e.Protocol == ProtocolMQTT3
}

// Stage returns "MQTT CONNECT", the stage of a connection at which the error arose.
func (e *ForeignProtocolError) Stage() string { return "MQTT CONNECT" }

// foreignProtocol returns the error for what a server sent before any CONNACK,
// nil if it belongs to no protocol known here. With more, it takes more bytes
// to tell. The bytes are not kept.
func foreignProtocol(first []byte) (err error, more bool) {
	protocol, more := wire.DetectForeign(first)
	if protocol == wire.ForeignNone {
		return nil, more && first[0] != 0 // no packet type: it is wrong in any case
	}
	return &ForeignProtocolError{Protocol: protocol.String(), Detail: wire.ForeignDetail(protocol, first)}, false
}
