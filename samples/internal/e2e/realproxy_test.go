// SPDX-License-Identifier: Apache-2.0

//go:build unix

package e2e

import (
	"io"
	"maps"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
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
				{"x509", []string{"-cert", f.Cert, "-key", f.Key}},
				{"proxy", []string{"-cert", f.Cert, "-key", f.Key}},
				{"websocket-sigv4", []string{"-region", core.Region()}},
				{"custom-auth-signed", token},
				{"websocket-custom-auth", token},
				{"fleet", []string{"-clients", "4", "-cert", f.Cert, "-key", f.Key}},
			} {
				stdout, stderr, status := run(t, "", program(t, s.sample), append(reach, s.args...)...)
				if status != 0 {
					t.Errorf("%s %s: exit status %d\n%s\n%s", s.sample, strings.Join(s.args[:2], " "), status, stdout, stderr)
				}
			}

			// A wrong password is distinguished from other failures.
			url := strings.Replace(server.URL(), "password1", "hush", 1)
			_, stderr, status := run(t, "", program(t, "proxy"), "-endpoint", "127.0.0.1", "-port", strconv.Itoa(core.Port()), "-ca", f.CA, "-cert", f.Cert, "-key", f.Key, "-proxy", url)
			if status != 1 || !strings.Contains(stderr, "failed at stage proxy") || !strings.Contains(stderr, "check the proxy's user name and password") || strings.Contains(stderr, "hush") {
				t.Errorf("wrong password: exit status %d\n%s", status, stderr)
			}
		})
	}
}

// TestSamples_withoutFlagsThroughProxies runs each sample as
// TestSamples_withoutFlags does, with a proxy between it and its core. The
// proxies take turns: each kind of connection goes through all of them above.
func TestSamples_withoutFlagsThroughProxies(t *testing.T) {
	starts := []func(testing.TB, proxytest.Config) *proxytest.Server{proxytest.StartSquid, proxytest.StartTinyproxy, proxytest.StartMicrosocks}
	var fronts []*relay
	var urls []string
	for _, start := range starts {
		server := start(t, proxytest.Config{Username: "user", Password: "password1"})
		front := startRelay(t, server.Addr)
		fronts = append(fronts, front)
		urls = append(urls, strings.Replace(server.URL(), server.Addr, front.address, 1))
	}
	for i, name := range slices.Sorted(maps.Keys(without)) {
		if interactive[name] {
			continue
		}
		front, url := fronts[i%len(fronts)], urls[i%len(urls)]
		t.Run(name, func(t *testing.T) {
			if name == "pkcs11" {
				needSoftHSM(t)
			}
			before := front.accepted.Load()
			stdout, stderr, status := run(t, "", program(t, name), "-proxy", url)
			if status != 0 {
				t.Fatalf("exit status %d\n%s\n%s", status, stdout, stderr)
			}
			for _, w := range without[name] {
				if strings.HasPrefix(w, "The proxy opens") || strings.HasPrefix(w, "and set HTTPS_PROXY") {
					continue // those are of its own proxy
				}
				if !regexp.MustCompile(w).MatchString(stdout) {
					t.Errorf("the output lacks %s:\n%s", w, stdout)
				}
			}
			if front.accepted.Load() == before {
				t.Error("nothing went through the proxy")
			}
			if strings.Contains(stdout+stderr, "password1") {
				t.Errorf("the password is in the output:\n%s%s", stdout, stderr)
			}
		})
	}
}

// relay stands before a server and counts who comes.
type relay struct {
	address  string
	accepted atomic.Int32
}

func startRelay(t *testing.T, to string) *relay {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{address: ln.Addr().String()}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			r.accepted.Add(1)
			wg.Go(func() {
				defer conn.Close()
				server, err := net.Dial("tcp", to)
				if err != nil {
					return
				}
				wg.Go(func() {
					_, _ = io.Copy(conn, server)
					conn.Close()
				})
				_, _ = io.Copy(server, conn)
				server.Close()
			})
		}
	})
	t.Cleanup(func() {
		ln.Close()
		wg.Wait()
	})
	return r
}
