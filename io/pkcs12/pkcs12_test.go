// SPDX-License-Identifier: Apache-2.0

package pkcs12_test

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	gopkcs12 "software.sslmate.com/src/go-pkcs12"

	"github.com/gocrt/aws-iot-device-sdk-go/io/pkcs12"
)

const password = "never to be seen"

// encode makes a bundle in the given way.
func encode(t testing.TB, enc *gopkcs12.Encoder, m material, password string) []byte {
	t.Helper()
	data, err := enc.Encode(m.key, m.cert, m.chain, password)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func write(t testing.TB, data []byte) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "device.p12")
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestDecode_otherEncoders(t *testing.T) {
	t.Parallel()
	for name, enc := range map[string]*gopkcs12.Encoder{
		"2023": gopkcs12.Modern2023, "2026 with PBMAC1": gopkcs12.Modern2026, "legacy": gopkcs12.LegacyDES, "RC2": gopkcs12.LegacyRC2,
	} {
		for _, kind := range []string{"RSA", "P-256", "P-384", "P-521"} {
			t.Run(name+" "+kind, func(t *testing.T) {
				t.Parallel()
				m := newMaterial(t, kind)
				check(t, m, write(t, encode(t, enc, m, password)), password)
			})
		}
	}
	m := newMaterial(t, "P-256")
	check(t, m, write(t, encode(t, gopkcs12.Passwordless, m, "")), "")
}

// The key decides which certificate is the device's, not the order.
func TestDecode_otherOrder(t *testing.T) {
	t.Parallel()
	m := newMaterial(t, "P-256")
	data, err := gopkcs12.Modern.Encode(m.key, m.chain[1], []*x509.Certificate{m.chain[0], m.cert}, password)
	if err != nil {
		t.Fatal(err)
	}
	check(t, m, write(t, data), password)
}

func TestDecode_foreignKey(t *testing.T) {
	t.Parallel()
	m := newMaterial(t, "P-256")
	m.key = newKey(t, "P-256")
	_, err := pkcs12.Decode(encode(t, gopkcs12.Modern, m, password), password)
	if !errors.Is(err, pkcs12.ErrNoCertificate) || !strings.Contains(err.Error(), "CN=device") {
		t.Errorf("got %v", err)
	}
}

func TestDecode_severalKeys(t *testing.T) {
	t.Parallel()
	m := newMaterial(t, "P-256")
	data := openBundle(t, keyBag(t, m), keyBag(t, newMaterial(t, "P-384")), certBag(t, m))
	if _, err := pkcs12.Decode(data, ""); !errors.Is(err, pkcs12.ErrSeveralKeys) {
		t.Errorf("got %v", err)
	}
	// The same parts with one key are fine: it is the second key that is refused.
	b, err := pkcs12.Decode(openBundle(t, keyBag(t, m), certBag(t, m)), "")
	if err != nil || !b.Certificate.Equal(m.cert) {
		t.Errorf("one key: %v, %v", b, err)
	}
}

func TestDecode_notABundle(t *testing.T) {
	t.Parallel()
	m := newMaterial(t, "P-256")
	good := encode(t, gopkcs12.Modern, m, password)
	for _, tt := range []struct {
		name string
		data []byte
		want error
		hint string
	}{
		{"empty", nil, pkcs12.ErrFormat, "empty"},
		{"PEM", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: m.cert.Raw}), pkcs12.ErrFormat, "openssl pkcs12 -export"},
		{"base64", []byte(base64.StdEncoding.EncodeToString(good)), pkcs12.ErrFormat, "base64 -d"},
		{"Java key store", []byte("\xfe\xed\xfe\xed\x00\x00"), pkcs12.ErrFormat, "keytool"},
		{"text", []byte("hello"), pkcs12.ErrFormat, "openssl"},
		{"a certificate", m.cert.Raw, pkcs12.ErrFormat, ""},
		{"too large", bytes.Repeat([]byte{0x30}, 5<<20), pkcs12.ErrFormat, "4 MiB"},
		{"truncated", good[:len(good)-10], pkcs12.ErrFormat, "damaged"},
		{"trailing", append(bytes.Clone(good), 0), pkcs12.ErrFormat, ""},
		{"BER outside", append([]byte{0x30, 0x80}, good...), pkcs12.ErrBER, "openssl pkcs12 -export"},
		{"BER inside", ber(t, good), pkcs12.ErrBER, "openssl pkcs12 -export"},
		{"hours of work", withIterations(t, m, 1<<30), pkcs12.ErrUnsupported, "iterations"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b, err := pkcs12.Decode(tt.data, password)
			if b != nil || !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.hint) {
				t.Fatalf("got %v, %v; want %v with %q", b, err, tt.want, tt.hint)
			}
			if e := (*pkcs12.Error)(nil); !errors.As(err, &e) {
				t.Errorf("%T is not an *Error", err)
			}
		})
	}
}

