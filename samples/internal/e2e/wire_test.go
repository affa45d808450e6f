// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/iot/iottest"
)

// TestWire runs the x509 sample against a bare TLS server and looks at what
// leaves on the wire: SNI, ALPN, the client certificate, and each byte of the
// CONNECT.
func TestWire(t *testing.T) {
	core := iottest.Start(t)
	device := core.Device(t, "wire")
	files, err := device.WriteFiles(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	ca, config := localhostServer(t)
	var hello *tls.ClientHelloInfo
	config.GetConfigForClient = func(h *tls.ClientHelloInfo) (*tls.Config, error) {
		hello = h
		return nil, nil
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	cmd := exec.CommandContext(ctx, program(t, "x509"), "-endpoint", "localhost", "-port", port,
		"-cert", files.Cert, "-key", files.Key, "-ca", ca, "-client-id", "wire-1")
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}

	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	secure := tls.Server(conn, config)
	defer secure.Close()
	if err := secure.Handshake(); err != nil {
		t.Fatalf("handshake: %v", err)
	}
	if hello.ServerName != "localhost" {
		t.Errorf("SNI is %q", hello.ServerName)
	}
	if want := []string{"x-amzn-mqtt-ca"}; !slices.Equal(hello.SupportedProtos, want) {
		t.Errorf("ALPN is %q, want %q", hello.SupportedProtos, want)
	}
	if hello.SupportedVersions[0] != tls.VersionTLS13 || slices.Min(hello.SupportedVersions) != tls.VersionTLS12 {
		t.Errorf("TLS versions are %x", hello.SupportedVersions)
	}
	if peers := secure.ConnectionState().PeerCertificates; len(peers) == 0 || !peers[0].Equal(device.X509()) {
		t.Error("the client did not show the certificate of the device")
	}

	const want = "10" + "13" + // CONNECT, 19 bytes follow
		"00044d515454" + "05" + // MQTT, version 5
		"02" + // Clean Start
		"04b0" + // keep alive 1200 s
		"00" + // no properties
		"0006776972652d31" // client identifier wire-1
	got := make([]byte, len(want)/2)
	if _, err := io.ReadFull(secure, got); err != nil {
		t.Fatal(err)
	}
	if hex.EncodeToString(got) != want {
		t.Errorf("CONNECT is %x, want %s", got, want)
	}
	cancel()
	cmd.Wait() // killed; what matters was seen
	if t.Failed() {
		t.Logf("the sample said:\n%s", &output)
	}
}

// localhostServer returns a TLS server for localhost that wants any client
// certificate, and the file with its CA.
func localhostServer(t *testing.T) (caFile string, config *tls.Config) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "wire test"},
		DNSNames:              []string{"localhost"},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(time.Hour),
		IsCA:                  true,
		BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	caFile = filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(caFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return caFile, &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}},
		NextProtos:   []string{"x-amzn-mqtt-ca"},
		ClientAuth:   tls.RequireAnyClientCert,
	}
}
