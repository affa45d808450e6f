// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// exportedErrors returns the qualified names of all errors that users can meet:
// variables whose names begin with Err, types whose names end in Error, and
// types that have the method of an error, whatever they are called.
func (tr *tree) exportedErrors(t *testing.T) []string {
	t.Helper()
	var names []string
	for _, file := range tr.goFiles() {
		if strings.HasSuffix(file, "_test.go") || strings.Contains(file, "/testdata/") || strings.Contains("/"+file, "/internal/") ||
			slices.Contains(unreleased, tr.moduleOf(file)) {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, tr.read(t, file), parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		if f.Name.Name == "main" {
			continue
		}
		add := func(name string) {
			name = f.Name.Name + "." + name
			if token.IsExported(path.Ext(name)[1:]) && !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
		for _, d := range f.Decls {
			switch d := d.(type) {
			case *ast.GenDecl:
				for _, s := range d.Specs {
					switch s := s.(type) {
					case *ast.ValueSpec:
						for _, id := range s.Names {
							if d.Tok == token.VAR && strings.HasPrefix(id.Name, "Err") {
								add(id.Name)
							}
						}
					case *ast.TypeSpec:
						if strings.HasSuffix(s.Name.Name, "Error") {
							add(s.Name.Name)
						}
					}
				}
			case *ast.FuncDecl:
				if isErrorMethod(d) {
					add(receiver(d))
				}
			}
		}
	}
	slices.Sort(names)
	return names
}

// isErrorMethod reports whether a function is Error() string of some type.
func isErrorMethod(d *ast.FuncDecl) bool {
	if d.Recv == nil || d.Name.Name != "Error" || len(d.Type.Params.List) != 0 || d.Type.Results == nil || len(d.Type.Results.List) != 1 {
		return false
	}
	result, ok := d.Type.Results.List[0].Type.(*ast.Ident)
	return ok && result.Name == "string"
}

// receiver is the name of the type that a method belongs to.
func receiver(d *ast.FuncDecl) string {
	e := d.Recv.List[0].Type
	if star, ok := e.(*ast.StarExpr); ok {
		e = star.X
	}
	id, ok := e.(*ast.Ident)
	if !ok {
		return "_" // generic: none of our errors is
	}
	return id.Name
}

// TestDocsErrors protects users from errors that nobody explains. It wants
// every error in docs/errors.md, in the first column of a table, and none there
// that does not exist.
func TestDocsErrors(t *testing.T) {
	const name = "docs/errors.md"
	tree := repository(t)
	listed := map[string]int{}
	row := regexp.MustCompile("(?m)^\\| `\\*?([a-z0-9]+\\.[A-Z]\\w*)` \\|(.*)\\|(.*)\\|$")
	for _, m := range row.FindAllStringSubmatch(string(tree.read(t, name)), -1) {
		listed[m[1]]++
		if len(strings.TrimSpace(m[2])) < 10 || len(strings.TrimSpace(m[3])) < 3 {
			t.Errorf("%s: %s lacks its cause or what to do", name, m[1])
		}
	}
	exported := tree.exportedErrors(t)
	for _, e := range exported {
		switch listed[e] {
		case 0:
			t.Errorf("%s has no row for %s", name, e)
		case 1:
		default:
			t.Errorf("%s has %d rows for %s", name, listed[e], e)
		}
		delete(listed, e)
	}
	for e := range listed {
		t.Errorf("%s has a row for %s, which does not exist", name, e)
	}
	if len(exported) < 100 {
		t.Errorf("found %d errors only: the search is broken", len(exported))
	}
}
