// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/mod/modfile"
)

const (
	importRoot = "github.com/gocrt/aws-iot-device-sdk-go"
	floor      = "1.25.0"
	version    = "v0.1.0"
)

// tree is what the tests look at. All paths have slashes and are relative to the root.
type tree struct {
	root    string
	files   []string
	modules []string // folders with a go.mod, but not that of the tools
	work    *modfile.WorkFile
}

var readTree = sync.OnceValues(func() (*tree, error) {
	root, err := filepath.Abs("..")
	if err != nil {
		return nil, err
	}
	t := &tree{root: root}
	data, err := os.ReadFile(filepath.Join(root, "go.work"))
	if err != nil {
		return nil, err
	}
	if t.work, err = modfile.ParseWork("go.work", data, nil); err != nil {
		return nil, err
	}
	err = filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			if os.IsNotExist(err) { // another program's temporary file
				return nil
			}
			return err
		}
		if d.IsDir() {
			switch d.Name() {
			case ".git", ".idea", ".vscode", "node_modules":
				return filepath.SkipDir
			}
			return nil
		}
		if d.Name() == ".git" { // of a worktree
			return nil
		}
		rel, err := filepath.Rel(root, p)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		t.files = append(t.files, rel)
		if d.Name() == "go.mod" && rel != "scripts/tools/go.mod" {
			t.modules = append(t.modules, path.Dir(rel))
		}
		return nil
	})
	return t, err
})

func repository(t *testing.T) *tree {
	t.Helper()
	tree, err := readTree()
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

func (tr *tree) read(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(tr.root, filepath.FromSlash(name)))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func (tr *tree) exists(name string) bool {
	_, err := os.Stat(filepath.Join(tr.root, filepath.FromSlash(name)))
	return err == nil
}

// goFiles returns the names of all Go files, on whatever platform they build.
func (tr *tree) goFiles() []string {
	return slices.DeleteFunc(slices.Clone(tr.files), func(name string) bool {
		return path.Ext(name) != ".go"
	})
}

// moduleOf returns the module that a file belongs to, "" for a file outside of all.
func (tr *tree) moduleOf(name string) string {
	best := ""
	for _, m := range tr.modules {
		if strings.HasPrefix(name+"/", m+"/") && len(m) > len(best) {
			best = m
		}
	}
	return best
}

func (tr *tree) goMod(t *testing.T, module string) *modfile.File {
	t.Helper()
	name := module + "/go.mod"
	f, err := modfile.Parse(name, tr.read(t, name), nil)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// parse reads a Go file up to and with its imports.
func (tr *tree) parse(t *testing.T, name string) *ast.File {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), name, tr.read(t, name), parser.ImportsOnly|parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// imports returns the import paths of a Go file.
func imports(f *ast.File) []string {
	var paths []string
	for _, s := range f.Imports {
		paths = append(paths, strings.Trim(s.Path.Value, `"`))
	}
	return paths
}

// sibling returns the module of this repository that an import path belongs to.
func (tr *tree) sibling(importPath string) (string, bool) {
	rest, ok := strings.CutPrefix(importPath, importRoot+"/")
	if !ok {
		return "", false
	}
	return tr.moduleOf(rest), true
}

func isText(data []byte) bool { return bytes.IndexByte(data, 0) < 0 }
