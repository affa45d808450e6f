// SPDX-License-Identifier: Apache-2.0

package tlsctx_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/gocrt/aws-iot-device-sdk-go/io/tlsctx"
)

func joined(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

func replaced(text []byte, old, new string) []byte {
	return bytes.ReplaceAll(text, []byte(old), []byte(new))
}

func indented(text []byte) []byte {
	return append([]byte("  "), replaced(bytes.TrimSpace(text), "\n", "\n  ")...)
}

// Forms of a chain of three that have one meaning only are read in full.
func TestParseCertificates_unusualForms(t *testing.T) {
	t.Parallel()
	root := newAuthority(t, "root")
	ca := root.authority(t, "intermediate")
	device := ca.client(t, "device", "P-256")
	one, two, three := device.certPEM(), ca.pem(), root.pem()
	mark := []byte("\xef\xbb\xbf")
	all := joined(one, two, three)
	asJSON, err := json.MarshalIndent(map[string]string{"certificatePem": string(all)}, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string][]byte{
		"joined without line breaks":   joined(bytes.TrimSpace(one), bytes.TrimSpace(two), three),
		"a mark before each":           joined(mark, one, mark, two, mark, three),
		"a mark in the middle of line": joined(bytes.TrimSpace(one), mark, two, three),
		"indented":                     indented(all),
		"indented by tabs":             replaced(all, "\n", "\n\t"),
		"backslash and n":              replaced(all, "\n", `\n`),
		"backslash and r, n":           replaced(all, "\n", `\r\n`),
		"CR alone":                     replaced(all, "\n", "\r"),
		"CR and LF":                    replaced(all, "\n", "\r\n"),
		"mixed":                        joined(replaced(one, "\n", "\r\n"), replaced(two, "\n", "\r"), three),
		"blanks for line breaks":       replaced(all, "\n", " "),
		"blanks at the ends of lines":  replaced(all, "\n", "  \n"),
		"empty lines between":          replaced(all, "\n", "\n\n"),
		"as JSON":                      asJSON,
		"as YAML":                      joined([]byte("cert: |\n"), indented(all), []byte("\n")),
		"as variable":                  joined([]byte("export CERT=\""), all, []byte("\"\n")),
		"prose that names the marker":  joined([]byte("A -----BEGIN CERTIFICATE----- line begins each.\n"), all),
		"commented out before":         joined([]byte("#"), replaced(bytes.TrimSpace(one), "\n", "\n# "), []byte("\n"), all),
		"a PGP block before":           joined([]byte("-----BEGIN PGP SIGNATURE-----\nVersion: 1\n\niQEz\n=abcd\n-----END PGP SIGNATURE-----\n"), all),
		"without final line break":     bytes.TrimSpace(all),
		"joined by commas":             joined(bytes.TrimSpace(one), []byte(","), bytes.TrimSpace(two), []byte(" , "), three),
		"a list on one line":           replaced(joined(bytes.TrimSpace(one), []byte(";"), bytes.TrimSpace(two), []byte(" | "), bytes.TrimSpace(three)), "\n", ""),
	} {
		t.Run(name, func(t *testing.T) {
			certs, err := tlsctx.ParseCertificates("device.pem", text)
			if err != nil || len(certs) != 3 || !certs[0].Equal(device.cert) || !certs[1].Equal(ca.cert) || !certs[2].Equal(root.cert) {
				t.Errorf("%d certificates, %v\n%s", len(certs), err, text)
			}
		})
	}
}

// Whatever begins like a block and is damaged is an error that names file,
// block and line, wherever it stands.
func TestParseCertificates_damagedBlocks(t *testing.T) {
	t.Parallel()
	root := newAuthority(t, "root")
	ca := root.authority(t, "intermediate")
	device := ca.client(t, "device", "P-256")
	good := device.certPEM()
	bad := func(old, new string) []byte { return bytes.Replace(ca.pem(), []byte(old), []byte(new), 1) }
	wrongCharacter := bytes.Clone(ca.pem())
	wrongCharacter[100] = '!'
	lines := bytes.Count(good, []byte("\n"))
	for name, tt := range map[string]struct {
		text []byte
		want string
	}{
		"wrong character":        {wrongCharacter, fmt.Sprintf("line %d has a character that is not base64", lines+3)},
		"a character missing":    {append(bytes.Clone(ca.pem()[:100]), ca.pem()[101:]...), "base64 is cut off"},
		"cut off":                {ca.pem()[:200], "no END line"},
		"END with four hyphens":  {bad("-----END CERTIFICATE-----", "-----END CERTIFICATE----"), "END line does not end in five hyphens"},
		"END of another kind":    {bad("END CERTIFICATE", "END PRIVATE KEY"), "begins as CERTIFICATE and ends as PRIVATE KEY"},
		"BEGIN with four":        {bad("-----BEGIN", "----BEGIN"), "BEGIN line needs five hyphens"},
		"BEGIN with dashes":      {bad("-----BEGIN CERTIFICATE-----", "–––––BEGIN CERTIFICATE–––––"), "BEGIN line needs five hyphens"},
		"BEGIN without space":    {bad("BEGIN ", "BEGIN"), "BEGIN line needs five hyphens and a space"},
		"BEGIN without end":      {bad("BEGIN CERTIFICATE-----", "BEGIN CERTIFICATE"), "BEGIN line does not end in five hyphens"},
		"BEGIN line lost":        {bad("-----BEGIN CERTIFICATE-----\n", ""), "BEGIN line is missing"},
		"both lines lost":        {bytes.Join(bytes.Split(ca.pem(), []byte("\n"))[1:7], []byte("\n")), "BEGIN and END lines are missing"},
		"quoted lines of a mail": {replaced(ca.pem(), "\nM", "\n> M"), "not base64"},
		"empty":                  {[]byte("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n"), "it is empty"},
		"a damaged key":          {[]byte("-----BEGIN PRIVATE KEY-----\n!\n-----END PRIVATE KEY-----\n"), "not base64"},
	} {
		t.Run(name, func(t *testing.T) {
			for place, text := range map[string][]byte{
				"second, last": joined(good, tt.text),
				"second":       joined(good, tt.text, []byte("\n"), root.pem()),
			} {
				_, err := tlsctx.ParseCertificates("device.pem.crt", text)
				wantMaterialError(t, err, tlsctx.ErrDamagedBlock, "device.pem.crt", "block 2", tt.want)
				if !strings.Contains(err.Error(), "line ") {
					t.Errorf("%s: %v", place, err)
				}
				for _, o := range []tlsctx.Options{{CAPEM: text}, {CAFile: writeFile(t, t.TempDir()+"/ca.pem", text)}} {
					if _, err := tlsctx.New(o); !errors.Is(err, tlsctx.ErrDamagedBlock) {
						t.Errorf("%s as CA: %v", place, err)
					}
				}
			}
		})
	}
}

// A BEGIN behind the END of another block, whatever is between them on the line,
// is no prose: what follows is damaged.
func TestParseCertificates_damagedBehindEnd(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t, "root").pem()
	line := bytes.ReplaceAll(ca, []byte("\n"), nil)
	for name, second := range map[string][]byte{
		"wrong character": bytes.Replace(line, []byte("M"), []byte("!"), 1),
		"cut off":         line[:200],
	} {
		for _, between := range []string{",", ";", " | ", ", then ", `\n`} {
			_, err := tlsctx.ParseCertificates("ca.pem", joined(line, []byte(between), second))
			if !errors.Is(err, tlsctx.ErrDamagedBlock) || !strings.Contains(err.Error(), "block 2") {
				t.Errorf("%s behind %q: %v", name, between, err)
			}
		}
	}
}

