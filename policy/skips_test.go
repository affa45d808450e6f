// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// skipReasons are the reasons to skip a test other than a missing program: the
// platform, how the test was built, or a flag.
var skipReasons = []string{
	"builds and runs programs",              // -short
	"builds with a module cache of its own", // -short
	"no raw sockets on this platform",
	"no shared library is loaded",                            // without cgo
	"pools are not used",                                     // with the race detector
	"the race detector allocates",                            // scripts/test runs it without, too
	"the module is on its own: no docs",                      // the module as it is published
	"the pipe of the browser needs file descriptors 3 and 4", // Windows
	"there is no /proc",
}

// TestSkips protects from tests that are not run, and nobody notices. A skip for
// a missing program is in a function that fails instead where scripts/test, which
// installs the programs, sets SDK_TEST_REQUIRE_TOOLS. Any other has a reason
// that is known here.
func TestSkips(t *testing.T) {
	tree := repository(t)
	unused := map[string]bool{}
	for _, r := range skipReasons {
		unused[r] = true
	}
	for _, name := range tree.goFiles() {
		source := tree.read(t, name)
		files := token.NewFileSet()
		f, err := parser.ParseFile(files, name, source, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			text := string(source[files.Position(d.Pos()).Offset:files.Position(d.End()).Offset])
			if strings.Contains(text, `Getenv("SDK_TEST_REQUIRE_TOOLS")`) {
				continue
			}
			for _, call := range skipsIn(d) {
				reason := ""
				if len(call.Args) > 0 {
					if l, ok := call.Args[0].(*ast.BasicLit); ok {
						reason, _ = strconv.Unquote(l.Value)
					}
				}
				if !slices.Contains(skipReasons, reason) {
					t.Errorf("%s skips a test for the reason %q: fail instead if SDK_TEST_REQUIRE_TOOLS is set, or explain the reason in policy", files.Position(call.Pos()), reason)
				}
				delete(unused, reason)
			}
		}
	}
	for _, r := range slices.Sorted(maps.Keys(unused)) {
		t.Errorf("no test is skipped for the reason %q", r)
	}
}

// skipsIn returns the calls of methods of package testing that skip.
func skipsIn(d ast.Decl) (calls []*ast.CallExpr) {
	ast.Inspect(d, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		method, ok := call.Fun.(*ast.SelectorExpr)
		if !ok || !slices.Contains([]string{"Skip", "Skipf", "SkipNow"}, method.Sel.Name) {
			return true
		}
		if receiver, ok := method.X.(*ast.Ident); ok && slices.Contains([]string{"t", "b", "f", "tb"}, receiver.Name) {
			calls = append(calls, call)
		}
		return true
	})
	return calls
}
