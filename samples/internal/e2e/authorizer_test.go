// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"context"
	"net/url"
	"strings"
	"testing"

	"github.com/gocrt/aws-iot-device-sdk-go/iot"
	"github.com/gocrt/aws-iot-device-sdk-go/iot/iottest"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
)

// TestAuthorizer sends every form of the user name, directly and over WebSocket:
// the core sees these bytes and no others, verifies the signature, and the
// function behind it is told what was meant.
func TestAuthorizer(t *testing.T) {
	const name, signature = "x-amz-customauthorizer-name=", "x-amz-customauthorizer-signature="
	const token = "a=b&c?d/é %41+" // everything that has to be encoded, and what looks as if it were
	const tokenEncoded = "a%3Db%26c%3Fd%2F%C3%A9%20%2541%2B"
	sig := sign(t, token)
	sigEncoded := url.QueryEscape(sig) // base64 has no blank
	signedBy := func(a iot.CustomAuthorizer) iot.CustomAuthorizer {
		a.TokenKeyName, a.TokenValue = "tok en", token
		if a.Signature == "" {
			a.Signature = sig
		}
		return a
	}
	for _, tt := range []struct {
		test     string
		a        iot.CustomAuthorizer
		options  []iot.Option
		username string // without metrics
		signed   bool
	}{
		{"name and user name", iot.CustomAuthorizer{Name: "open", Username: "alice"}, nil, "alice?" + name + "open", false},
		{"empty user name", iot.CustomAuthorizer{Name: "open"}, nil, "?" + name + "open", false},
		{"default authorizer", iot.CustomAuthorizer{Username: "alice"}, nil, "alice", false},
		{"nothing", iot.CustomAuthorizer{}, nil, "", false},
		{"query that is kept", iot.CustomAuthorizer{Name: "open", Username: "alice?a=1&b=2"}, nil, "alice?a=1&b=2&" + name + "open", false},
		{"user name of the CONNECT", iot.CustomAuthorizer{Name: "open"}, []iot.Option{iot.WithUsername("bob?x=1")}, "bob?x=1&" + name + "open", false},
		{"user name of the attempt", iot.CustomAuthorizer{Name: "open"}, []iot.Option{iot.WithClientOptions(func(o *mqtt5.ClientOptions) {
			o.PrepareConnect = func(_ context.Context, p *mqtt5.ConnectPacket) error { p.Username = mqtt5.Ptr("fresh"); return nil }
		})}, "fresh?" + name + "open", false},
		{"by hand", iot.CustomAuthorizer{}, []iot.Option{iot.WithUsername("bob?" + name + "open")}, "bob?" + name + "open", false},
		{"signed", signedBy(iot.CustomAuthorizer{Name: "strict", Username: "u"}), nil, "u?" + name + "strict&" + signature + sigEncoded + "&tok%20en=" + tokenEncoded, true},
		{"signature encoded already", signedBy(iot.CustomAuthorizer{Name: "strict", Signature: sigEncoded}), nil, "?" + name + "strict&" + signature + sigEncoded + "&tok%20en=" + tokenEncoded, true},
		{"signature encoded in lower case", signedBy(iot.CustomAuthorizer{Name: "strict", Signature: lowerEscapes(sigEncoded)}), nil, "?" + name + "strict&" + signature + sigEncoded + "&tok%20en=" + tokenEncoded, true},
		{"signed, at each attempt", iot.CustomAuthorizer{Name: "strict", Refresh: func(_ context.Context, a *iot.CustomAuthorizer) error {
			*a = signedBy(*a)
			return nil
		}}, nil, "?" + name + "strict&" + signature + sigEncoded + "&tok%20en=" + tokenEncoded, true},
	} {
		for _, password := range [][]byte{nil, {}, {0, 0xff, '%', '?', 0x80}} {
			for _, transport := range []string{"direct", "WebSocket"} {
				t.Run(tt.test+"/"+transport, func(t *testing.T) {
					asked := make(chan *iottest.AuthorizerRequest, 4)
					handler := func(_ context.Context, r *iottest.AuthorizerRequest) (*iottest.AuthorizerResponse, error) {
						asked <- r
						return &iottest.AuthorizerResponse{IsAuthenticated: true, PrincipalID: "p", Policies: []string{iottest.AllowAllPolicy}}, nil
					}
					core := iottest.Start(t)
					for _, a := range []iottest.Authorizer{
						{Name: "open", SigningDisabled: true, Default: true, Handler: handler},
						{Name: "strict", TokenKeyName: "tok en", PublicKey: &signingKey.PublicKey, Handler: handler},
					} {
						if err := core.AddAuthorizer(a); err != nil {
							t.Fatal(err)
						}
					}
					build := iot.NewDirectWithCustomAuthorizer
					if transport == "WebSocket" {
						build = iot.NewWebsocketWithCustomAuthorizer
					}
					e, options := watch("judged")
					options = append(options, iot.WithDialer(core.DialContext), iot.WithCABytes(core.CAPEM()))
					a := tt.a
					a.Password = password
					client, err := build(core.Endpoint(), a, append(options, tt.options...)...)
					if err != nil {
						t.Fatal(err)
					}
					defer client.Close()
					if err := client.Start(); err != nil {
						t.Fatal(err)
					}
					receive(t, e.connected, e.failed, "the connection")
					r := receive(t, asked, e.failed, "the authorizer")
					// Metrics follow, as they do for every way to connect.
					own, metrics, found := strings.Cut(r.Username, "SDK=")
					if own = strings.TrimRight(own, "?&"); !found || own != strings.TrimRight(tt.username, "?&") || strings.Contains(metrics, "customauthorizer") {
						t.Errorf("user name %q, want %q and metrics", r.Username, tt.username)
					}
					if r.SignatureVerified != tt.signed || tt.signed && r.Token != token {
						t.Errorf("signature verified: %v, token %q", r.SignatureVerified, r.Token)
					}
					if !bytes.Equal(r.Password, password) || (r.Password == nil) != (password == nil) {
						t.Errorf("password %q, want %q", r.Password, password)
					}
					if r.WebSocket != (transport == "WebSocket") || r.ClientID != "judged" {
						t.Errorf("request %+v", r)
					}
				})
			}
		}
	}
}

// lowerEscapes is a signature as some encoders write it.
func lowerEscapes(s string) string {
	return strings.NewReplacer("%2B", "%2b", "%2F", "%2f", "%3D", "%3d").Replace(s)
}
