// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"bytes"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write docs/conformance.md")

const (
	repository = "../../.."
	document   = repository + "/docs/conformance.md"
	statements = "../../testdata/normative.tsv"
)

// exempt are the statements for clients that no test can assert, with the reason.
var exempt = map[string]string{}

// statement is a row of the table of statements. They are paraphrases made for
// this project; the wording that binds is the standard's.
type statement struct {
	id, side, kind, text string
}

func readStatements(t *testing.T) []statement {
	t.Helper()
	b, err := os.ReadFile(statements)
	if err != nil {
		t.Fatal(err)
	}
	var all []statement
	for i, line := range strings.Split(strings.TrimSpace(string(b)), "\n") {
		f := strings.Split(line, "\t")
		if len(f) != 4 {
			t.Fatalf("%s:%d: %d fields", statements, i+1, len(f))
		}
		if i > 0 {
			all = append(all, statement{f[0], f[1], f[2], f[3]})
		}
	}
	return all
}

// use is one test name that names statements.
type use struct{ file, text string }

func (u use) String() string { return u.file + ": " + u.text }

var (
	named = regexp.MustCompile(`^((?:MQTT-[0-9]+\.[0-9]+\.[0-9]+-[0-9]+ )+)(\S.*)?$`)
	ident = regexp.MustCompile(`MQTT-[0-9.]+-[0-9]+`)
)

// scan finds the names in one test file.
func scan(t *testing.T, fset *token.FileSet, path, name string, add func(id string, u use)) {
	t.Helper()
	f, err := parser.ParseFile(fset, path, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	literal := func(e ast.Node) {
		ast.Inspect(e, func(n ast.Node) bool {
			if _, ok := n.(*ast.FuncLit); ok {
				return false
			}
			if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
				s, _ := strconv.Unquote(lit.Value)
				m := named.FindStringSubmatch(s)
				if m == nil {
					return true
				}
				for _, id := range ident.FindAllString(m[1], -1) {
					add(id, use{name, strings.TrimSpace(m[2])})
				}
			}
			return true
		})
	}
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CompositeLit: // a row of a table
			for _, e := range n.Elts {
				switch e := e.(type) {
				case *ast.BasicLit:
					literal(e)
				case *ast.KeyValueExpr:
					if lit, ok := e.Key.(*ast.BasicLit); ok {
						literal(lit)
					}
					if lit, ok := e.Value.(*ast.BasicLit); ok {
						literal(lit)
					}
				}
			}
		case *ast.CallExpr:
			// t.Run, or a helper that is given the name and the subtest.
			last := len(n.Args) - 1
			if last < 1 {
				return true
			}
			if body, ok := n.Args[last].(*ast.FuncLit); ok && asserts(body) || !ok && isRun(n.Fun) {
				literal(n.Args[last-1])
			}
		}
		return true
	})
}

func isRun(fun ast.Expr) bool {
	sel, ok := fun.(*ast.SelectorExpr)
	return ok && sel.Sel.Name == "Run"
}

var assertion = regexp.MustCompile(`^(Error|Errorf|Fatal|Fatalf|Expect\w*|Wait)$`)

// asserts reports whether a subtest can fail: whether it calls a method that
// fails a test, or hands its test to a helper.
func asserts(body *ast.FuncLit) bool {
	found := false
	ast.Inspect(body.Body, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return !found
		}
		if sel, ok := call.Fun.(*ast.SelectorExpr); ok && assertion.MatchString(sel.Sel.Name) {
			found = true
		}
		for _, arg := range call.Args {
			if id, ok := arg.(*ast.Ident); ok && (id.Name == "t" || id.Name == "b" || id.Name == "f") {
				found = true
			}
		}
		return !found
	})
	return found
}

