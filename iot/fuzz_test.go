// SPDX-License-Identifier: Apache-2.0

package iot

import (
	"errors"
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"
)

// FuzzUsernameFor checks what holds for every user name: it is valid, stable,
// and what was put in comes out again after one decoding.
func FuzzUsernameFor(f *testing.F) {
	f.Add("auth", "user", "", "", "", "")
	f.Add("auth", "", "token", "a b", "ab+/cd==", "bob?x=1")
	f.Add("a=b", "u?", "k", "50%", "ab%2B%2Fcd%3D%3D", "")
	f.Fuzz(func(t *testing.T, name, user, key, value, signature, given string) {
		a := CustomAuthorizer{Name: name, Username: user, TokenKeyName: key, TokenValue: value, Signature: signature}
		got, err := a.UsernameFor(given)
		if err != nil {
			if !errors.Is(err, ErrInvalidOptions) {
				t.Fatalf("%v", err)
			}
			return
		}
		if !utf8.ValidString(got) || len(got) > maxUsername || strings.Count(got, "?") > 1 {
			t.Fatalf("invalid user name %q", got)
		}
		again, err := a.UsernameFor(got)
		if user == "" && (err != nil || again != got) {
			t.Fatalf("%q becomes %q, %v", got, again, err)
		}
		base := given
		if user != "" {
			base = user
		}
		if _, query, _ := strings.Cut(got, "?"); value != "" && !strings.Contains(base, "?") {
			encoded, ok := splitQuery(query).get(encodeOnce(key))
			if !ok {
				t.Fatalf("no token in %q", got)
			}
			decoded, err := url.PathUnescape(encoded)
			if err != nil || decoded != value && encoded != value {
				t.Fatalf("token %q comes out as %q, %v", value, decoded, err)
			}
		}
	})
}

// FuzzMetrics checks that the user's own part of a user name survives.
func FuzzMetrics(f *testing.F) {
	f.Add("user")
	f.Add("user?a=1&Metadata=(x=1)")
	f.Add("??SDK=")
	f.Fuzz(func(t *testing.T, name string) {
		m := Metrics{Features: "F/5"}
		got := m.Username(name)
		if again := m.Username(got); again != got {
			t.Fatalf("%q becomes %q and then %q", name, got, again)
		}
		if i := strings.LastIndexByte(name, '?'); utf8.ValidString(name) && !strings.HasPrefix(got, name[:max(i, 0)]) {
			t.Fatalf("%q becomes %q", name, got)
		}
	})
}

// FuzzParseEndpoint checks that no input does harm, and that what is accepted
// is a host alone.
func FuzzParseEndpoint(f *testing.F) {
	f.Add("abc-ats.iot.eu-west-1.amazonaws.com")
	f.Add("https://user:pass@host:1/x")
	f.Add("[::1]:443")
	f.Fuzz(func(t *testing.T, endpoint string) {
		host, err := parseEndpoint(endpoint)
		if err == nil && (host == "" || strings.ContainsAny(host, "/ @[]")) {
			t.Fatalf("%q gives %q", endpoint, host)
		}
		if err != nil && !errors.Is(err, ErrInvalidEndpoint) {
			t.Fatalf("%v", err)
		}
	})
}
