// SPDX-License-Identifier: Apache-2.0

package iot

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
)

const (
	testSignature        = "ab+/cd=="
	testSignatureEncoded = "ab%2B%2Fcd%3D%3D"
)

func TestCustomAuthorizer_username(t *testing.T) {
	signed := func(a CustomAuthorizer) CustomAuthorizer {
		if a.TokenKeyName == "" {
			a.TokenKeyName = "token"
		}
		if a.TokenValue == "" {
			a.TokenValue = "t1"
		}
		if a.Signature == "" {
			a.Signature = testSignature
		}
		return a
	}
	const name, signature = "x-amz-customauthorizer-name=", "x-amz-customauthorizer-signature="
	for _, tt := range []struct {
		test  string
		a     CustomAuthorizer
		given string
		want  string
	}{
		{"nothing at all", CustomAuthorizer{}, "", ""},
		{"default authorizer with user name", CustomAuthorizer{Username: "alice"}, "", "alice"},
		{"default authorizer with given user name", CustomAuthorizer{}, "alice", "alice"},
		{"empty user name keeps the question mark", CustomAuthorizer{Name: "auth"}, "", "?" + name + "auth"},
		{"user name", CustomAuthorizer{Name: "auth", Username: "alice"}, "", "alice?" + name + "auth"},
		{"given user name is kept", CustomAuthorizer{Name: "auth"}, "bob", "bob?" + name + "auth"},
		{"the same user name twice", CustomAuthorizer{Name: "auth", Username: "bob"}, "bob", "bob?" + name + "auth"},
		{"existing query is kept", CustomAuthorizer{Name: "auth"}, "bob?a=1&b=2", "bob?a=1&b=2&" + name + "auth"},
		{"existing query without user name", CustomAuthorizer{Name: "auth", Username: "?a=1"}, "", "?a=1&" + name + "auth"},
		{"question mark without query", CustomAuthorizer{Name: "auth"}, "bob?", "bob?" + name + "auth"},
		{"metrics of another SDK are kept", CustomAuthorizer{Name: "auth"}, "bob?SDK=X&Version=1", "bob?SDK=X&Version=1&" + name + "auth"},
		{"name that is there already", CustomAuthorizer{Name: "auth"}, "bob?" + name + "auth", "bob?" + name + "auth"},
		{"all by hand", CustomAuthorizer{}, "bob?" + name + "auth&k=v", "bob?" + name + "auth&k=v"},
		{"signing", signed(CustomAuthorizer{Name: "auth", Username: "u"}), "", "u?" + name + "auth&" + signature + testSignatureEncoded + "&token=t1"},
		{"signing with default authorizer", signed(CustomAuthorizer{}), "", "?" + signature + testSignatureEncoded + "&token=t1"},
		{"signature that is encoded already", signed(CustomAuthorizer{Signature: testSignatureEncoded}), "", "?" + signature + testSignatureEncoded + "&token=t1"},
		{"signature encoded in lower case", signed(CustomAuthorizer{Signature: strings.ToLower(testSignatureEncoded)}), "", "?" + signature + testSignatureEncoded + "&token=t1"},
		{"signature encoded by halves", signed(CustomAuthorizer{Signature: "ab%2B/cd%3D="}), "", "?" + signature + testSignatureEncoded + "&token=t1"},
		{"name with reserved characters", CustomAuthorizer{Name: "a=b,c@d"}, "", "?" + name + "a%3Db%2Cc%40d"},
		{"unreserved characters", CustomAuthorizer{Name: "A-z0.9_~"}, "", "?" + name + "A-z0.9_~"},
		{"token key with reserved characters", signed(CustomAuthorizer{TokenKeyName: "my key"}), "", "?" + signature + testSignatureEncoded + "&my%20key=t1"},
		{"token with equal signs", signed(CustomAuthorizer{TokenValue: "a=b=c"}), "", "?" + signature + testSignatureEncoded + "&token=a%3Db%3Dc"},
		{"token with ampersand and question mark", signed(CustomAuthorizer{TokenValue: "a&b?c"}), "", "?" + signature + testSignatureEncoded + "&token=a%26b%3Fc"},
		{"token with blank and plus", signed(CustomAuthorizer{TokenValue: "a b+c"}), "", "?" + signature + testSignatureEncoded + "&token=a%20b%2Bc"},
		{"token in UTF-8", signed(CustomAuthorizer{TokenValue: "é"}), "", "?" + signature + testSignatureEncoded + "&token=%C3%A9"},
		{"token with text of a parameter", signed(CustomAuthorizer{Name: "auth", TokenValue: name + "other"}), "", "?" + name + "auth&" + signature + testSignatureEncoded + "&token=x-amz-customauthorizer-name%3Dother"},
		{"token that is encoded already", signed(CustomAuthorizer{TokenValue: "a%20b"}), "", "?" + signature + testSignatureEncoded + "&token=a%20b"},
		{"token with a percent sign", signed(CustomAuthorizer{TokenValue: "50%"}), "", "?" + signature + testSignatureEncoded + "&token=50%25"},
		{"token with an escape among reserved characters", signed(CustomAuthorizer{TokenValue: "a/b%20c"}), "", "?" + signature + testSignatureEncoded + "&token=a%2Fb%2520c"},
		{"token key that begins the name of another parameter", signed(CustomAuthorizer{TokenKeyName: "x"}), "bob?xy=1", "bob?xy=1&" + signature + testSignatureEncoded + "&x=t1"},
	} {
		t.Run(tt.test, func(t *testing.T) {
			got, err := tt.a.UsernameFor(tt.given)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("user name (-want +got):\n%s", diff)
			}
			// So it is in the CONNECT, directly and over WebSocket, with the password.
			for name, m := range map[string]method{"direct": {}, "WebSocket": {upgrade: overWebsocket}} {
				a := tt.a
				a.Password = []byte{0, 0xff, '%'}
				options := []Option{WithCustomAuthorizer(a)}
				if tt.given != "" {
					options = append(options, WithUsername(tt.given))
				}
				c, err := apply(options).connector("broker.example", m)
				if err != nil {
					t.Fatal(err)
				}
				packet := c.options.Connect
				if err := c.options.PrepareConnect(t.Context(), &packet); err != nil {
					t.Fatal(err)
				}
				sent := ""
				if packet.Username != nil {
					sent = *packet.Username
				}
				if sent != tt.want || string(packet.Password) != "\x00\xff%" {
					t.Errorf("%s: user name %q, password %q", name, sent, packet.Password)
				}
			}
			// What is complete stays as it is.
			again, err := (&CustomAuthorizer{}).UsernameFor(got)
			if err != nil || again != got {
				t.Errorf("as a given user name it becomes %q, %v", again, err)
			}
		})
	}
}