func TestParseCertificates_containerBeside(t *testing.T) {
	t.Parallel()
	device := newAuthority(t, "CA").client(t, "device", "P-256")
	for kind, want := range map[string]string{"TRUSTED CERTIFICATE": "openssl x509", "PKCS7": "openssl pkcs7", "CMS": "openssl pkcs7"} {
		_, err := tlsctx.ParseCertificates("device.pem.crt", joined(device.certPEM(), block(kind, device.cert.Raw)))
		wantMaterialError(t, err, tlsctx.ErrUnsupportedBlock, "device.pem.crt", "block 2 ("+kind, want)
	}
}

func TestParsePrivateKey_several(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t, "CA")
	first, second := ca.client(t, "first", "P-256"), ca.client(t, "second", "P-256")
	_, err := tlsctx.ParsePrivateKey("private.pem.key", joined(first.keyPEM(t), second.keyPEM(t)))
	wantMaterialError(t, err, tlsctx.ErrSeveralKeys, "private.pem.key", "block 1", "block 2 (PRIVATE KEY, line 6)")
	// The same key in two forms is one key.
	forms := keyForms(t, first.key.(*ecdsa.PrivateKey))
	key, err := tlsctx.ParsePrivateKey("private.pem.key", joined(forms["PKCS#8"], forms["SEC1 after its parameters"]))
	if err != nil || !first.key.(*ecdsa.PrivateKey).Equal(key.(crypto.PrivateKey)) {
		t.Errorf("%v", err)
	}
}

// A large file without any END takes time in proportion to its size.
func BenchmarkParseCertificates_hostile(b *testing.B) {
	text := bytes.Repeat([]byte("-----BEGIN CERTIFICATE-----\n"), 1<<22/28)
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		if _, err := tlsctx.ParseCertificates("file", text); err == nil {
			b.Fatal("no error")
		}
	}
}
