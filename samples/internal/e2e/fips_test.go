// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"crypto/fips140"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestFIPS runs the matrix without proxies in processes that use the FIPS 140-3
// module of Go. With fips140=on every way to connect works. With fips140=only
// the test's own server cannot answer a WebSocket handshake, and its encoder
// makes no PKCS#12: docs/production.md says what clients do.
func TestFIPS(t *testing.T) {
	for mode, methods := range map[string]string{
		"on":   `.*`,
		"only": `(MTLSFromPath.*|MTLSFromBytes.*|MTLSWithSigner|MTLSWithPKCS11|DirectWithCustomAuthorizer.*|Default_with_certificate)`,
	} {
		t.Run(mode, func(t *testing.T) {
			if strings.Contains(methods, "PKCS11") {
				needSoftHSM(t)
			}
			cmd := exec.Command(os.Args[0], "-test.v", "-test.timeout=2m", fmt.Sprintf("-test.run=^(TestMatrix|TestFIPS_mode)$/^%s$/^direct$", methods))
			cmd.Env = append(os.Environ(), "GODEBUG=fips140="+mode)
			out, err := cmd.CombinedOutput()
			got := string(out)
			if err != nil || !strings.Contains(got, "--- PASS: TestMatrix/MTLSFromPath/direct") || !strings.Contains(got, "FIPS 140-3 mode: true") {
				t.Errorf("%v\n%s", err, got)
			}
		})
	}
}

// TestFIPS_mode says in which mode this process runs.
func TestFIPS_mode(t *testing.T) { t.Logf("FIPS 140-3 mode: %v", fips140.Enabled()) }
