// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"bytes"
	"strings"
	"unicode/utf8"
)

// Masks for looking at eight bytes at a time.
const (
	eachOne  = 0x0101010101010101
	eachHigh = 0x8080808080808080
)

// load returns the eight bytes at s[i] as one number.
func load[T []byte | string](s T, i int) uint64 {
	_ = s[i+7]
	return uint64(s[i]) | uint64(s[i+1])<<8 | uint64(s[i+2])<<16 | uint64(s[i+3])<<24 |
		uint64(s[i+4])<<32 | uint64(s[i+5])<<40 | uint64(s[i+6])<<48 | uint64(s[i+7])<<56
}

// plainWord reports whether all eight bytes are ASCII and none is 0. The
// subtraction borrows into the top bit of a byte only if that byte or one
// below it was 0, and then the word is not plain anyway.
func plainWord(w uint64) bool {
	return (w|(w-eachOne))&eachHigh == 0
}

// plain reports whether s is ASCII without U+0000.
func plain[T []byte | string](s T) bool {
	if len(s) < 8 {
		for i := range len(s) {
			if s[i]-1 >= 0x7F {
				return false
			}
		}
		return true
	}
	for i := 0; i <= len(s)-8; i += 8 {
		if !plainWord(load(s, i)) {
			return false
		}
	}
	return plainWord(load(s, len(s)-8))
}

// ValidUTF8 reports whether b is what section 1.5.4 allows in a UTF-8 encoded
// string: well-formed UTF-8 without surrogates and without U+0000. Length is
// not looked at.
func ValidUTF8(b []byte) bool {
	return plain(b) || utf8.Valid(b) && bytes.IndexByte(b, 0) < 0
}

// ValidString reports whether s can be written as a UTF-8 encoded string:
// ValidUTF8 and not longer than 65,535 bytes. CheckString names the fault.
func ValidString(s string) bool {
	return len(s) <= maxFieldLength && (plain(s) || utf8.ValidString(s) && strings.IndexByte(s, 0) < 0)
}

// ValidPayload reports whether b is a payload that may be announced as UTF-8
// (payload format indicator 1, section 3.3.2.3.2). Unlike in strings, U+0000 is
// allowed there.
func ValidPayload(b []byte) bool { return utf8.Valid(b) }

// checkReceivedString names the fault in the bytes of a received string.
// what is the name of the field.
func checkReceivedString(t Type, what string, b []byte) *Error {
	if ValidUTF8(b) {
		return nil
	}
	if !utf8.Valid(b) {
		return malformed(t, "MQTT-1.5.4-1", what+" is not well-formed UTF-8")
	}
	return malformed(t, "MQTT-1.5.4-2", what+" contains U+0000")
}
