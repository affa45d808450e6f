// SPDX-License-Identifier: Apache-2.0

package tlsctx

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// Material that was made to take hours takes no time that anybody notices. What
// the scanner does for each BEGIN, or the parser for each key, must not grow with
// the text.
func TestParse_takesNoHours(t *testing.T) {
	t.Parallel()
	const size = 2 << 20
	times := func(s string) string { return strings.Repeat(s, size/len(s)) }
	for name, text := range map[string]string{
		"begins on one line":         "a" + times("a-----BEGIN "),
		"begins behind blanks":       strings.Repeat(" ", size) + times("a-----BEGIN "),
		"begins behind marks":        strings.Repeat("\ufeff", size/3) + times("a-----BEGIN "),
		"begins in a comment":        "#" + times("-----BEGIN "),
		"begins behind a block":      "-----BEGIN A-----\nAAAA\n-----END A-----\nx" + times("a-----BEGIN "),
		"begins on lines of blanks":  times("         \na-----BEGIN "),
		"blocks without an end":      times("-----BEGIN A-----\n"),
		"ends alone":                 "-----BEGIN A-----" + times("-----END "),
		"markers that are almost so": times("----BEGIN CERTIFICATE----\n"),
		"hyphens":                    times("-"),
		"one line of contents":       times("A"),
		"lines of contents":          times(strings.Repeat("A", 64) + "\n"),
	} {
		if _, err := ParseCertificates(name, []byte(text)); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	number := func(b byte) *big.Int { return new(big.Int).SetBytes(append(bytes.Repeat([]byte{b}, 256<<10), 1)) }
	rsaKey := func(b byte) []byte {
		n := number(b)
		der, err := asn1.Marshal(struct {
			Version              int
			N                    *big.Int
			E                    int
			D, P, Q, DP, DQ, Inv *big.Int
		}{0, n, 65537, n, n, n, n, n, n})
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
	block := func(der []byte) []byte {
		return pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: der})
	}
	one, two := rsaKey(0x91), rsaKey(0x93)
	for name, tt := range map[string]struct {
		text []byte
		want error
	}{
		"one large key":       {block(one), ErrUnsupportedKey},
		"two large keys":      {slices.Concat(block(one), block(two)), ErrSeveralKeys},
		"a large key in DER":  {one, ErrNotPEM},
		"the same key, twice": {slices.Concat(block(one), block(one)), ErrUnsupportedKey},
	} {
		if _, err := ParsePrivateKey(name, tt.text); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", name, err, tt.want)
		}
	}
}

// A file that disappears between the listing of its directory and the look at it
// is passed over, as one that disappeared before.
func TestFileCache_removedSinceListed(t *testing.T) {
	t.Parallel()
	there, gone := filepath.Join(t.TempDir(), "there"), filepath.Join(t.TempDir(), "gone")
	if err := os.WriteFile(there, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, lenient := range []bool{true, false} {
		c := fileCache[string]{list: fixedFiles(gone, there), lenient: lenient, parse: func(_ []string, contents [][]byte) (string, error) {
			return string(bytes.Join(contents, []byte(","))), nil
		}}
		for range 2 {
			got, _, err := c.load()
			if lenient && (got != ",x" || err != nil) || !lenient && !errors.Is(err, os.ErrNotExist) {
				t.Errorf("lenient %v: %q, %v", lenient, got, err)
			}
		}
	}
}

// Whoever answers in the server's place chooses the names in its certificate.
// They forge no lines of a log.
func TestHandshakeError_namesOfTheServer(t *testing.T) {
	t.Parallel()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	names := []string{"evil.test\n2026-01-01 INFO all is well\x1b[2J"}
	for range 200 {
		names = append(names, strings.Repeat("x", 200)+".test")
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), DNSNames: names}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	ours, theirs := net.Pipe()
	defer theirs.Close()
	go func() {
		_ = tls.Server(theirs, &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}).Handshake()
	}()
	c, err := New(Options{CAPEM: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})})
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Client(t.Context(), ours, "broker.test")
	var e *HandshakeError
	if !errors.As(err, &e) || !strings.Contains(err.Error(), "evil.test") {
		t.Fatalf("got %v", err)
	}
	if s := err.Error() + e.Hint; strings.ContainsAny(s, "\n\x1b") || len(s) > 3*maxErrorText {
		t.Errorf("%d bytes: %.500q", len(s), s)
	}
}
