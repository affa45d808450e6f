// SPDX-License-Identifier: Apache-2.0

//go:build cgo

package pkcs11

import (
	"os"
	"os/exec"
	"testing"
)

// The package has the same API without cgo, so its tests compile there, and all
// of them pass that need no device.
func TestWithoutCgo(t *testing.T) {
	command := exec.Command("go", "test", ".")
	command.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := command.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}
