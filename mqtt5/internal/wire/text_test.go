// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestStrings(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, s string
		rule    string // broken, if any
	}{
		{"empty", "", ""},
		{"ASCII", "device-1", ""},
		{"two, three and four bytes", "\u00e4\u20ac\U0001F600", ""},
		{"MQTT-1.5.4-3 byte-order mark", "\ufeffx", ""},
		{"control characters", "a\x01\x1f\x7f\u0080", ""},
		{"longest", strings.Repeat("x", 65_535), ""},
		{"too long", strings.Repeat("x", 65_536), "1.5.4"},
		{"MQTT-1.5.4-1 surrogate", "a\xed\xa0\x80", "MQTT-1.5.4-1"},
		{"MQTT-1.5.4-1 last surrogate", "\xed\xbf\xbf", "MQTT-1.5.4-1"},
		{"MQTT-1.5.4-1 stray continuation", "12345678\x80", "MQTT-1.5.4-1"},
		{"MQTT-1.5.4-1 over-long", "\xc0\xaf", "MQTT-1.5.4-1"},
		{"MQTT-1.5.4-1 over-long U+0000", "\xc0\x80", "MQTT-1.5.4-1"},
		{"MQTT-1.5.4-1 cut off", "\xe2\x82", "MQTT-1.5.4-1"},
		{"MQTT-1.5.4-2 U+0000", "\x00", "MQTT-1.5.4-2"},
		{"MQTT-1.5.4-2 U+0000 after eight bytes", "12345678\x009", "MQTT-1.5.4-2"},
		{"MQTT-1.5.4-2 U+0000 beside a character that is not ASCII", "\u00e4\x00", "MQTT-1.5.4-2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			v := CheckString(c.s)
			if (v == nil) != (c.rule == "") || v != nil && v.Rule != c.rule {
				t.Errorf("CheckString: %v, want [%s]", v, c.rule)
			}
			if ValidString(c.s) != (c.rule == "") {
				t.Error("ValidString disagrees")
			}
			if len(c.s) <= 65_535 && ValidUTF8([]byte(c.s)) != (c.rule == "") {
				t.Error("ValidUTF8 disagrees")
			}
		})
	}
}

func TestTopicNames(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, s string
		rule    string
	}{
		{"one character", "a", ""},
		{"slash alone", "/", ""},
		{"empty levels", "//a//", ""},
		{"leading dollar", "$aws/things/x/shadow/get", ""},
		{"spaces", "two words", ""},
		{"not ASCII", "\u6e29\u5ea6/1", ""},
		{"longest", strings.Repeat("t", 65_535), ""},
		{"MQTT-4.7.3-1 empty", "", "MQTT-4.7.3-1"},
		{"MQTT-4.7.3-2 U+0000", "a\x00b", "MQTT-1.5.4-2"},
		{"MQTT-4.7.3-3 too long", strings.Repeat("t", 65_536), "MQTT-4.7.3-3"},
		{"MQTT-4.7.0-1 +", "a/+/b", "MQTT-4.7.0-1"},
		{"MQTT-4.7.0-1 #", "#", "MQTT-4.7.0-1"},
		{"MQTT-4.7.0-1 wildcard inside a level", "level/with+plus", "MQTT-4.7.0-1"},
		{"MQTT-4.7.0-1 wildcard beside a character that is not ASCII", "\u00e4#", "MQTT-4.7.0-1"},
		{"MQTT-1.5.4-1 ill-formed", "a/\xff", "MQTT-1.5.4-1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			v := CheckTopicName(c.s)
			if (v == nil) != (c.rule == "") || v != nil && v.Rule != c.rule {
				t.Errorf("CheckTopicName: %v, want [%s]", v, c.rule)
			}
			if ValidTopicName(c.s) != (c.rule == "") {
				t.Error("ValidTopicName disagrees")
			}
		})
	}
}

