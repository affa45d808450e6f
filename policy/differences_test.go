// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"go/ast"
	"go/parser"
	"go/token"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// testFuncs returns the test functions of a file with the strings in them.
func (tr *tree) testFuncs(t *testing.T, name string) map[string][]string {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), name, tr.read(t, name), parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	funcs := map[string][]string{}
	for _, d := range f.Decls {
		fn, ok := d.(*ast.FuncDecl)
		if !ok || fn.Recv != nil || !strings.HasPrefix(fn.Name.Name, "Test") {
			continue
		}
		texts := []string{}
		ast.Inspect(fn, func(n ast.Node) bool {
			if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
				if s, err := strconv.Unquote(lit.Value); err == nil {
					texts = append(texts, strings.TrimSpace(s))
				}
			}
			return true
		})
		funcs[fn.Name.Name] = texts
	}
	return funcs
}

// TestDifferences protects a table of claims from becoming untrue. It checks
// the table of differences from the native client: each row names tests, each
// of them exists, and each identifier in the name of a
// test has its row, which names that test.
func TestDifferences(t *testing.T) {
	const document = "docs/native-differences.md"
	tree := repository(t)
	row := regexp.MustCompile(`^\| (native-[0-9.]+-[a-z0-9.-]+) \| ([^|]+) \| ([^|]+) \| ([^|]+) \|$`)
	ref := regexp.MustCompile("^`([\\w/.-]+_test\\.go):(Test\\w+)(?:/(.+))?`$")
	files := map[string]map[string][]string{} // test functions of each file
	load := func(file string) map[string][]string {
		if files[file] == nil {
			files[file] = tree.testFuncs(t, file)
		}
		return files[file]
	}
	listed := map[string][]string{} // "file:function" for each identifier
	for i, line := range strings.Split(string(tree.read(t, document)), "\n") {
		if !strings.HasPrefix(line, "| native") {
			continue
		}
		m := row.FindStringSubmatch(line)
		if m == nil {
			t.Errorf("%s:%d: not a row: %s", document, i+1, line)
			continue
		}
		id := m[1]
		if listed[id] != nil {
			t.Errorf("%s:%d: %s is there twice", document, i+1, id)
		}
		for _, cell := range strings.Split(m[4], "<br>") {
			r := ref.FindStringSubmatch(cell)
			if r == nil || !tree.exists(r[1]) {
				t.Errorf("%s:%d: %s names no test", document, i+1, cell)
				continue
			}
			texts, ok := load(r[1])[r[2]]
			if !ok {
				t.Errorf("%s:%d: %s has no %s", document, i+1, r[1], r[2])
			}
			if r[3] != "" && !slices.Contains(texts, r[3]) {
				t.Errorf("%s:%d: %s has no subtest %q", document, i+1, r[2], r[3])
			}
			listed[id] = append(listed[id], r[1]+":"+r[2])
		}
	}
	if len(listed) < 80 {
		t.Errorf("%s has %d rows", document, len(listed))
	}
	ident := regexp.MustCompile(`^native-[0-9.]+-[a-z0-9.-]*[a-z0-9]`)
	for _, name := range tree.goFiles() {
		if !strings.HasSuffix(name, "_test.go") || strings.HasPrefix(name, "policy/") {
			continue
		}
		for fn, texts := range load(name) {
			for _, text := range texts {
				if id := ident.FindString(text); id != "" && !slices.Contains(listed[id], name+":"+fn) {
					t.Errorf("%s: %s is not in the row of %s in %s", name, fn, id, document)
				}
			}
		}
	}
}
