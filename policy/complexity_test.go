// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"go/ast"
	"go/parser"
	"go/token"
	"strings"
	"testing"
)

// maxComplexity bounds what a reader of one function has to keep in mind. The
// most of any function at the time of the rule was 33.
const maxComplexity = 35

// TestComplexity protects readers from functions that nobody can follow. Length
// is no measure of that: a table of a thousand lines is easy to read, and a
// function of forty lines with loops in conditions in loops is not. Each branch
// and each loop counts one, and one more for each that it is in; each else counts
// one. Tests may be longer, since each case in them stands for itself.
func TestComplexity(t *testing.T) {
	tree := repository(t)
	functions := 0
	for _, name := range tree.goFiles() {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		files := token.NewFileSet()
		f, err := parser.ParseFile(files, name, tree.read(t, name), parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok || fn.Body == nil {
				continue
			}
			functions++
			if n := complexity(fn.Body, 0); n > maxComplexity {
				t.Errorf("%s: %s has a complexity of %d, more than %d: give its parts names", files.Position(fn.Pos()), fn.Name.Name, n, maxComplexity)
			}
		}
	}
	if functions < 1000 {
		t.Errorf("found %d functions only: the search is broken", functions)
	}
}

// complexity counts the branches in a node that is itself in depth others.
func complexity(node ast.Node, depth int) int {
	sum := 0
	ast.Inspect(node, func(n ast.Node) bool {
		var body *ast.BlockStmt
		switch n := n.(type) {
		case *ast.IfStmt:
			sum += 1 + depth + complexity(n.Body, depth+1)
			for n.Else != nil {
				sum++
				next, ok := n.Else.(*ast.IfStmt)
				if !ok {
					sum += complexity(n.Else, depth+1)
					break
				}
				sum += complexity(next.Body, depth+1)
				n = next
			}
			return false
		case *ast.ForStmt:
			body = n.Body
		case *ast.RangeStmt:
			body = n.Body
		case *ast.SwitchStmt:
			body = n.Body
		case *ast.TypeSwitchStmt:
			body = n.Body
		case *ast.SelectStmt:
			body = n.Body
		default:
			return true
		}
		sum += 1 + depth + complexity(body, depth+1)
		return false
	})
	return sum
}

// Length costs nothing; nesting does.
func TestComplexity_measure(t *testing.T) {
	for _, c := range []struct {
		body string
		want int
	}{
		{"f(); f(); f()", 0},
		{"if x { f() }; if y { f() }", 2},
		{"if x { f() } else if y { f() } else { f() }", 3},
		{"if x { if y { f() } } else { for { f() } }", 1 + 2 + 1 + 2},
		{"for { for { if x { f() } } }", 1 + 2 + 3},
		{"switch x { case 1: f(); case 2: f(); case 3: f() }", 1},
		{"go func() { for range x { select { case <-y: } } }()", 1 + 2},
	} {
		f, err := parser.ParseFile(token.NewFileSet(), "", "package p\nfunc _() { "+c.body+" }", 0)
		if err != nil {
			t.Fatal(err)
		}
		if got := complexity(f.Decls[0].(*ast.FuncDecl).Body, 0); got != c.want {
			t.Errorf("%s: %d, want %d", c.body, got, c.want)
		}
	}
}