// TestStatements is the check and the generator.
func TestStatements(t *testing.T) {
	tests := map[string][]use{}
	fset := token.NewFileSet()
	err := filepath.WalkDir(repository, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(repository, path)
		name = filepath.ToSlash(name)
		if d.IsDir() && (strings.HasPrefix(d.Name(), ".") && d.Name() != ".." || d.Name() == "testdata") {
			return fs.SkipDir
		}
		if !strings.HasSuffix(name, "_test.go") || strings.HasPrefix(name, "mqtt5/mqtttest/") {
			return nil // what mqtttest tests is a server
		}
		scan(t, fset, path, name, func(id string, u use) { tests[id] = append(tests[id], u) })
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	all := readStatements(t)
	known := map[string]bool{}
	for _, s := range all {
		known[s.id] = true
		if s.side == "server" {
			continue
		}
		if _, ok := exempt[s.id]; ok == (len(tests[s.id]) > 0) {
			if ok {
				t.Errorf("%s is exempt, but %v names it", s.id, tests[s.id][0])
			} else {
				t.Errorf("no test names %s: %s", s.id, s.text)
			}
		}
	}
	for id := range exempt {
		if !known[id] {
			t.Errorf("%s is exempt, but no statement", id)
		}
	}
	for id, uses := range tests {
		if !known[id] {
			t.Errorf("%v names %s, which is no statement", uses[0], id)
		}
	}
	want := render(all, tests)
	if *update {
		if err := os.WriteFile(document, want, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if got, _ := os.ReadFile(document); !bytes.Equal(got, want) {
		t.Error("docs/conformance.md is out of date: go test ./mqtt5/internal/conformance -update writes it")
	}
}

func render(all []statement, tests map[string][]use) []byte {
	var b bytes.Buffer
	b.WriteString(`# Conformance with MQTT 5.0

Generated from the names of the tests; do not edit. ` + "`go test ./mqtt5/internal/conformance -update`" + ` writes it,
and the same test without the flag fails when a statement that binds clients has no test.

The statements are paraphrases of the numbered statements of the OASIS standard "MQTT Version 5.0" of 7 March 2019; its own
words are the ones that bind. Tests are listed by file.

## Statements for clients

`)
	bound, broken := 0, 0
	table := func(want func(statement) bool) int {
		n := 0
		b.WriteString("| Statement | What it asks for | Tests |\n|---|---|---|\n")
		for _, s := range all {
			if want(s) {
				n++
				fmt.Fprintf(&b, "| %s | %s | %s |\n", s.id, cell(s.text), cells(tests[s.id]))
			}
		}
		return n
	}
	bound = table(func(s statement) bool { return s.side != "server" && exempt[s.id] == "" })
	if len(exempt) > 0 {
		b.WriteString("\n## Statements that cannot apply\n\n| Statement | What it asks for | Why it has no test |\n|---|---|---|\n")
		for _, s := range all {
			if why := exempt[s.id]; why != "" {
				fmt.Fprintf(&b, "| %s | %s | %s |\n", s.id, cell(s.text), cell(why))
			}
		}
	}
	b.WriteString(`
## Statements for servers that a client sees broken

What the client does when a server breaks one of these is tested, too.

`)
	broken = table(func(s statement) bool { return s.side == "server" && len(tests[s.id]) > 0 })
	fmt.Fprintf(&b, "\n%d statements for clients are tested, %d cannot apply, and %d for servers are tested from the client's side.\n",
		bound, len(exempt), broken)
	b.WriteString("\nNext: [differences from the native client](native-differences.md), or how to run the tests: [contributing](../CONTRIBUTING.md).\n")
	return b.Bytes()
}

var escaper = strings.NewReplacer("|", `\|`, "<", "&lt;", "#", `\#`, "*", `\*`, "_", `\_`, "\n", " ")

func cell(s string) string { return escaper.Replace(s) }

// cells lists the tests of a statement, by file.
func cells(uses []use) string {
	var files []string
	names := map[string][]string{}
	for _, u := range uses {
		if names[u.file] == nil {
			files = append(files, u.file)
		}
		text := cell(u.text)
		if !slices.Contains(names[u.file], text) {
			names[u.file] = append(names[u.file], text)
		}
	}
	slices.Sort(files)
	for i, f := range files {
		list := slices.DeleteFunc(names[f], func(s string) bool { return s == "" })
		if len(list) > 4 {
			list = append(list[:3:3], fmt.Sprintf("and %d more", len(list)-3))
		}
		files[i] = "`" + f + "`"
		if len(list) > 0 {
			files[i] += ": " + strings.Join(list, "; ")
		}
	}
	return strings.Join(files, "<br>")
}
