// SPDX-License-Identifier: Apache-2.0

package iottest_test

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"net/url"
	"testing"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/iot/iottest"
)

func dialCustom(t *testing.T, c *iottest.Core, cert ...tls.Certificate) *rawClient {
	t.Helper()
	cfg := c.TLSConfig(iottest.ALPNMQTT)
	cfg.Certificates = cert
	nc, err := tls.Dial("tcp", c.Addr(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return newRaw(t, nc)
}

func allow(_ context.Context, r *iottest.AuthorizerRequest) (*iottest.AuthorizerResponse, error) {
	return &iottest.AuthorizerResponse{IsAuthenticated: true, PrincipalID: "p1", Policies: []string{iottest.AllowAllPolicy}}, nil
}

func signToken(t *testing.T, key *rsa.PrivateKey, token string) string {
	t.Helper()
	sum := sha256.Sum256([]byte(token))
	sig, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(sig)
}

func addAuthorizer(t *testing.T, c *iottest.Core, a iottest.Authorizer) {
	t.Helper()
	if err := c.AddAuthorizer(a); err != nil {
		t.Fatal(err)
	}
}

func TestAuthorizer(t *testing.T) {
	c := iottest.Start(t)
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	var got *iottest.AuthorizerRequest
	addAuthorizer(t, c, iottest.Authorizer{Name: "signed", TokenKeyName: "tok", PublicKey: &key.PublicKey, Handler: allow})
	addAuthorizer(t, c, iottest.Authorizer{Name: "open", SigningDisabled: true, Default: true,
		Handler: func(ctx context.Context, r *iottest.AuthorizerRequest) (*iottest.AuthorizerResponse, error) {
			if string(r.Password) == "\x00\xFFpw" {
				got = r
				return allow(ctx, r)
			}
			return &iottest.AuthorizerResponse{}, nil
		}})
	addAuthorizer(t, c, iottest.Authorizer{Name: "off", SigningDisabled: true, Inactive: true, Handler: allow})
	addAuthorizer(t, c, iottest.Authorizer{Name: "broken", SigningDisabled: true,
		Handler: func(context.Context, *iottest.AuthorizerRequest) (*iottest.AuthorizerResponse, error) {
			return nil, errors.New("boom")
		}})
	addAuthorizer(t, c, iottest.Authorizer{Name: "panics", SigningDisabled: true,
		Handler: func(context.Context, *iottest.AuthorizerRequest) (*iottest.AuthorizerResponse, error) { panic("boom") }})

	const name = "?x-amz-customauthorizer-name="
	sig := signToken(t, key, "T/1")
	signature := "&x-amz-customauthorizer-signature="
	for _, tc := range []struct {
		name           string
		user, password string
		want           iottest.ReasonCode
		err            error
	}{
		{"default", "user", "\x00\xFFpw", 0, nil},
		{"default, wrong password", "user", "no", iottest.NotAuthorized, iottest.ErrNotAuthenticated},
		{"unknown", name + "nobody", "", iottest.NotAuthorized, iottest.ErrNoAuthorizer},
		{"inactive", name + "off", "", iottest.NotAuthorized, iottest.ErrAuthorizerInactive},
		{"failing", name + "broken", "", iottest.NotAuthorized, iottest.ErrAuthorizerFailed},
		{"panicking", name + "panics", "", iottest.NotAuthorized, iottest.ErrAuthorizerFailed},
		{"signed", "u" + name + "signed&tok=T/1" + signature + url.QueryEscape(sig), "", 0, nil},
		{"signed, signature not encoded", "u" + name + "signed&tok=T/1" + signature + sig, "", 0, nil},
		{"signed, encoded twice", name + "signed&tok=T/1" + signature + url.QueryEscape(url.QueryEscape(sig)), "", iottest.NotAuthorized, iottest.ErrTokenSignature},
		{"signed, other token", name + "signed&tok=T/2" + signature + url.QueryEscape(sig), "", iottest.NotAuthorized, iottest.ErrTokenSignature},
		{"signed, no signature", name + "signed&tok=T/1", "", iottest.NotAuthorized, iottest.ErrTokenMissing},
		{"signed, wrong token name", name + "signed&token=T/1" + signature + url.QueryEscape(sig), "", iottest.NotAuthorized, iottest.ErrTokenMissing},
	} {
		f := dialCustom(t, c).connect(connectOptions{id: tc.name, hasUser: true, user: tc.user, password: tc.password})
		if f.codes[0] != byte(tc.want) {
			t.Errorf("%s: CONNACK %#x, want %v", tc.name, f.codes[0], tc.want)
		}
		if tc.err != nil {
			if e := wait(t, c, iottest.ConnectRefused, tc.name); !errors.Is(e.Err, tc.err) {
				t.Errorf("%s: event has %v, want %v", tc.name, e.Err, tc.err)
			}
		}
	}
	if got == nil || got.Username != "user" || got.Authorizer != "open" || got.ClientID != "default" || got.ServerName != c.Endpoint() {
		t.Errorf("the function was told %+v", got)
	}
}

func TestAuthorizer_webSocket(t *testing.T) {
	c := iottest.Start(t)
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	addAuthorizer(t, c, iottest.Authorizer{Name: "a", TokenKeyName: "tok", PublicKey: &key.PublicKey, Handler: allow})
	sig := signToken(t, key, "T")
	header := map[string]string{"x-amz-customauthorizer-name": "a", "x-amz-customauthorizer-signature": sig, "tok": "T"}

	_, cl := upgrade(t, c, upgradeOptions{header: header})
	cl.mustConnect(connectOptions{id: "by-header"})
	_, cl = upgrade(t, c, upgradeOptions{query: "x-amz-customauthorizer-name=a&tok=T&x-amz-customauthorizer-signature=" + url.QueryEscape(sig)})
	cl.mustConnect(connectOptions{id: "by-query"})
	_, cl = upgrade(t, c, upgradeOptions{})
	cl.mustConnect(connectOptions{id: "by-connect", user: "?x-amz-customauthorizer-name=a&tok=T&x-amz-customauthorizer-signature=" + url.QueryEscape(sig)})
	if info := c.Clients()["by-connect"]; info.Auth != "custom" || info.Authorizer != "a" || !info.WebSocket {
		t.Errorf("info %+v", info)
	}
	header["tok"] = "other"
	if resp, _ := upgrade(t, c, upgradeOptions{header: header}); resp.StatusCode != 403 {
		t.Errorf("wrong token: status %d", resp.StatusCode)
	}
}

func TestAuthorizer_policiesAndLifetime(t *testing.T) {
	c := iottest.Start(t)
	addAuthorizer(t, c, iottest.Authorizer{Name: "a", SigningDisabled: true, Default: true,
		Handler: func(context.Context, *iottest.AuthorizerRequest) (*iottest.AuthorizerResponse, error) {
			return &iottest.AuthorizerResponse{IsAuthenticated: true, DisconnectAfter: 5 * time.Minute, Policies: []string{
				`{"Statement":{"Effect":"Allow","Action":["iot:Connect","iot:Subscribe"],"Resource":"*"}}`}}, nil
		}})
	cl := dialCustom(t, c)
	cl.mustConnect(connectOptions{id: "a", keepAlive: 1200})
	cl.publish("t", "p", 1, 1)
	if f := cl.expect(tPuback); f.codes[0] != byte(iottest.NotAuthorized) {
		t.Errorf("PUBACK %#x", f.codes[0])
	}
	c.Advance(5*time.Minute + time.Second)
	cl.expectDisconnect(iottest.AdministrativeAction)
}

func TestAuthorizer_withCertificate(t *testing.T) {
	c := iottest.Start(t)
	d := c.Device(t, "thing", iottest.WithPolicy(`{"Statement":{"Effect":"Allow","Action":"iot:Connect","Resource":"*"}}`))
	var id string
	addAuthorizer(t, c, iottest.Authorizer{Name: "a", SigningDisabled: true, Default: true,
		Handler: func(ctx context.Context, r *iottest.AuthorizerRequest) (*iottest.AuthorizerResponse, error) {
			id = r.CertificateID
			return allow(ctx, r)
		}})
	cl := dialCustom(t, c, d.TLSCertificate())
	cl.mustConnect(connectOptions{id: "thing"})
	if id != d.CertificateID() {
		t.Errorf("certificate id %q", id)
	}
	if codes := cl.subscribe("t"); codes[0] != byte(iottest.NotAuthorized) {
		t.Errorf("both policies must allow: SUBACK %#x", codes[0])
	}
}
