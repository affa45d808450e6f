// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/iot"
	"github.com/gocrt/aws-iot-device-sdk-go/iot/iottest"
	"github.com/gocrt/aws-iot-device-sdk-go/samples/internal/localproxy"
	"github.com/gocrt/aws-iot-device-sdk-go/samples/internal/sample"
	"github.com/gocrt/aws-iot-device-sdk-go/samples/internal/softhsm"
)

// TestSamples_withFlags runs each way to connect with the flags for a server
// elsewhere: its address, and the files of a device.
func TestSamples_withFlags(t *testing.T) {
	core := iottest.Start(t)
	dir := t.TempDir()
	device := core.Device(t, "device")
	files, err := device.WriteFiles(dir)
	if err != nil {
		t.Fatal(err)
	}
	proxy, err := localproxy.Start(core.DialContext, func(string) {})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(proxy.Close)
	bundle := filepath.Join(dir, "device.p12")
	if err := sample.WriteBundle(device, bundle, "hush"); err != nil {
		t.Fatal(err)
	}
	if err := core.AddRoleAlias(iottest.RoleAlias{Name: "alias"}); err != nil {
		t.Fatal(err)
	}
	pool := core.AddIdentityPool(iottest.IdentityPool{})
	unsigned, signed := addAuthorizer(t, core, false), addAuthorizer(t, core, true)
	user := []string{"-authorizer", unsigned.Name, "-username", unsigned.Username, "-password", string(unsigned.Password)}

	cert := []string{"-cert", files.Cert, "-key", files.Key}
	web := "localhost:" + strconv.Itoa(core.Port())
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", writeProfile(t, core, dir))
	t.Setenv("AWS_ENDPOINT_URL_COGNITO_IDENTITY", "https://"+web)
	t.Setenv("AWS_ACCESS_KEY_ID", "AKIAOTHER") // of the user, and not meant
	t.Setenv("AWS_SECRET_ACCESS_KEY", "other")
	t.Setenv("AWS_SESSION_TOKEN", "")
	t.Setenv("AWS_REGION", core.Region())
	for _, tt := range []struct {
		sample string
		port   int
		args   []string
	}{
		{"x509", core.Port(), cert},
		{"x509", core.MTLSPort(), cert},
		{"fleet", core.Port(), append([]string{"-clients", "2"}, cert...)},
		{"proxy", core.Port(), append([]string{"-proxy", proxy.URL()}, cert...)},
		{"proxy-environment", core.Port(), cert},
		{"pkcs12", core.Port(), []string{"-p12", bundle, "-password", "hush"}},
		{"pkcs11", core.Port(), keyInToken(t, device, files.Cert)},
		{"signer", core.Port(), cert},
		{"websocket-sigv4", core.Port(), []string{"-profile", "device", "-region", core.Region()}},
		{"websocket-cognito", core.Port(), []string{"-identity-pool-id", pool}},
		{"role-alias", core.Port(), append([]string{"-credentials-endpoint", web, "-role-alias", "alias"}, cert...)},
		{"custom-auth", core.Port(), user},
		{"custom-auth-signed", core.Port(), []string{"-authorizer", signed.Name, "-token-key-name", signed.TokenKeyName, "-token", signed.TokenValue, "-signature", signed.Signature}},
		{"websocket-custom-auth", core.Port(), user},
	} {
		t.Run(fmt.Sprintf("%s %d", tt.sample, tt.port), func(t *testing.T) {
			if tt.args == nil {
				needSoftHSM(t)
			}
			if tt.sample == "proxy-environment" {
				t.Setenv("HTTPS_PROXY", proxy.URL())
				t.Setenv("NO_PROXY", "")
			}
			args := append([]string{"-endpoint", "localhost", "-port", strconv.Itoa(tt.port), "-ca", files.CA, "-count", "1"}, tt.args...)
			stdout, stderr, status := run(t, "", program(t, tt.sample), args...)
			if status != 0 {
				t.Errorf("exit status %d\n%s\n%s", status, stdout, stderr)
			}
			if strings.Contains(stdout+stderr, "hush") {
				t.Errorf("a secret is in the output:\n%s%s", stdout, stderr)
			}
		})
	}
}

// addAuthorizer registers a custom authorizer and returns what it accepts.
func addAuthorizer(t *testing.T, core *iottest.Core, signing bool) iot.CustomAuthorizer {
	t.Helper()
	client, authorizer, err := sample.NewAuthorizer(signing)
	if err != nil {
		t.Fatal(err)
	}
	if err := core.AddAuthorizer(authorizer); err != nil {
		t.Fatal(err)
	}
	return client
}

// writeProfile writes a profile of AWS credentials that the core accepts.
func writeProfile(t *testing.T, core *iottest.Core, dir string) string {
	t.Helper()
	key, err := core.CreateAccessKey(iottest.AccessKeyOptions{Lifetime: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "credentials")
	text := fmt.Sprintf("[device]\naws_access_key_id = %s\naws_secret_access_key = %s\naws_session_token = %s\n", key.AccessKeyID, key.SecretAccessKey, key.SessionToken)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// keyInToken puts the key of a device into a token of SoftHSM; nil without
// SoftHSM.
func keyInToken(t *testing.T, device *iottest.Device, cert string) []string {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("SOFTHSM2_CONF", filepath.Join(dir, "softhsm2.conf")) // first: Setup changes it, and other tests have another token
	library, err := softhsm.Setup(dir, device.KeyPKCS8PEM())
	if errors.Is(err, softhsm.ErrNotInstalled) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("PKCS11_PIN", softhsm.PIN)
	return []string{"-library", library, "-token-label", softhsm.TokenLabel, "-key-label", softhsm.KeyLabel, "-cert", cert}
}

// Without SoftHSM the sample says what to install.
func TestWithoutSoftHSM(t *testing.T) {
	pkcs11 := program(t, "pkcs11")
	t.Setenv("PATH", t.TempDir())
	stdout, stderr, status := run(t, "", pkcs11)
	if status != 1 || !strings.Contains(stderr, "SoftHSM is not installed") || !strings.Contains(stderr, "apt-get install softhsm2") {
		t.Errorf("exit status %d\n%s\n%s", status, stdout, stderr)
	}
}
