// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/gocrt/aws-iot-device-sdk-go/auth/credentials"
	"github.com/gocrt/aws-iot-device-sdk-go/auth/sigv4"
	"github.com/gocrt/aws-iot-device-sdk-go/http/proxy"
	"github.com/gocrt/aws-iot-device-sdk-go/http/websocket"
	"github.com/gocrt/aws-iot-device-sdk-go/io/pkcs11"
	"github.com/gocrt/aws-iot-device-sdk-go/io/pkcs12"
	"github.com/gocrt/aws-iot-device-sdk-go/io/tlsctx"
	"github.com/gocrt/aws-iot-device-sdk-go/iot"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/scram"
)

const canary = "ZEBRA"

// secretFields are the fields that are filled with the canary.
var secretFields = regexp.MustCompile(`^(Username|Password|SecretAccessKey|SessionToken|TokenValue|Signature|PIN|RawQuery|Header|Logins|Command|URL|FullURI|RelativeURI|ExternalID|TokenKeyName)$`)

// fill puts the canary into the secret fields of a struct and of the structs in it.
func fill(v reflect.Value) (n int) {
	for i := range v.NumField() {
		f, field := v.Field(i), v.Type().Field(i)
		if !field.IsExported() {
			continue
		}
		secret := secretFields.MatchString(field.Name)
		switch {
		case f.Kind() == reflect.Struct:
			n += fill(f)
		case !secret:
		case field.Name == "URL":
			f.SetString("http://user:" + canary + "@proxy.test")
			n++
		case f.Kind() == reflect.String:
			f.SetString(canary)
			n++
		case f.Type() == reflect.TypeFor[*string]():
			f.Set(reflect.ValueOf(mqtt5.Ptr(canary)))
			n++
		case f.Type() == reflect.TypeFor[[]byte]():
			f.SetBytes([]byte(canary))
			n++
		case f.Kind() == reflect.Map:
			f.Set(reflect.MakeMap(f.Type()))
			value := reflect.New(f.Type().Elem()).Elem()
			if value.Kind() == reflect.String {
				value.SetString(canary)
			} else {
				value.Set(reflect.ValueOf([]string{canary}))
			}
			f.SetMapIndex(reflect.ValueOf("name"), value)
			n++
		}
	}
	return n
}

// forms are all ways to print a value, alone and within others.
func forms(v any) map[string]string {
	out := map[string]string{}
	for name, v := range map[string]any{"value": v, "in struct": struct{ V any }{v}, "in slice": []any{v}, "in map": map[string]any{"v": v}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t"} {
			text := fmt.Sprintf(verb, v)
			out[name+" "+verb] = text
		}
		if text, err := json.Marshal(v); err == nil {
			out[name+" JSON"] = string(text)
		}
	}
	return out
}

func wantNoCanary(t *testing.T, v any) {
	t.Helper()
	for form, text := range forms(v) {
		plain := strings.ToLower(text)
		for _, bad := range []string{canary, "5a45425241", "90 69 66 82 65", "WkVCUkE", `0x5a, 0x45, 0x42`} {
			if strings.Contains(plain, strings.ToLower(bad)) {
				t.Errorf("%T as %s: %s", v, form, text)
			}
		}
	}
}

// Nothing public shows the secrets that it holds, however it is printed.
func TestSecrets_areNotPrinted(t *testing.T) {
	for _, typ := range []reflect.Type{
		reflect.TypeFor[mqtt5.ConnectPacket](), reflect.TypeFor[mqtt5.ClientOptions](),
		reflect.TypeFor[iot.CustomAuthorizer](),
		reflect.TypeFor[proxy.Options](), reflect.TypeFor[websocket.Options](),
		reflect.TypeFor[sigv4.Credentials](),
		reflect.TypeFor[credentials.StaticOptions](), reflect.TypeFor[credentials.ProcessOptions](), reflect.TypeFor[credentials.CognitoOptions](),
		reflect.TypeFor[credentials.ContainerOptions](), reflect.TypeFor[credentials.AssumeRoleOptions](),
		reflect.TypeFor[pkcs11.TokenOptions](),
	} {
		v := reflect.New(typ)
		if fill(v.Elem()) == 0 {
			t.Errorf("%v has no secret field", typ)
		}
		wantNoCanary(t, v.Interface())
		wantNoCanary(t, v.Elem().Interface())
	}
}

// What is made of them does not show them either.
func TestSecrets_areNotPrintedByWhatHoldsThem(t *testing.T) {
	client, err := mqtt5.NewClient(mqtt5.ClientOptions{
		Address: "127.0.0.1:1", Connect: mqtt5.ConnectPacket{Username: mqtt5.Ptr(canary), Password: []byte(canary)},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	dialer, err := proxy.New(proxy.Options{URL: "http://" + canary + ":" + canary + "@127.0.0.1:1"})
	if err != nil {
		t.Fatal(err)
	}
	ws, err := websocket.New(websocket.Options{RawQuery: canary, Header: map[string][]string{"X": {canary}}})
	if err != nil {
		t.Fatal(err)
	}
	static, err := credentials.NewStatic(credentials.StaticOptions{AccessKeyID: canary, SecretAccessKey: canary, SessionToken: canary})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := static.Retrieve(context.Background()); err != nil {
		t.Fatal(err)
	}
	authenticator, err := scram.New(canary, canary)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range []any{client, dialer, ws, static, authenticator, pkcs11.PIN(canary), pkcs12.Bundle{}, &pkcs12.Bundle{}, tlsctx.FromPKCS12("file", canary)} {
		wantNoCanary(t, v)
	}
}
