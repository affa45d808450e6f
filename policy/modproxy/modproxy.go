// SPDX-License-Identifier: Apache-2.0

// Package modproxy packs the modules of a working tree as a module proxy does,
// so that a program outside the tree can require them before they are released.
package modproxy

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/mod/modfile"
	"golang.org/x/mod/module"
	"golang.org/x/mod/zip"
)

// Pack writes each module to the folder out, at the given version, in the
// layout of https://go.dev/ref/mod#goproxy-protocol. A path or file URL of out
// is then an element of GOPROXY. The version must be in canonical form, as v0.1.0.
// The modules require each other at this version, whatever their go.mod says.
func Pack(out, version string, dirs ...string) error {
	mods := make([][]byte, len(dirs))
	var siblings []string
	for i, dir := range dirs {
		var err error
		if mods[i], err = os.ReadFile(filepath.Join(dir, "go.mod")); err != nil {
			return fmt.Errorf("modproxy: packing %s: %w", dir, err)
		}
		siblings = append(siblings, modfile.ModulePath(mods[i]))
	}
	for i, dir := range dirs {
		mod, err := requireAt(version, mods[i], siblings)
		if err == nil {
			err = pack(out, version, dir, mod)
		}
		if err != nil {
			return fmt.Errorf("modproxy: packing %s: %w", dir, err)
		}
	}
	return nil
}

// requireAt returns the go.mod with the siblings required at the version.
func requireAt(version string, mod []byte, siblings []string) ([]byte, error) {
	file, err := modfile.Parse("go.mod", mod, nil)
	if err != nil {
		return nil, err
	}
	changed := false
	for _, r := range file.Require {
		if slices.Contains(siblings, r.Mod.Path) && r.Mod.Version != version {
			if err := file.AddRequire(r.Mod.Path, version); err != nil {
				return nil, err
			}
			changed = true
		}
	}
	if !changed {
		return mod, nil
	}
	return file.Format()
}

// pack packs one module. The go.mod in its archive is that of the folder: the go
// command reads requirements from the .mod file alone.
func pack(out, version, dir string, mod []byte) error {
	m := module.Version{Path: modfile.ModulePath(mod), Version: version}
	if err := module.Check(m.Path, m.Version); err != nil {
		return err
	}
	escaped, err := module.EscapePath(m.Path)
	if err != nil {
		return err
	}
	folder := filepath.Join(out, filepath.FromSlash(escaped), "@v")
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	var content bytes.Buffer
	if err := zip.CreateFromDir(&content, m, dir); err != nil {
		return err
	}
	info, err := json.Marshal(struct {
		Version string
		Time    time.Time
	}{version, time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}) // fixed: packing twice gives the same files
	if err != nil {
		return err
	}
	for name, data := range map[string][]byte{
		version + ".mod":  mod,
		version + ".info": info,
		version + ".zip":  content.Bytes(),
	} {
		if err := os.WriteFile(filepath.Join(folder, name), data, 0o644); err != nil {
			return err
		}
	}
	return appendLine(filepath.Join(folder, "list"), version)
}

// appendLine adds a version to the list that a proxy answers, once.
func appendLine(name, version string) error {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	have, err := io.ReadAll(f)
	if err != nil {
		return err
	}
	for line := range bytes.Lines(have) {
		if string(bytes.TrimSpace(line)) == version {
			return nil
		}
	}
	if _, err := fmt.Fprintln(f, version); err != nil {
		return err
	}
	return f.Close()
}
