// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"bytes"
	"fmt"
	"strings"
)

// Foreign is a protocol that a server spoke where a CONNACK of MQTT 5 belongs.
type Foreign uint8

// The protocols that are distinguished.
const (
	// ForeignNone means that the bytes begin none of the protocols below. They
	// may still not be MQTT 5.
	ForeignNone Foreign = iota
	ForeignHTTP
	ForeignHTTP2
	ForeignTLS
	ForeignSSH
	ForeignMQTT3
	ForeignAMQP
	ForeignMail // SMTP, FTP: a greeting with a three-digit code
)

// String returns the name of the protocol, "" for none.
func (f Foreign) String() string {
	switch f {
	case ForeignHTTP:
		return "HTTP"
	case ForeignHTTP2:
		return "HTTP/2"
	case ForeignTLS:
		return "TLS"
	case ForeignSSH:
		return "SSH"
	case ForeignMQTT3:
		return "MQTT 3.1.1"
	case ForeignAMQP:
		return "AMQP"
	case ForeignMail:
		return "SMTP or FTP"
	}
	return ""
}

// ForeignBytes is how many bytes are enough for [DetectForeign] to decide.
const ForeignBytes = 9

// maxForeignDetail bounds what an error repeats of the bytes.
const maxForeignDetail = 80

// foreignStarts are what the first bytes from a server look like. An MQTT 5
// server begins with CONNACK (0x20) or AUTH (0xF0), and its CONNACK has at
// least three bytes after the length, so that nothing here is MQTT 5.
var foreignStarts = []struct {
	pattern  string // '.' stands for any byte
	protocol Foreign
}{
	{"HTTP/", ForeignHTTP},
	{"<!DOC", ForeignHTTP}, {"<!doc", ForeignHTTP}, {"<html", ForeignHTTP}, {"<HTML", ForeignHTTP}, // HTTP/0.9
	{"\x00..\x04\x00\x00\x00\x00\x00", ForeignHTTP2}, // SETTINGS
	{"\x15\x03.\x00\x02", ForeignTLS},
	{"SSH-", ForeignSSH},
	{"\x20\x02..", ForeignMQTT3},
	{"AMQP", ForeignAMQP},
	{"220 ", ForeignMail}, {"220-", ForeignMail}, {"421 ", ForeignMail}, {"554 ", ForeignMail},
}

// DetectForeign names the protocol that the first bytes from a server belong
// to, in place of a CONNACK. With more, the bytes are only the beginning of
// what decides: call it again when there are more, [ForeignBytes] at the
// latest.
func DetectForeign(first []byte) (protocol Foreign, more bool) {
	for _, s := range foreignStarts {
		n := min(len(first), len(s.pattern))
		if !foreignMatch(first[:n], s.pattern) {
			continue
		}
		if n == len(s.pattern) {
			return s.protocol, false
		}
		more = true
	}
	return ForeignNone, more && len(first) > 0
}

func foreignMatch(b []byte, pattern string) bool {
	for i, c := range b {
		if pattern[i] != '.' && pattern[i] != c {
			return false
		}
	}
	return true
}

// ForeignDetail words what the bytes say, for an error: the first line of a
// text, the meaning of a TLS alert or of a return code. It is short and
// printable, and empty if there is nothing to say.
func ForeignDetail(protocol Foreign, first []byte) string {
	switch protocol {
	case ForeignHTTP, ForeignSSH, ForeignMail:
		line, _, _ := bytes.Cut(first, []byte("\n"))
		return foreignText(line)
	case ForeignTLS:
		if len(first) >= 7 {
			return fmt.Sprintf("alert %d", first[6])
		}
	case ForeignMQTT3:
		if len(first) >= 4 {
			return foreignReturnCode(first[3])
		}
	}
	return ""
}

func foreignText(line []byte) string {
	text := strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return -1
		}
		return r
	}, string(line[:min(len(line), maxForeignDetail)]))
	return strings.TrimSpace(text)
}

// foreignReturnCode words the return codes of MQTT 3.1.1, section 3.2.2.3.
func foreignReturnCode(code byte) string {
	switch code {
	case 0:
		return "return code 0, accepted"
	case 1:
		return "return code 1, unacceptable protocol version"
	case 2:
		return "return code 2, identifier rejected"
	case 3:
		return "return code 3, server unavailable"
	case 4:
		return "return code 4, bad user name or password"
	case 5:
		return "return code 5, not authorized"
	}
	return fmt.Sprintf("return code %d", code)
}
