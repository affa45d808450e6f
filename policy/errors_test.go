// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path"
	"regexp"
	"slices"
	"strconv"
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

// textsOfOthers are texts in docs/errors.md that are not ours: those of Go, and
// of systems below it.
var textsOfOthers = []string{
	"unknown authority", "bad certificate", "certificate required", "no application protocol",
	"first record does not look like a TLS handshake", "connection refused", "no such host",
	"handshake failure", "no such file or directory", "i/o timeout", "network is unreachable", "connection reset by peer", "context deadline exceeded",
	"not allowed in FIPS 140-only mode", "login session has expired, please reauthenticate",
}

// TestDocsErrors_texts protects those who search for the text of an error. A
// text in the table of texts, or between quotation marks in another one, must
// be one that the code writes; N stands for what differs.
func TestDocsErrors_texts(t *testing.T) {
	const name = "docs/errors.md"
	tree := repository(t)
	text := string(tree.read(t, name))
	begin, end := strings.Index(text, "## Find an error by its text"), strings.Index(text, "## How to read errors")
	if begin < 0 || end < begin {
		t.Fatalf("%s has no table of texts", name)
	}
	var wanted []string
	for _, m := range regexp.MustCompile("(?m)^\\| `(.+?)` \\|").FindAllStringSubmatch(text[begin:end], -1) {
		wanted = append(wanted, m[1])
	}
	for _, line := range strings.Split(text[end:], "\n") {
		if !strings.HasPrefix(line, "| ") {
			continue
		}
		for _, m := range regexp.MustCompile(`"([^"]* [^"]*)"`).FindAllStringSubmatch(line, -1) {
			wanted = append(wanted, m[1])
		}
	}
	if len(wanted) < 30 {
		t.Errorf("found %d texts only: the search is broken", len(wanted))
	}
	literals := strings.Join(tree.literals(t), "\n")
	for _, w := range wanted {
		var parts []string
		for _, p := range regexp.MustCompile(`\bN\b`).Split(w, -1) {
			parts = append(parts, regexp.QuoteMeta(p))
		}
		// What is put in by a verb of package fmt may be written out in the table.
		if !regexp.MustCompile(strings.Join(parts, `%[a-z]`)).MatchString(literals) && !slices.Contains(textsOfOthers, w) {
			t.Errorf("%s quotes %q, which no package writes", name, w)
		}
	}
}

// literals returns the texts in the code of all packages that users import;
// those that are joined by + are one.
func (tr *tree) literals(t *testing.T) []string {
	t.Helper()
	var texts []string
	for _, file := range tr.goFiles() {
		if strings.HasSuffix(file, "_test.go") || strings.Contains(file, "/testdata/") || slices.Contains(unreleased, tr.moduleOf(file)) {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, tr.read(t, file), parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			e, ok := n.(ast.Expr)
			if !ok {
				return true
			}
			s, ok := constant(e)
			if ok {
				texts = append(texts, s)
			}
			return !ok
		})
	}
	return texts
}

// constant returns the text of a literal, or of a sum of them.
func constant(e ast.Expr) (string, bool) {
	switch e := e.(type) {
	case *ast.BasicLit:
		s, err := strconv.Unquote(e.Value)
		return s, err == nil && e.Kind == token.STRING
	case *ast.BinaryExpr:
		x, ok := constant(e.X)
		y, also := constant(e.Y)
		return x + y, ok && also
	}
	return "", false
}
