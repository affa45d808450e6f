// SPDX-License-Identifier: Apache-2.0

package pkcs12_test

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"

	gopkcs12 "software.sslmate.com/src/go-pkcs12"

	"github.com/gocrt/aws-iot-device-sdk-go/io/pkcs12"
)

// A program that allows the algorithms of FIPS 140 alone refuses a bundle with
// others, and does not panic.
func TestDecode_fipsOnly(t *testing.T) {
	const variable = "PKCS12_TEST_FILE"
	if file := os.Getenv(variable); file != "" {
		_, err := pkcs12.DecodeFile(file, "secret")
		if strings.HasSuffix(os.Args[len(os.Args)-1], "good") {
			if err != nil {
				t.Error(err)
			}
			return
		}
		if !errors.Is(err, pkcs12.ErrUnsupported) || !strings.Contains(err.Error(), "not allowed in FIPS 140-only mode") ||
			!strings.Contains(err.Error(), "use certificate and key as PEM files") {
			t.Errorf("got %v", err)
		}
		return
	}
	m := newMaterial(t, "P-256")
	for name, encoder := range map[string]*gopkcs12.Encoder{"bad": gopkcs12.LegacyRC2, "good": gopkcs12.Modern} {
		cmd := exec.Command(os.Args[0], "-test.run=^TestDecode_fipsOnly$", "-test.v", name)
		cmd.Env = append(os.Environ(), variable+"="+write(t, encode(t, encoder, m, "secret")), "GODEBUG=fips140=only")
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), "--- PASS: TestDecode_fipsOnly") {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
}
