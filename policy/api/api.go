// SPDX-License-Identifier: Apache-2.0

package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/importer"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
)

// Read returns the exported API of the public packages of the module in folder
// dir. It compiles the packages. Command main and packages without exported
// names are left out.
func Read(dir string) (string, error) {
	listed, err := list(dir)
	if err != nil {
		return "", err
	}
	exports := map[string]string{}
	for _, p := range listed {
		exports[p.ImportPath] = p.Export
	}
	imports := importer.ForCompiler(token.NewFileSet(), "gc", func(path string) (io.ReadCloser, error) {
		if exports[path] == "" {
			return nil, fmt.Errorf("api: no export data for %s", path)
		}
		return os.Open(exports[path])
	})
	var public []*types.Package
	for _, p := range listed {
		if p.DepOnly || p.Name == "main" || internal(p.ImportPath) {
			continue
		}
		pkg, err := imports.Import(p.ImportPath)
		if err != nil {
			return "", fmt.Errorf("api: reading %s: %w", p.ImportPath, err)
		}
		public = append(public, pkg)
	}
	return describe(public), nil
}

// listing is what the go command says of a package.
type listing struct {
	ImportPath string
	Name       string
	Export     string // file with the types of the exported names
	DepOnly    bool   // of another module, or outside the patterns
}

func list(dir string) ([]listing, error) {
	cmd := exec.Command("go", "list", "-export", "-deps", "-json=ImportPath,Name,Export,DepOnly", "./...")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOOS=linux", "GOARCH=amd64", "CGO_ENABLED=0")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("api: go list in %s: %w\n%s", dir, err, stderr.Bytes())
	}
	var found []listing
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listing
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return found, nil
		} else if err != nil {
			return nil, fmt.Errorf("api: output of go list: %w", err)
		}
		found = append(found, p)
	}
}

// internal reports whether only this repository can import a package.
func internal(path string) bool {
	return slices.Contains(strings.Split(path, "/"), "internal")
}

// describe writes the packages in the order of their paths, and after them the
// types of internal packages of the same repository that they mention.
func describe(public []*types.Package) string {
	slices.SortFunc(public, func(a, b *types.Package) int { return strings.Compare(a.Path(), b.Path()) })
	d := &description{mentioned: map[*types.TypeName]bool{}}
	for _, pkg := range public {
		d.pkg, d.features = pkg, nil
		for _, name := range pkg.Scope().Names() {
			if obj := pkg.Scope().Lookup(name); obj.Exported() {
				d.object(obj)
			}
		}
		d.flush(pkg.Path())
	}
	done := map[*types.TypeName]bool{}
	for {
		var next []*types.TypeName
		for name := range d.mentioned {
			if !done[name] {
				next = append(next, name)
			}
		}
		if len(next) == 0 {
			return d.text()
		}
		for _, name := range next {
			done[name] = true
			d.pkg, d.features = name.Pkg(), nil
			d.object(name)
			d.flush(name.Pkg().Path())
		}
	}
}