func TestDecode_damaged(t *testing.T) {
	t.Parallel()
	data := encode(t, gopkcs12.Modern, newMaterial(t, "P-256"), password)
	data[len(data)/2] ^= 1 // under the MAC
	if _, err := pkcs12.Decode(data, password); !errors.Is(err, pkcs12.ErrPassword) {
		t.Errorf("got %v", err)
	}
}

func TestDecode_passwordNotInErrors(t *testing.T) {
	t.Parallel()
	m := newMaterial(t, "P-256")
	for _, given := range []string{"wrong secret", "", "\U0001F511 emoji secret"} {
		_, err := pkcs12.Decode(encode(t, gopkcs12.Modern, m, password), given)
		if !errors.Is(err, pkcs12.ErrPassword) {
			t.Errorf("password %q: %v", given, err)
		}
		if s := fmt.Sprintf("%v %+v %#v", err, err, err); strings.Contains(s, "secret") || strings.Contains(s, password) {
			t.Errorf("the error gives a password away: %s", s)
		}
	}
}

func TestBundle_printsNoKey(t *testing.T) {
	t.Parallel()
	m := newMaterial(t, "RSA")
	b, err := pkcs12.Decode(encode(t, gopkcs12.Modern, m, password), password)
	if err != nil {
		t.Fatal(err)
	}
	for _, format := range []string{"%v", "%+v", "%#v", "%s"} {
		if s := fmt.Sprintf(format, b); s != `PKCS#12 bundle of "CN=device" with 2 more certificates` {
			t.Errorf("%s gives %.100s", format, s)
		}
	}
}

func TestDecodeFile_missing(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "nowhere.p12")
	_, err := pkcs12.DecodeFile(file, password)
	if !errors.Is(err, fs.ErrNotExist) || strings.Count(err.Error(), file) != 1 {
		t.Errorf("got %v", err)
	}
}

func FuzzDecode(f *testing.F) {
	m := newMaterial(f, "P-256")
	enc := *gopkcs12.Modern.WithIterations(1)
	f.Add(encode(f, &enc, m, "x"), "x")
	f.Add(encode(f, gopkcs12.Passwordless, m, ""), "")
	f.Add(openBundle(f, keyBag(f, m), certBag(f, m)), "")
	f.Add(withMAC(f, encode7292("x"), dataPart(f, keyBag(f, m)), encryptedPart(f, pbes2(f, 1), make([]byte, 32))), "x")
	f.Add(withMAC(f, nil, encryptedPart(f, pbe(f, 3, 1), make([]byte, 32)), dataPart(f, shroudedKey(f, pbes2(f, 1)))), "")
	f.Add([]byte{0x30, 0x80}, "x")
	f.Fuzz(func(t *testing.T, data []byte, password string) {
		if n := pkcs12.Iterations(data); n > 1000 && n <= 10_000_000 {
			return // allowed, and it takes seconds
		}
		b, err := pkcs12.Decode(data, password)
		if (b == nil) == (err == nil) {
			t.Fatalf("bundle %v with error %v", b, err)
		}
		if err == nil && (b.Certificate == nil || b.Key == nil) {
			t.Fatal("half a bundle")
		}
		if e := (*pkcs12.Error)(nil); err != nil && !errors.As(err, &e) {
			t.Fatalf("error of type %T", err)
		}
	})
}
