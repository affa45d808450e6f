// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What localcore writes to a folder of the user's stays there, and is replaced
// by the next run.
func TestLocalcore_folder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a folder")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	var before string
	for range 2 {
		out, interrupt := start(t, "localcore", "-dir", dir)
		lines := strings.Join(until(t, out, `What clients do`), "\n")
		if !strings.Contains(lines, "-ats.iot.us-east-1.amazonaws.com") || !strings.Contains(lines, "plays 443") || !strings.Contains(lines, "plays 8883") {
			t.Errorf("endpoint and ports are not told:\n%s", lines)
		}
		for _, name := range []string{"AmazonRootCA1.pem", "device.p12", "credentials"} {
			info, err := os.Stat(filepath.Join(dir, name))
			if err != nil {
				t.Error(err)
			} else if name != "AmazonRootCA1.pem" && info.Mode().Perm() != 0o600 {
				t.Errorf("%s has mode %v", name, info.Mode())
			}
		}
		cert, err := filepath.Glob(filepath.Join(dir, "*.pem*"))
		if err != nil || len(cert) < 2 {
			t.Errorf("no certificate and key among %q", cert)
		}
		for _, l := range strings.Split(lines, "\n") {
			if _, command, ok := strings.Cut(l, "go run ./samples/pkcs11 "); ok {
				env := strings.TrimSpace(strings.TrimPrefix(strings.SplitN(l, "go run", 2)[0], "  PKCS#11"))
				if stdout, stderr, status := run(t, "", "sh", "-c", env+" "+program(t, "pkcs11")+" "+command); status != 0 {
					t.Errorf("exit status %d\n%s\n%s", status, stdout, stderr)
				}
			}
		}
		if _, status := interrupt(); status != 0 {
			t.Errorf("exit status %d", status)
		}
		credentials, err := os.ReadFile(filepath.Join(dir, "credentials"))
		if err != nil || string(credentials) == before {
			t.Errorf("the credentials are those of the last run, %v", err)
		}
		before = string(credentials)
	}
}

// Without SoftHSM everything else works, and what needs it says what to install.
func TestWithoutSoftHSM(t *testing.T) {
	pkcs11, localcore := program(t, "pkcs11"), "localcore"
	program(t, localcore)
	t.Setenv("PATH", t.TempDir())
	stdout, stderr, status := run(t, "", pkcs11)
	if status != 1 || !strings.Contains(stderr, "SoftHSM is not installed") || !strings.Contains(stderr, "apt-get install softhsm2") {
		t.Errorf("exit status %d\n%s\n%s", status, stdout, stderr)
	}
	out, interrupt := start(t, localcore)
	if lines := strings.Join(until(t, out, `What clients do`), "\n"); !strings.Contains(lines, "apt-get install softhsm2") {
		t.Errorf("SoftHSM is not mentioned:\n%s", lines)
	}
	if _, status := interrupt(); status != 0 {
		t.Errorf("exit status %d", status)
	}
}
