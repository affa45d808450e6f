// SPDX-License-Identifier: Apache-2.0

package mqtt5

import (
	"errors"
	"testing"
)

func TestForeignProtocol(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		first, protocol, text string
		refused               bool
	}{
		{"HTTP/1.1 400 Bad Request\r\n\r\n", ProtocolHTTP, "mqtt5: the server answered in HTTP, not MQTT (HTTP/1.1 400 Bad Request)", false},
		{"\x15\x03\x03\x00\x02\x02\x0a", ProtocolTLS, "mqtt5: the server answered with a TLS alert, not MQTT: this port wants TLS (alert 10)", false},
		{"SSH-2.0-x\r\n", ProtocolSSH, "mqtt5: the server answered in SSH, not MQTT (SSH-2.0-x)", false},
		{"\x20\x02\x00\x01", ProtocolMQTT3, "mqtt5: the server speaks MQTT 3.1.1 only, not MQTT 5 (return code 1, unacceptable protocol version)", true},
		{"\x00\x00\x00\x04\x00\x00\x00\x00\x00", ProtocolHTTP2, "mqtt5: the server answered in HTTP/2, not MQTT", false},
	} {
		err, _ := foreignProtocol([]byte(tt.first))
		var foreign *ForeignProtocolError
		if !errors.As(err, &foreign) || foreign.Protocol != tt.protocol || err.Error() != tt.text || errors.Is(err, ErrConnectionRefused) != tt.refused {
			t.Errorf("%q: %v", tt.first, err)
		}
	}
	for _, first := range []string{"", "\x20\x03\x00\x87\x00", "\x32\x05"} {
		if err, _ := foreignProtocol([]byte(first)); err != nil {
			t.Errorf("%q: %v", first, err)
		}
	}
}
