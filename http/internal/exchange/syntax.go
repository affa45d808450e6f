// SPDX-License-Identifier: Apache-2.0

package exchange

import (
	"net"
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A request head holds field names and values (RFC 9110), a Host field, and
// host names in their ASCII form (RFC 3492).

// MaxPrintable is how many bytes [Printable] keeps at least of a longer text: up
// to the end of the character that reaches it.
const MaxPrintable = 128

// Printable makes a short text from the network fit for errors and logs.
func Printable(s string) string {
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, ""))
	for i := range s {
		if i >= MaxPrintable {
			return s[:i]
		}
	}
	return s
}

// WithoutSecrets leaves out what in a URL may be secret: user, password and query.
func WithoutSecrets(location string) string {
	u, err := url.Parse(location)
	if err != nil {
		return ""
	}
	u.User, u.RawQuery, u.Fragment, u.RawFragment, u.ForceQuery = nil, "", "", "", false
	return u.String()
}

// IsToken reports whether s is a token: a field name, for example.
func IsToken(s string) bool {
	for i := range len(s) {
		if !isTokenByte(s[i]) {
			return false
		}
	}
	return s != ""
}

func isTokenByte(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0
}

// IsFieldValue reports whether s may be the value of a field: no control
// characters but the tab.
func IsFieldValue(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

// IsHost reports whether s has only characters that a Host field may have.
func IsHost(s string) bool {
	for i := range len(s) {
		c := s[i]
		if c >= utf8.RuneSelf || (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && strings.IndexByte("!$%&'()*+,-.:;=[]_~", c) < 0 {
			return false
		}
	}
	return true
}

// HasToken reports whether one of the comma-separated lists has the token, in
// either case of letters.
func HasToken(lists []string, token string) bool {
	for _, list := range lists {
		for item := range strings.SplitSeq(list, ",") {
			if strings.EqualFold(strings.Trim(item, " \t"), token) {
				return true
			}
		}
	}
	return false
}

// ASCIIHost returns the ASCII form of an international host name. Letters are
// lowered; nothing else is normalized. Other names are returned as they are, and
// so are those without such a form.
func ASCIIHost(host string) string {
	ascii := true
	for i := range len(host) {
		ascii = ascii && host[i] < utf8.RuneSelf
	}
	if ascii || !utf8.ValidString(host) || net.ParseIP(host) != nil {
		return host
	}
	labels := strings.Split(strings.ToLower(host), ".")
	for i, label := range labels {
		encoded, ok := punycode(label)
		if !ok || len(encoded) > 63 {
			return host
		}
		labels[i] = encoded
	}
	return strings.Join(labels, ".")
}

// Parameters of Punycode for host names.
const (
	base        = 36
	tMin        = 1
	tMax        = 26
	skew        = 38
	damp        = 700
	initialBias = 72
	initialN    = 128
	maxDelta    = 1 << 30
)

// punycode encodes a label; one of ASCII alone stays as it is.
func punycode(label string) (string, bool) {
	var out strings.Builder
	runes := []rune(label)
	for _, r := range runes {
		if r < utf8.RuneSelf {
			out.WriteByte(byte(r))
		}
	}
	basic := out.Len()
	if basic == len(runes) {
		return label, true
	}
	if basic > 0 {
		out.WriteByte('-')
	}
	n, delta, bias := rune(initialN), 0, initialBias
	for handled := basic; handled < len(runes); {
		next := rune(utf8.MaxRune)
		for _, r := range runes {
			if r >= n && r < next {
				next = r
			}
		}
		if delta += int(next-n) * (handled + 1); delta > maxDelta {
			return "", false
		}
		n = next
		for _, r := range runes {
			if r < n {
				delta++
			}
			if r != n {
				continue
			}
			writeInteger(&out, delta, bias)
			bias = adapt(delta, handled+1, handled == basic)
			delta = 0
			handled++
		}
		delta++
		n++
	}
	return "xn--" + out.String(), true
}

// writeInteger writes a generalized variable-length integer.
func writeInteger(out *strings.Builder, q, bias int) {
	digit := func(d int) byte {
		if d < 26 {
			return byte('a' + d)
		}
		return byte('0' + d - 26)
	}
	for k := base; ; k += base {
		t := min(max(k-bias, tMin), tMax)
		if q < t {
			out.WriteByte(digit(q))
			return
		}
		out.WriteByte(digit(t + (q-t)%(base-t)))
		q = (q - t) / (base - t)
	}
}

func adapt(delta, points int, first bool) int {
	if first {
		delta /= damp
	} else {
		delta /= 2
	}
	delta += delta / points
	k := 0
	for ; delta > (base-tMin)*tMax/2; k += base {
		delta /= base - tMin
	}
	return k + (base-tMin+1)*delta/(delta+skew)
}
