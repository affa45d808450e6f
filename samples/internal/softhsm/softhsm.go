// SPDX-License-Identifier: Apache-2.0

// Package softhsm sets up a token of SoftHSM, a PKCS#11 library that keeps its
// keys in files, so that the sample and the tests for PKCS#11 run without
// hardware.
package softhsm

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// ErrNotInstalled says that SoftHSM is not there.
var ErrNotInstalled = errors.New("SoftHSM is not installed: on Debian and Ubuntu `apt-get install softhsm2`, on Fedora `dnf install softhsm`, on macOS `brew install softhsm`")

// Label and PIN of the token, and the label of the key.
const (
	TokenLabel = "sample-token"
	PIN        = "1234"
	KeyLabel   = "sample-key"
)

var libraries = []string{
	"/usr/lib/softhsm/libsofthsm2.so",
	"/usr/lib/*/softhsm/libsofthsm2.so",
	"/usr/lib64/softhsm/libsofthsm.so",
	"/usr/lib64/pkcs11/libsofthsm2.so",
	"/usr/local/lib/softhsm/libsofthsm2.so",
	"/opt/homebrew/lib/softhsm/libsofthsm2.so",
}

// Library finds the library.
func Library() (string, error) {
	if _, err := exec.LookPath("softhsm2-util"); err != nil {
		return "", ErrNotInstalled
	}
	for _, pattern := range libraries {
		if found, _ := filepath.Glob(pattern); len(found) > 0 {
			return found[0], nil
		}
	}
	return "", ErrNotInstalled
}

// Setup makes a token in dir with a private key, given as PKCS#8 in PEM, and
// returns the path of the library. It sets SOFTHSM2_CONF for this process,
// which has to happen before the library is loaded.
func Setup(dir string, keyPEM []byte) (library string, err error) {
	if library, err = Library(); err != nil {
		return "", err
	}
	tokens, conf, key := filepath.Join(dir, "tokens"), filepath.Join(dir, "softhsm2.conf"), filepath.Join(dir, "key.pem")
	if err := os.MkdirAll(tokens, 0o700); err != nil {
		return "", err
	}
	if err := os.WriteFile(conf, []byte("directories.tokendir = "+tokens+"\nobjectstore.backend = file\nlog.level = ERROR\n"), 0o600); err != nil {
		return "", err
	}
	if err := os.WriteFile(key, keyPEM, 0o600); err != nil {
		return "", err
	}
	defer os.Remove(key)
	if err := os.Setenv("SOFTHSM2_CONF", conf); err != nil {
		return "", err
	}
	for _, args := range [][]string{
		{"--init-token", "--free", "--label", TokenLabel, "--so-pin", PIN, "--pin", PIN},
		{"--import", key, "--token", TokenLabel, "--label", KeyLabel, "--id", "01", "--pin", PIN},
	} {
		if out, err := exec.Command("softhsm2-util", args...).CombinedOutput(); err != nil {
			return "", fmt.Errorf("softhsm2-util %s: %w: %s", args[0], err, strings.TrimSpace(string(out)))
		}
	}
	return library, nil
}