func TestTopicFilters(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, s string
		rule    string
	}{
		{"topic name", "a/b", ""},
		{"# alone", "#", ""},
		{"# at the end", "a/b/#", ""},
		{"# after an empty level", "/#", ""},
		{"+ alone", "+", ""},
		{"+ in every level", "+/+/+", ""},
		{"+ between slashes", "/+/", ""},
		{"+ and #", "+/a/#", ""},
		{"slash alone", "/", ""},
		{"shared", "$share/group/a/+/#", ""},
		{"shared, with an empty first level", "$share/g//a", ""},
		{"shared, with another dollar", "$share/g/$aws/#", ""},
		{"not quite shared", "$share", ""},
		{"longest", strings.Repeat("f", 65_535), ""},
		{"MQTT-4.7.3-1 empty", "", "MQTT-4.7.3-1"},
		{"MQTT-4.7.3-2 U+0000", "a/\x00", "MQTT-1.5.4-2"},
		{"MQTT-4.7.3-3 too long", strings.Repeat("f", 65_536), "MQTT-4.7.3-3"},
		{"MQTT-4.7.1-1 # not last", "a/#/b", "MQTT-4.7.1-1"},
		{"MQTT-4.7.1-1 # within a level", "a/b#", "MQTT-4.7.1-1"},
		{"MQTT-4.7.1-1 # twice", "##", "MQTT-4.7.1-1"},
		{"MQTT-4.7.1-1 # with something after it", "#a", "MQTT-4.7.1-1"},
		{"MQTT-4.7.1-2 + at the end of a level", "a+", "MQTT-4.7.1-2"},
		{"MQTT-4.7.1-2 + at the start of a level", "a/+b", "MQTT-4.7.1-2"},
		{"MQTT-4.7.1-2 + twice", "++", "MQTT-4.7.1-2"},
		{"MQTT-4.8.2-1 no share name", "$share//a", "MQTT-4.8.2-1"},
		{"MQTT-4.8.2-1 nothing after the prefix", "$share/", "MQTT-4.8.2-1"},
		{"MQTT-4.8.2-2 no filter", "$share/g/", "MQTT-4.8.2-2"},
		{"MQTT-4.8.2-2 no slash after the share name", "$share/g", "MQTT-4.8.2-2"},
		{"MQTT-4.8.2-2 + in the share name", "$share/+/a", "MQTT-4.8.2-2"},
		{"MQTT-4.8.2-2 # in the share name", "$share/g#/a", "MQTT-4.8.2-2"},
		{"MQTT-4.8.2-2 MQTT-4.7.1-1 improper filter after the share name", "$share/g/#/a", "MQTT-4.7.1-1"},
		{"MQTT-1.5.4-1 ill-formed", "a/\xed\xa0\x80", "MQTT-1.5.4-1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			v := CheckTopicFilter(c.s)
			if (v == nil) != (c.rule == "") || v != nil && v.Rule != c.rule {
				t.Errorf("CheckTopicFilter: %v, want [%s]", v, c.rule)
			}
			if (CheckTopicFilter(c.s) == nil) != (c.rule == "") {
				t.Error("ValidTopicFilter disagrees")
			}
		})
	}
}

func TestSharedFilter(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		s, share, filter string
		ok               bool
	}{
		{"$share/g/a/b", "g", "a/b", true},
		{"$share/g//", "g", "/", true},
		{"$share/g/#", "g", "#", true},
		{"$share/g/", "", "", false},
		{"$share/g", "", "", false},
		{"$share//a", "", "", false},
		{"$Share/g/a", "", "", false},
		{"a/b", "", "", false},
	} {
		if share, filter, ok := SharedFilter(c.s); share != c.share || filter != c.filter || ok != c.ok {
			t.Errorf("%q: %q, %q, %v", c.s, share, filter, ok)
		}
	}
}

func TestHasWildcard(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]bool{"": false, "a/b": false, "+": true, "a/#": true, "$share/g/a": false} {
		if HasWildcard(s) != want {
			t.Error(s)
		}
	}
}

func TestValidPayload(t *testing.T) {
	t.Parallel()
	if !ValidPayload([]byte("a\x00\u00e4")) || !ValidPayload(nil) || ValidPayload([]byte("\xff")) {
		t.Error("payloads are judged as strings, or not at all")
	}
}

// TestPlain compares the loops over eight bytes with the plain definition, for
// every byte in every position of strings of all lengths around the word size.
func TestPlain(t *testing.T) {
	t.Parallel()
	for n := range 20 {
		b := []byte(strings.Repeat("\x01", n))
		for i := range n {
			for c := range 256 {
				b[i] = byte(c)
				s := string(b)
				ascii := c != 0 && c < utf8.RuneSelf
				if plain(b) != ascii || plain(s) != ascii {
					t.Fatalf("plain(%q)", b)
				}
				topic := ascii && c != '+' && c != '#'
				if plainTopic(b) != topic || plainTopic(s) != topic {
					t.Fatalf("plainTopic(%q)", b)
				}
			}
			b[i] = '\x7f'
		}
	}
}
