// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"strings"
	"testing"
)

func TestDetectForeign(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		first  string
		want   Foreign
		detail string
	}{
		{"HTTP/1.1 400 Bad Request\r\nServer: x\r\n", ForeignHTTP, "HTTP/1.1 400 Bad Request"},
		{"HTTP/1.0 302 \x1b[31mFound\r\n", ForeignHTTP, "HTTP/1.0 302 [31mFound"},
		{"<!DOCTYPE html>\n<html>", ForeignHTTP, "<!DOCTYPE html>"},
		{"<html><body>", ForeignHTTP, "<html><body>"},
		{"\x00\x00\x12\x04\x00\x00\x00\x00\x00\x00\x03", ForeignHTTP2, ""},
		{"\x15\x03\x01\x00\x02\x02\x46", ForeignTLS, "alert 70"},
		{"\x15\x03\x03\x00\x02", ForeignTLS, ""},
		{"SSH-2.0-OpenSSH_9.6\r\n", ForeignSSH, "SSH-2.0-OpenSSH_9.6"},
		{"\x20\x02\x00\x01", ForeignMQTT3, "return code 1, unacceptable protocol version"},
		{"\x20\x02\x01\x00", ForeignMQTT3, "return code 0, accepted"},
		{"\x20\x02\x00\x05", ForeignMQTT3, "return code 5, not authorized"},
		{"\x20\x02\x00\x99", ForeignMQTT3, "return code 153"},
		{"AMQP\x00\x00\x09\x01", ForeignAMQP, ""},
		{"220 mail.example ESMTP\r\n", ForeignMail, "220 mail.example ESMTP"},
	} {
		got, more := DetectForeign([]byte(tt.first))
		if got != tt.want || more {
			t.Errorf("%q: %v, more %v; want %v", tt.first, got, more, tt.want)
		}
		if d := ForeignDetail(got, []byte(tt.first)); d != tt.detail {
			t.Errorf("%q: detail %q, want %q", tt.first, d, tt.detail)
		}
		if got.String() == "" {
			t.Errorf("%d has no name", got)
		}
		// Byte by byte, the answer is "more" until it is the protocol.
		for n := 1; n < len(tt.first); n++ {
			p, more := DetectForeign([]byte(tt.first[:n]))
			if p == ForeignNone && !more || p != ForeignNone && p != tt.want || n >= ForeignBytes && more {
				t.Errorf("%q: %v, more %v", tt.first[:n], p, more)
			}
		}
	}
}

// Whatever a server of MQTT 5 may begin with is never taken for another
// protocol, and decided at once.
func TestDetectForeign_MQTT5(t *testing.T) {
	t.Parallel()
	for _, first := range []string{
		"", "\x20\x03\x00\x00\x00", "\x20\x09\x00\x00\x06\x21\x00\x0a", "\x20\x80\x02\x00", "\xf0\x02\x18\x00", "\xf0\x00", "\xe0\x01\x87", "\x30\x05", "\xff",
	} {
		if got, more := DetectForeign([]byte(first)); got != ForeignNone || more {
			t.Errorf("%q: %v, more %v", first, got, more)
		}
	}
	// One byte 0x20 is the beginning of either.
	if got, more := DetectForeign([]byte("\x20")); got != ForeignNone || !more {
		t.Errorf("one byte: %v, more %v", got, more)
	}
}

func TestForeignDetail_isShort(t *testing.T) {
	t.Parallel()
	first := []byte("HTTP/1.1 " + strings.Repeat("x", 10_000))
	if d := ForeignDetail(ForeignHTTP, first); len(d) > maxForeignDetail {
		t.Errorf("%d bytes", len(d))
	}
}

func TestDetectForeign_allocatesNothing(t *testing.T) {
	first := []byte("\x20\x09\x00\x00\x06\x21\x00\x0a")
	if n := testing.AllocsPerRun(100, func() { DetectForeign(first) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
