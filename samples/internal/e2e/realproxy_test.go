// SPDX-License-Identifier: Apache-2.0

//go:build unix

package e2e

import (
	"strconv"
	"strings"
	"testing"

	"github.com/gocrt/aws-iot-device-sdk-go/http/proxy/proxytest"
	"github.com/gocrt/aws-iot-device-sdk-go/iot/iottest"
)

// TestSamples_realProxies runs samples through proxies that people use.
func TestSamples_realProxies(t *testing.T) {
	for _, p := range []struct {
		name  string
		start func(testing.TB, proxytest.Config) *proxytest.Server
	}{
		{"squid", proxytest.StartSquid},
		{"tinyproxy", proxytest.StartTinyproxy},
		{"microsocks", proxytest.StartMicrosocks},
	} {
		t.Run(p.name, func(t *testing.T) {
			server := p.start(t, proxytest.Config{Username: "user", Password: "password1"})
			core := iottest.Start(t)
			device := core.Device(t, "device")
			f, err := device.WriteFiles(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			addAuthorizers(t, core)
			key, err := core.CreateAccessKey(iottest.AccessKeyOptions{})
			if err != nil {
				t.Fatal(err)
			}
			t.Setenv("AWS_ACCESS_KEY_ID", key.AccessKeyID)
			t.Setenv("AWS_SECRET_ACCESS_KEY", key.SecretAccessKey)
			t.Setenv("AWS_SESSION_TOKEN", "")
			reach := []string{"-endpoint", "127.0.0.1", "-port", strconv.Itoa(core.Port()), "-ca", f.CA, "-proxy", server.URL()}
			token := []string{"-authorizer", "signed", "-token-key-name", "token", "-token", "to/ken +1", "-signature", sign(t, "to/ken +1")}
			for _, s := range []struct {
				sample string
				args   []string
			}{
				{"proxy", []string{"-cert", f.Cert, "-key", f.Key}},
				{"pubsub", []string{"-method", "sigv4", "-region", core.Region()}},
				{"pubsub", append([]string{"-method", "custom-auth"}, token...)},
				{"pubsub", append([]string{"-method", "websocket-custom-auth"}, token...)},
				{"doctor", []string{"-cert", f.Cert, "-key", f.Key}},
				{"bench", append([]string{"-method", "websocket-custom-auth", "-clients", "4"}, token...)},
			} {
				stdout, stderr, status := run(t, "", program(t, s.sample), append(reach, s.args...)...)
				if status != 0 {
					t.Errorf("%s %s: exit status %d\n%s\n%s", s.sample, strings.Join(s.args[:2], " "), status, stdout, stderr)
				}
			}

			// A wrong password is told apart from other failures.
			url := strings.Replace(server.URL(), "password1", "hush", 1)
			_, stderr, status := run(t, "", program(t, "proxy"), "-endpoint", "127.0.0.1", "-port", strconv.Itoa(core.Port()), "-ca", f.CA, "-cert", f.Cert, "-key", f.Key, "-proxy", url)
			if status != 1 || !strings.Contains(stderr, "failed at stage proxy") || !strings.Contains(stderr, "check the proxy's user name and password") || strings.Contains(stderr, "hush") {
				t.Errorf("wrong password: exit status %d\n%s", status, stderr)
			}
		})
	}
}
