// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/gocrt/aws-iot-device-sdk-go/io/tlsctx"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
)

// replaceFile puts a new file in place of another, or of none, in one step.
func replaceFile(t *testing.T, path string, contents []byte) {
	t.Helper()
	if err := os.WriteFile(path+".new", contents, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// TestRotation replaces certificate, key and authorities under a running
// client, in files and as answers of callbacks.
func TestRotation(t *testing.T) {
	for _, b := range secureBrokers(t) {
		t.Run(b.name+" files", func(t *testing.T) {
			cert, key := b.files(t, "first")
			ca := filepath.Join(t.TempDir(), "ca.pem")
			replaceFile(t, ca, b.ca)
			testRotation(t, b, material{
				identity: tlsctx.FromPath(cert, key),
				trust:    func(o *tlsctx.Options) { o.CAPEM, o.CAFile = nil, ca },
				rename: func(name string) {
					c, k := b.issue(t, name)
					replaceFile(t, key, k)
					replaceFile(t, cert, c)
				},
				retrust: func(pem []byte) { replaceFile(t, ca, pem) },
				name:    ca,
			})
		})
		t.Run(b.name+" callbacks", func(t *testing.T) {
			var mu sync.Mutex
			cert, key := b.issue(t, "first")
			ca := b.ca
			testRotation(t, b, material{
				identity: tlsctx.IdentityFunc(func(context.Context) (*tls.Certificate, error) {
					mu.Lock()
					defer mu.Unlock()
					pair, err := tls.X509KeyPair(cert, key)
					return &pair, err
				}),
				trust: func(o *tlsctx.Options) {
					o.CAPEM = nil
					o.CAFunc = func(context.Context) ([]byte, error) {
						mu.Lock()
						defer mu.Unlock()
						return ca, nil
					}
				},
				rename: func(name string) {
					c, k := b.issue(t, name)
					mu.Lock()
					defer mu.Unlock()
					cert, key = c, k
				},
				retrust: func(pem []byte) {
					mu.Lock()
					defer mu.Unlock()
					ca = pem
				},
			})
		})
	}
}

// material is what a client of testRotation connects with.
type material struct {
	identity tlsctx.Identity
	trust    func(*tlsctx.Options)
	rename   func(name string) // replaces certificate and key
	retrust  func(pem []byte)  // replaces the authorities
	name     string            // of the authorities, in errors
}

func testRotation(t *testing.T, b *secureBroker, m material) {
	f, seen := b.fixture(m.identity, m.trust)
	d := f.connected(t, "d")
	checkName := func(want string) {
		t.Helper()
		if name, _, ok := b.seen(f.id + "d"); ok && name != want {
			t.Errorf("connected as %q, want %q", name, want)
		}
	}
	checkName("first")

	m.rename("second")
	d.relay.cut()
	await[*mqtt5.ConnectionSuccess](d)
	checkName("second")

	// No session of the time before lets the client trust a server that it does
	// not trust any more.
	m.retrust(newAuthority(t).pem)
	d.relay.cut()
	var unknown x509.UnknownAuthorityError
	if e := await[*mqtt5.ConnectionFailure](d); !errors.As(e.Err, &unknown) || !strings.Contains(e.Err.Error(), m.name) {
		t.Errorf("connection failure: %v", e.Err)
	}
	m.retrust(append(newAuthority(t).pem, b.ca...))
	await[*mqtt5.ConnectionSuccess](d)
	d.subscribe(mqtt5.AtMostOnce, f.topic("a"))
	d.publish(mqtt5.AtLeastOnce, f.topic("a"), "x")
	d.expect("x")
	for i, s := range seen.all() {
		if s.DidResume {
			t.Errorf("handshake %d resumed a session of other material", i)
		}
	}
}