func TestCustomAuthorizer_refused(t *testing.T) {
	for _, tt := range []struct {
		test  string
		a     CustomAuthorizer
		given string
		want  string
	}{
		{"signature missing", CustomAuthorizer{TokenKeyName: "k", TokenValue: "secret"}, "", "has no Signature"},
		{"token missing", CustomAuthorizer{TokenKeyName: "k", Signature: testSignature}, "", "has no TokenValue"},
		{"key missing", CustomAuthorizer{TokenValue: "secret", Signature: testSignature}, "", "has no TokenKeyName"},
		{"key alone", CustomAuthorizer{TokenKeyName: "k"}, "", "no TokenValue and no Signature"},
		{"token alone", CustomAuthorizer{TokenValue: "secret"}, "", "no TokenKeyName and no Signature"},
		{"signature alone", CustomAuthorizer{Signature: testSignature}, "", "no TokenKeyName and no TokenValue"},
		{"two question marks", CustomAuthorizer{Name: "auth"}, "a?b=1?c=2", "two question marks"},
		{"two user names", CustomAuthorizer{Username: "alice"}, "bob", "two different user names"},
		{"another name in the query", CustomAuthorizer{Name: "auth"}, "bob?x-amz-customauthorizer-name=other", "another parameter x-amz-customauthorizer-name"},
		{"name with its parameter", CustomAuthorizer{Name: "x-amz-customauthorizer-name=auth"}, "", "the name alone"},
		{"signature with its parameter", CustomAuthorizer{TokenKeyName: "k", TokenValue: "secret", Signature: "x-amz-customauthorizer-signature=ab"}, "", "the signature alone"},
		{"token with its key", CustomAuthorizer{TokenKeyName: "k", TokenValue: "k=secret", Signature: testSignature}, "", "the value alone"},
		{"token key of the service", CustomAuthorizer{TokenKeyName: "x-amz-customauthorizer-name", TokenValue: "secret", Signature: testSignature}, "", "name of a parameter of the service"},
		{"signature with blank", CustomAuthorizer{TokenKeyName: "k", TokenValue: "secret", Signature: "ab cd"}, "", "plus sign"},
		{"signature with line break", CustomAuthorizer{TokenKeyName: "k", TokenValue: "secret", Signature: "ab\ncd"}, "", "one line"},
		{"signature that is no base64", CustomAuthorizer{TokenKeyName: "k", TokenValue: "secret", Signature: "a_b"}, "", "not base64"},
		{"signature with a stray percent sign", CustomAuthorizer{TokenKeyName: "k", TokenValue: "secret", Signature: "ab%zz"}, "", "percent sign"},
		{"too long", CustomAuthorizer{Username: strings.Repeat("u", 65536)}, "", "65535"},
		{"not UTF-8", CustomAuthorizer{Username: "\xff"}, "", "UTF-8"},
	} {
		t.Run(tt.test, func(t *testing.T) {
			got, err := tt.a.UsernameFor(tt.given)
			if got != "" || !errors.Is(err, ErrInvalidOptions) || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("got %q, %v, want an error about %q", got, err, tt.want)
			}
			if strings.Contains(err.Error(), "secret") {
				t.Errorf("the error shows the token: %v", err)
			}
			if _, err := NewDirectWithCustomAuthorizer("broker.example", tt.a, WithUsername(tt.given)); !errors.Is(err, ErrInvalidOptions) && tt.given != "" {
				t.Errorf("the constructor says %v", err)
			}
		})
	}
}

