// SPDX-License-Identifier: Apache-2.0

package tlsctx_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/gocrt/aws-iot-device-sdk-go/io/tlsctx"
)

// openssl runs the program of that name in a directory.
func openssl(t *testing.T, dir string, args ...string) {
	t.Helper()
	path, err := exec.LookPath("openssl")
	if err != nil {
		if os.Getenv("CI") != "" || os.Getenv("SDK_TEST_REQUIRE_TOOLS") != "" {
			t.Fatal("openssl is not installed")
		}
		t.Skip("NOT TESTED: openssl is not installed")
	}
	cmd := exec.Command(path, args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("openssl %v: %v\n%s", args, err, out)
	}
}

// Files as people make them by hand, with all that openssl writes around the blocks.
func TestFromPath_madeByOpenSSL(t *testing.T) {
	t.Parallel()
	for name, commands := range map[string][][]string{
		"RSA, PKCS#8":           {{"genrsa", "-out", "key.pem", "2048"}},
		"RSA, PKCS#1":           {{"genrsa", "-traditional", "-out", "key.pem", "2048"}},
		"P-256 with parameters": {{"ecparam", "-name", "prime256v1", "-genkey", "-out", "key.pem"}},
		"P-384, SEC1":           {{"ecparam", "-name", "secp384r1", "-genkey", "-noout", "-out", "key.pem"}},
		"P-521, PKCS#8":         {{"genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-521", "-out", "key.pem"}},
		"Ed25519":               {{"genpkey", "-algorithm", "ED25519", "-out", "key.pem"}},
		"with the key as text":  {{"genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-text", "-out", "key.pem"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			for _, c := range commands {
				openssl(t, dir, c...)
			}
			openssl(t, dir, "req", "-x509", "-new", "-key", "key.pem", "-subj", "/CN=device", "-days", "2", "-text", "-out", "cert.pem")
			newContext(t, tlsctx.Options{Identity: tlsctx.FromPath(filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"))})
		})
	}
}

func TestFromPath_madeByOpenSSL_notUsable(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		convert   []string
		cert, key string
		want      error
		word      string
	}{
		"encrypted":            {[]string{"pkey", "-in", "key.pem", "-aes256", "-passout", "pass:secret", "-out", "out"}, "cert.pem", "out", tlsctx.ErrEncryptedKey, "openssl pkey"},
		"encrypted, old":       {[]string{"pkey", "-in", "key.pem", "-traditional", "-aes256", "-passout", "pass:secret", "-out", "out"}, "cert.pem", "out", tlsctx.ErrEncryptedKey, "openssl pkey"},
		"key in DER":           {[]string{"pkey", "-in", "key.pem", "-outform", "der", "-out", "out"}, "cert.pem", "out", tlsctx.ErrNotPEM, "-inform der"},
		"key in DER, old":      {[]string{"pkey", "-in", "key.pem", "-traditional", "-outform", "der", "-out", "out"}, "cert.pem", "out", tlsctx.ErrNotPEM, "-inform der"},
		"certificate in DER":   {[]string{"x509", "-in", "cert.pem", "-outform", "der", "-out", "out"}, "out", "key.pem", tlsctx.ErrNotPEM, "-inform der"},
		"public key":           {[]string{"pkey", "-in", "key.pem", "-pubout", "-out", "out"}, "cert.pem", "out", tlsctx.ErrNoKey, "public key"},
		"bundle":               {[]string{"pkcs12", "-export", "-in", "cert.pem", "-inkey", "key.pem", "-passout", "pass:secret", "-out", "out"}, "out", "key.pem", tlsctx.ErrNotPEM, "FromPKCS12"},
		"PKCS#7":               {[]string{"crl2pkcs7", "-nocrl", "-certfile", "cert.pem", "-out", "out"}, "out", "key.pem", tlsctx.ErrNoCertificate, "openssl pkcs7"},
		"trusted certificate":  {[]string{"x509", "-in", "cert.pem", "-trustout", "-out", "out"}, "out", "key.pem", tlsctx.ErrNoCertificate, "openssl x509"},
		"request":              {[]string{"req", "-new", "-key", "key.pem", "-subj", "/CN=device", "-out", "out"}, "out", "key.pem", tlsctx.ErrNoCertificate, "CSR"},
		"key of another":       {[]string{"genpkey", "-algorithm", "ED25519", "-out", "out"}, "cert.pem", "out", tlsctx.ErrKeyMismatch, "CN=device"},
		"explicit curve":       {[]string{"ecparam", "-name", "prime256v1", "-param_enc", "explicit", "-genkey", "-noout", "-out", "out"}, "cert.pem", "out", tlsctx.ErrUnsupportedKey, "openssl ec -in FILE -param_enc named_curve"},
		"explicit, PKCS#8":     {[]string{"genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-pkeyopt", "ec_param_enc:explicit", "-out", "out"}, "cert.pem", "out", tlsctx.ErrUnsupportedKey, "openssl ec -in FILE -param_enc named_curve"},
		"RSA of 512 bits":      {[]string{"genrsa", "-out", "out", "512"}, "cert.pem", "out", tlsctx.ErrUnsupportedKey, "RSA key of 512 bits"},
		"RSA for PSS alone":    {[]string{"genpkey", "-algorithm", "RSA-PSS", "-pkeyopt", "rsa_keygen_bits:2048", "-out", "out"}, "cert.pem", "out", tlsctx.ErrUnsupportedKey, "PSS alone"},
		"curve that TLS lacks": {[]string{"ecparam", "-name", "secp256k1", "-genkey", "-noout", "-out", "out"}, "cert.pem", "out", tlsctx.ErrUnsupportedKey, "P-256"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			openssl(t, dir, "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", "key.pem")
			openssl(t, dir, "req", "-x509", "-new", "-key", "key.pem", "-subj", "/CN=device", "-days", "2", "-out", "cert.pem")
			openssl(t, dir, tt.convert...)
			_, err := tlsctx.New(tlsctx.Options{Identity: tlsctx.FromPath(filepath.Join(dir, tt.cert), filepath.Join(dir, tt.key))})
			wantMaterialError(t, err, tt.want, dir, tt.word)
		})
	}
}

// What the error for an explicit curve says to do leads to a key that serves.
func TestFromPath_explicitCurveConverted(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	openssl(t, dir, "ecparam", "-name", "prime256v1", "-param_enc", "explicit", "-genkey", "-noout", "-out", "old.pem")
	openssl(t, dir, "ec", "-in", "old.pem", "-param_enc", "named_curve", "-out", "key.pem")
	openssl(t, dir, "req", "-x509", "-new", "-key", "key.pem", "-subj", "/CN=device", "-days", "2", "-out", "cert.pem")
	newContext(t, tlsctx.Options{Identity: tlsctx.FromPath(filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"))})
}
