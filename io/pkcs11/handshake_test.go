// SPDX-License-Identifier: Apache-2.0

//go:build cgo

package pkcs11

import (
	"context"
	"crypto/tls"
	"testing"
)

func TestHandshake_eachKeyAndVersion(t *testing.T) {
	for _, c := range keyCases() {
		t.Run(c.name, func(t *testing.T) {
			d := newDevice(t)
			d.token("device")
			c.make(d)
			ca := newAuthority(t)
			id := d.identity(d.openToken(TokenOptions{Label: "device"}), ca, KeyOptions{Label: "mqtt"})
			for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
				t.Run(tls.VersionName(version), func(t *testing.T) {
					before := d.api.signatures.Load()
					cert, err := handshake(ca.serverConfig(t, version), ca.clientConfig(id.ClientCertificate))
					if err != nil {
						t.Fatal(err)
					}
					if got := cert.Subject.CommonName; got != "device" {
						t.Errorf("the server saw %q", got)
					}
					if got := d.api.signatures.Load() - before; got != 1 {
						t.Errorf("%d signatures were made on the token, want 1", got)
					}
				})
			}
			if got := d.api.logins.Load(); got != 1 {
				t.Errorf("%d logins, want 1", got)
			}
			cert, err := id.Certificate(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			if cert.SupportedSignatureAlgorithms != nil {
				t.Errorf("restricted to %v", cert.SupportedSignatureAlgorithms)
			}
		})
	}
}
