// SPDX-License-Identifier: Apache-2.0

package tlsctx_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/gocrt/aws-iot-device-sdk-go/io/tlsctx"
)

func TestNew_options(t *testing.T) {
	t.Parallel()
	for field, opts := range map[string]tlsctx.Options{
		"MinVersion":       {MinVersion: tls.VersionTLS11},
		"MaxVersion":       {MaxVersion: tls.VersionTLS10},
		"below MinVersion": {MinVersion: tls.VersionTLS13, MaxVersion: tls.VersionTLS12},
		"ALPN":             {ALPN: []string{"mqtt", ""}},
		"ALPN ":            {ALPN: []string{strings.Repeat("x", 256)}},
		"CipherSuites is":  {CipherSuites: []uint16{}},
		"belongs to TLS":   {CipherSuites: []uint16{tls.TLS_AES_128_GCM_SHA256}},
		"is insecure":      {CipherSuites: []uint16{tls.TLS_RSA_WITH_RC4_128_SHA}},
		"0xffff":           {CipherSuites: []uint16{0xffff}},
		"has no effect":    {MinVersion: tls.VersionTLS13, CipherSuites: []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}},
		"CurvePreferences": {CurvePreferences: []tls.CurveID{}},
		"AddSystemCAs":     {RootCAs: x509.NewCertPool(), AddSystemCAs: true},
		"contradicts":      {CAPEM: []byte("x"), DangerouslyDisableServerVerification: true},
	} {
		t.Run(field, func(t *testing.T) {
			_, err := tlsctx.New(opts)
			if !errors.Is(err, tlsctx.ErrInvalidOptions) || !strings.Contains(err.Error(), strings.TrimSpace(field)) || !strings.HasPrefix(err.Error(), "tlsctx: ") {
				t.Errorf("got %v", err)
			}
		})
	}
	_, err := tlsctx.New(tlsctx.Options{MinVersion: 1, CipherSuites: []uint16{1, 0xffff}})
	if n := strings.Count(err.Error(), "invalid option"); n != 3 {
		t.Errorf("%d complaints: %v", n, err)
	}
}

func TestConfig_defaults(t *testing.T) {
	t.Parallel()
	cfg := must[*tls.Config](t)(newContext(t, tlsctx.Options{}).Config(t.Context(), "broker.example"))
	if cfg.ServerName != "broker.example" || cfg.MinVersion != tls.VersionTLS12 || cfg.MaxVersion != 0 || cfg.RootCAs != nil ||
		cfg.InsecureSkipVerify || cfg.CipherSuites != nil || cfg.CurvePreferences != nil || cfg.NextProtos != nil ||
		cfg.ClientSessionCache == nil || cfg.KeyLogWriter != nil || cfg.GetClientCertificate != nil {
		t.Errorf("%+v", cfg)
	}
	if !cfg.DynamicRecordSizingDisabled {
		t.Error("records grow")
	}
}

// What the caller keeps of the options or does to a configuration changes nothing later.
func TestConfig_copies(t *testing.T) {
	t.Parallel()
	alpn, suites, curves := []string{"mqtt"}, []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}, []tls.CurveID{tls.CurveP256}
	c := newContext(t, tlsctx.Options{ALPN: alpn, CipherSuites: suites, CurvePreferences: curves})
	alpn[0], suites[0], curves[0] = "x", 0, 0
	for range 2 {
		cfg := must[*tls.Config](t)(c.Config(t.Context(), "host"))
		if cfg.NextProtos[0] != "mqtt" || cfg.CipherSuites[0] == 0 || cfg.CurvePreferences[0] == 0 {
			t.Errorf("%+v", cfg)
		}
		cfg.NextProtos[0], cfg.CipherSuites[0], cfg.CurvePreferences[0] = "y", 0, 0
	}
}

func TestConfig_negotiation(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t, "CA")
	var keys bytes.Buffer
	for name, tt := range map[string]struct {
		opts  tlsctx.Options
		check func(tls.ConnectionState) bool
	}{
		"defaults": {tlsctx.Options{}, func(s tls.ConnectionState) bool {
			return s.Version == tls.VersionTLS13 && s.CurveID == tls.X25519MLKEM768
		}},
		"curve": {tlsctx.Options{CurvePreferences: []tls.CurveID{tls.CurveP384}}, func(s tls.ConnectionState) bool { return s.CurveID == tls.CurveP384 }},
		"suite": {tlsctx.Options{MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256}},
			func(s tls.ConnectionState) bool {
				return s.CipherSuite == tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256
			}},
		"key log":  {tlsctx.Options{KeyLogWriter: &keys}, func(tls.ConnectionState) bool { return strings.Contains(keys.String(), "CLIENT_TRAFFIC_SECRET_0") }},
		"ALPN":     {tlsctx.Options{ALPN: []string{"third", "second"}}, func(s tls.ConnectionState) bool { return s.NegotiatedProtocol == "second" }},
		"SNI":      {tlsctx.Options{ServerName: "alias.example"}, func(s tls.ConnectionState) bool { return s.ServerName == "alias.example" }},
		"hook":     {tlsctx.Options{Configure: func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }}, func(s tls.ConnectionState) bool { return s.Version == tls.VersionTLS12 }},
		"minimum":  {tlsctx.Options{MinVersion: tls.VersionTLS13}, func(s tls.ConnectionState) bool { return s.Version == tls.VersionTLS13 }},
		"RootCAs":  {tlsctx.Options{RootCAs: ca.pool()}, func(s tls.ConnectionState) bool { return len(s.VerifiedChains) == 1 }},
		"CA added": {tlsctx.Options{AddSystemCAs: true}, func(s tls.ConnectionState) bool { return len(s.VerifiedChains) == 1 }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cert := ca.server(t, "alias.example")
			s := startServer(t, &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"first", "second"}})
			if tt.opts.RootCAs == nil {
				tt.opts.CAPEM = ca.pem()
			}
			state, err := connect(t, newContext(t, tt.opts), s.address)
			if err != nil {
				t.Fatal(err)
			}
			if !tt.check(state) {
				t.Errorf("%+v", state)
			}
		})
	}
}

