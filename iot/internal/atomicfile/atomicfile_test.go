// SPDX-License-Identifier: Apache-2.0

package atomicfile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestWrite(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "state [1].json")
	for _, text := range []string{"old", "new and longer", ""} {
		if err := Write(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		data, err := Read(name, 100)
		if err != nil || string(data) != text {
			t.Errorf("%q, %v", data, err)
		}
	}
	info, err := os.Stat(name)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if _, err := Read(name, -1); err == nil {
		t.Error("a file beyond the limit was read")
	}
	wantFiles(t, dir, "state [1].json")
}

func TestWrite_failure(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "taken")
	if err := os.MkdirAll(filepath.Join(name, "sub"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := Write(name, []byte("x"), 0o600); err == nil {
		t.Error("a directory was replaced")
	}
	wantFiles(t, dir, "taken")
	if err := Write(filepath.Join(dir, "missing", "x"), nil, 0o600); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

// TestRead_afterCrash finds the temporary file of a process that was killed.
func TestRead_afterCrash(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "state.json")
	if err := os.WriteFile(filepath.Join(dir, ".state.json.123.tmp"), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(name, 100); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	wantFiles(t, dir)
}

// TestRead_whileAnotherIsWritten leaves the temporary file of another file alone,
// though its name begins with that of the file.
func TestRead_whileAnotherIsWritten(t *testing.T) {
	dir := t.TempDir()
	other := []string{".state.json.123.tmp", ".state.tmp", ".state..tmp", "state.123.tmp"}
	for _, name := range other {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Read(filepath.Join(dir, "state"), 100); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	slices.Sort(other)
	wantFiles(t, dir, other...)
}

// TestRead_noDirectory distinguishes a file that is not written yet from one that
// never can be.
func TestRead_noDirectory(t *testing.T) {
	dir := t.TempDir()
	if _, err := Read(filepath.Join(dir, "x"), 1); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	missing := filepath.Join(dir, "missing")
	if _, err := Read(filepath.Join(missing, "x"), 1); err == nil || errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), missing) {
		t.Error(err)
	}
}

func TestRemove(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "x")
	if err := Write(name, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := Remove(name); err != nil {
			t.Error(err)
		}
	}
	wantFiles(t, dir)
}

func wantFiles(t *testing.T, dir string, names ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != len(names) {
		t.Errorf("files %v, want %v", entries, names)
		return
	}
	for i, e := range entries {
		if e.Name() != names[i] {
			t.Errorf("files %v, want %v", entries, names)
		}
	}
}
