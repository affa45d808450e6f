// SPDX-License-Identifier: Apache-2.0

//go:build go1.26

package websocket

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// The hash of the handshake is none that FIPS 140 is about: example of RFC 6455
// section 1.3.
func TestAcceptKey_fipsOnly(t *testing.T) {
	if got := acceptKey("dGhlIHNhbXBsZSBub25jZQ=="); got != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" {
		t.Errorf("got %s", got)
	}
	if strings.Contains(os.Getenv("GODEBUG"), "fips140=only") {
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestAcceptKey_fipsOnly$", "-test.v")
	cmd.Env = append(os.Environ(), "GODEBUG=fips140=only")
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: TestAcceptKey_fipsOnly") {
		t.Errorf("%v\n%s", err, out)
	}
}