func TestConfig_directory(t *testing.T) {
	t.Parallel()
	ca, other := newAuthority(t, "CA"), newAuthority(t, "other")
	dir := t.TempDir()
	device := ca.client(t, "device", "P-256")
	writeFile(t, filepath.Join(dir, "0.pem"), append(other.pem(), ca.pem()...))
	writeFile(t, filepath.Join(dir, "README"), []byte("no certificate"))
	writeFile(t, filepath.Join(dir, "key.pem"), device.keyPEM(t))
	writeFile(t, filepath.Join(dir, "huge"), make([]byte, 5<<20))
	writeFile(t, filepath.Join(dir, "broken.pem"), block("CERTIFICATE", []byte("junk")))
	if err := errors.Join(os.Mkdir(filepath.Join(dir, "sub"), 0o700), os.Symlink("nowhere", filepath.Join(dir, "dangling.pem"))); err != nil {
		t.Fatal(err)
	}
	cfg := must[*tls.Config](t)(newContext(t, tlsctx.Options{CADir: dir}).Config(t.Context(), "host"))
	want := ca.pool()
	want.AddCert(other.cert)
	if !cfg.RootCAs.Equal(want) {
		t.Error("another pool")
	}
	// Sources add up.
	third := newAuthority(t, "third")
	want.AddCert(third.cert)
	cfg = must[*tls.Config](t)(newContext(t, tlsctx.Options{CADir: dir, CAPEM: third.pem()}).Config(t.Context(), "host"))
	if !cfg.RootCAs.Equal(want) {
		t.Error("another pool for both")
	}
}

func TestResumption(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t, "CA")
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for _, off := range []bool{false, true} {
			s := startServer(t, &tls.Config{Certificates: []tls.Certificate{ca.server(t, "127.0.0.1")}})
			c := newContext(t, tlsctx.Options{CAPEM: ca.pem(), MaxVersion: version, DisableSessionResumption: off})
			var resumed []bool
			for range 3 {
				state, err := connect(t, c, s.address)
				if err != nil {
					t.Fatal(err)
				}
				resumed = append(resumed, state.DidResume)
			}
			if want := []bool{false, !off, !off}; !slices.Equal(resumed, want) {
				t.Errorf("%s, off %v: resumed %v, want %v", tls.VersionName(version), off, resumed, want)
			}
		}
	}
}

func TestDialer_errors(t *testing.T) {
	t.Parallel()
	_, err := (&tlsctx.Dialer{}).DialContext(t.Context(), "tcp", "host:1")
	if !errors.Is(err, tlsctx.ErrInvalidOptions) {
		t.Errorf("got %v", err)
	}
	c := newContext(t, tlsctx.Options{})
	refused := errors.New("refused by the layer below")
	called := 0
	d := &tlsctx.Dialer{Context: c, NetDialer: tlsctx.DialFunc(func(_ context.Context, network, address string) (net.Conn, error) {
		called++
		if network != "tcp4" || address != "host:8883" {
			t.Errorf("dialed %s %s", network, address)
		}
		return nil, refused
	})}
	if _, err := d.DialContext(t.Context(), "tcp4", "host:8883"); err != refused || called != 1 {
		t.Errorf("got %v after %d calls", err, called)
	}
	_, err = d.DialContext(t.Context(), "tcp4", "host")
	wantMaterialError(t, err, err, "host:port")
	// Without an identity to show there is nothing to dial for.
	boom := errors.New("no certificate today")
	d.Context = newContext(t, tlsctx.Options{Identity: tlsctx.IdentityFunc(func(context.Context) (*tls.Certificate, error) { return nil, boom })})
	if _, err := d.DialContext(t.Context(), "tcp4", "host:8883"); !errors.Is(err, boom) || called != 1 {
		t.Errorf("got %v after %d calls", err, called)
	}
}

func TestDialer_serverName(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t, "CA")
	s := startServer(t, &tls.Config{Certificates: []tls.Certificate{ca.server(t, "broker.example")}})
	d := &tlsctx.Dialer{Context: newContext(t, tlsctx.Options{CAPEM: ca.pem()}), ServerName: "broker.example"}
	conn, err := d.DialContext(t.Context(), "tcp", s.address)
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	if state := <-s.states; state.ServerName != "broker.example" {
		t.Errorf("SNI %q", state.ServerName)
	}
}

// Many attempts at once, while files rotate.
func TestDialer_concurrent(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t, "CA")
	s := startServer(t, &tls.Config{
		Certificates: []tls.Certificate{ca.server(t, "127.0.0.1")},
		ClientAuth:   tls.RequireAndVerifyClientCert, ClientCAs: ca.pool(),
	})
	dir := t.TempDir()
	bundle := func() []byte { l := ca.client(t, "device", "P-256"); return append(l.keyPEM(t), l.certPEM()...) }
	file := writeFile(t, filepath.Join(dir, "device.pem"), bundle())
	caFile := writeFile(t, filepath.Join(dir, "ca.pem"), ca.pem())
	c := newContext(t, tlsctx.Options{Identity: tlsctx.FromPath(file, file), CAFile: caFile})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 4 {
				if _, err := connect(t, c, s.address); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for range 10 {
		writeFile(t, file, bundle())
	}
	wg.Wait()
}
