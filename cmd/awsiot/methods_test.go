// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	gopkcs12 "software.sslmate.com/src/go-pkcs12"

	"github.com/gocrt/aws-iot-device-sdk-go/io/tlsctx"
	"github.com/gocrt/aws-iot-device-sdk-go/iot/iottest"
)

// methods are the flags for each way to connect to the core, by -method. What
// they need of the environment is set for the test.
func methods(t *testing.T, core *iottest.Core) map[string][]string {
	t.Helper()
	dir := t.TempDir()
	device := core.Device(t, "device")
	files, err := device.WriteFiles(dir)
	if err != nil {
		t.Fatal(err)
	}
	server := reach(core, files.CA)
	web := "localhost:" + strconv.Itoa(core.Port())
	key, err := core.CreateAccessKey(iottest.AccessKeyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": key.AccessKeyID, "AWS_SECRET_ACCESS_KEY": key.SecretAccessKey, "AWS_SESSION_TOKEN": key.SessionToken,
		"AWS_REGION": core.Region(), "AWS_ENDPOINT_URL_COGNITO_IDENTITY": "https://" + web,
	} {
		t.Setenv(name, value)
	}
	if err := core.AddRoleAlias(iottest.RoleAlias{Name: "alias"}); err != nil {
		t.Fatal(err)
	}
	if err := core.AddAuthorizer(iottest.Authorizer{Name: "a", SigningDisabled: true,
		Handler: func(context.Context, *iottest.AuthorizerRequest) (*iottest.AuthorizerResponse, error) {
			return &iottest.AuthorizerResponse{IsAuthenticated: true, PrincipalID: "somebody",
				Policies: []string{`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"iot:*","Resource":"*"}]}`}}, nil
		}}); err != nil {
		t.Fatal(err)
	}
	cert, err := tlsctx.FromPath(files.Cert, files.Key).Certificate(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	p12, err := gopkcs12.Modern.Encode(cert.PrivateKey, cert.Leaf, nil, "hush")
	if err != nil {
		t.Fatal(err)
	}
	bundle := filepath.Join(dir, "device.p12")
	if err := os.WriteFile(bundle, p12, 0o600); err != nil {
		t.Fatal(err)
	}
	user := []string{"-authorizer", "a", "-username", "u", "-password", "hush"}
	by := func(method string, args ...string) []string {
		return append(append([]string{"-method", method}, server...), args...)
	}
	return map[string][]string{
		"certificate":           by("certificate", "-cert", files.Cert, "-key", files.Key),
		"pkcs12":                by("pkcs12", "-p12", bundle, "-password", "hush"),
		"sigv4":                 by("sigv4", "-region", core.Region()),
		"cognito":               by("cognito", "-region", core.Region(), "-identity-pool-id", core.AddIdentityPool(iottest.IdentityPool{})),
		"role-alias":            by("role-alias", "-region", core.Region(), "-cert", files.Cert, "-key", files.Key, "-credentials-endpoint", web, "-role-alias", "alias"),
		"custom-auth":           by("custom-auth", user...),
		"websocket-custom-auth": by("websocket-custom-auth", user...),
		"broker":                {"-method", "broker", "-plaintext", "-endpoint", "127.0.0.1", "-port", strconv.Itoa(core.TCPPort())},
	}
}

func TestConnect_methods(t *testing.T) {
	core := iottest.Start(t, func(o *iottest.Options) { o.PlainTCP = true })
	for name, args := range methods(t, core) {
		t.Run(name, func(t *testing.T) {
			out, errs, status := runWith(t, os.Environ(), "", append([]string{"pub", "a/b", "x"}, args...)...)
			if status != 0 || !strings.Contains(errs, "1 byte to a/b: acknowledged") || strings.Contains(out+errs, "hush") {
				t.Errorf("exit status %d, %q, %q", status, out, errs)
			}
		})
	}
}
