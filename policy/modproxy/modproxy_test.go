// SPDX-License-Identifier: Apache-2.0

package modproxy

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Modules packed at a version of their own require each other at that version.
func TestPack_version(t *testing.T) {
	dir, out := t.TempDir(), t.TempDir()
	for name, mod := range map[string]string{
		"a": "module example.com/m/a\n\ngo 1.25.0\n",
		"b": "module example.com/m/b\n\ngo 1.25.0\n\nrequire (\n\texample.com/m/a v0.1.0\n\texample.com/other v0.1.0\n)\n\nreplace example.com/m/a => ../a\n",
	} {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name, "go.mod"), []byte(mod), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := Pack(out, "v0.1.0-clone.2", filepath.Join(dir, "a"), filepath.Join(dir, "b")); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(out, "example.com", "m", "b", "@v", "v0.1.0-clone.2.mod"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"example.com/m/a v0.1.0-clone.2", "example.com/other v0.1.0"} {
		if !strings.Contains(string(got), want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
}