func TestCustomAuthorizer_password(t *testing.T) {
	for _, tt := range []struct {
		test         string
		own, connect []byte
		want         []byte
		wantErr      bool
	}{
		{"none", nil, nil, nil, false},
		{"bytes", []byte{0, 0xff, '%'}, nil, []byte{0, 0xff, '%'}, false},
		{"empty is not none", []byte{}, nil, []byte{}, false},
		{"of the CONNECT", nil, []byte("p"), []byte("p"), false},
		{"the same twice", []byte("p"), []byte("p"), []byte("p"), false},
		{"two", []byte("p"), []byte("q"), nil, true},
	} {
		t.Run(tt.test, func(t *testing.T) {
			packet := mqtt5.ConnectPacket{Password: tt.connect}
			a := CustomAuthorizer{Name: "auth", Password: tt.own}
			err := a.apply(&packet)
			if tt.wantErr {
				if !errors.Is(err, ErrInvalidOptions) {
					t.Fatalf("got %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, packet.Password); diff != "" {
				t.Errorf("password (-want +got):\n%s", diff)
			}
		})
	}
}

// What Refresh changes is of one attempt alone, the bytes of the password too.
func TestCustomAuthorizer_refreshGetsACopy(t *testing.T) {
	a := CustomAuthorizer{Name: "auth", Password: []byte("p0"), Refresh: func(_ context.Context, a *CustomAuthorizer) error {
		a.Password[1]++
		a.Name += "x"
		return nil
	}}
	c, err := apply([]Option{WithoutMetrics(), WithCustomAuthorizer(a)}).connector(testEndpoint, method{})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		var packet mqtt5.ConnectPacket
		if err := c.options.PrepareConnect(t.Context(), &packet); err != nil {
			t.Fatal(err)
		}
		if string(packet.Password) != "p1" || *packet.Username != "?x-amz-customauthorizer-name=authx" {
			t.Errorf("password %q, user name %q", packet.Password, *packet.Username)
		}
	}
}

func TestCustomAuthorizer_showsNoSecrets(t *testing.T) {
	a := CustomAuthorizer{Name: "auth", Username: "hush1", Password: []byte("hush2"), TokenKeyName: "k", TokenValue: "hush3", Signature: "hush4"}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
		for _, v := range []any{a, &a} {
			if s := fmt.Sprintf(verb, v); strings.Contains(s, "hush") || strings.Contains(s, "68757368") {
				t.Errorf("%s shows %s", verb, s)
			}
		}
	}
}
