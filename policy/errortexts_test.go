// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// sentinels returns the texts of the error variables of each package, exported
// and not, by qualified name. A variable that stands for one of another package
// has its text. The name of the package is not part of the text.
func (tr *tree) sentinels(t *testing.T) map[string]string {
	t.Helper()
	texts, aliases := map[string]string{}, map[string]string{}
	prefix := regexp.MustCompile(`^([a-z0-9]+: |%w: )+`)
	for _, file := range tr.goFiles() {
		if strings.HasSuffix(file, "_test.go") || strings.Contains(file, "/testdata/") || slices.Contains(unreleased, tr.moduleOf(file)) {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, tr.read(t, file), parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			d, ok := d.(*ast.GenDecl)
			if !ok || d.Tok != token.VAR {
				continue
			}
			for _, s := range d.Specs {
				s := s.(*ast.ValueSpec)
				for i, id := range s.Names {
					if i >= len(s.Values) || !strings.HasPrefix(id.Name, "Err") {
						continue
					}
					name := f.Name.Name + "." + id.Name
					switch v := s.Values[i].(type) {
					case *ast.CallExpr:
						if len(v.Args) == 0 {
							break
						}
						if text, ok := constant(v.Args[0]); ok {
							texts[name] = prefix.ReplaceAllString(text, "")
						}
					case *ast.SelectorExpr:
						if x, ok := v.X.(*ast.Ident); ok {
							aliases[name] = x.Name + "." + v.Sel.Name
						}
					}
				}
			}
		}
	}
	for name, of := range aliases {
		if text, ok := texts[of]; ok {
			texts[name] = text
		}
	}
	return texts
}

// TestDocsErrors_allTexts protects those who search docs/errors.md for what they
// see: the text of every error variable is there and leads to its section. With
// -update it writes the table.
func TestDocsErrors_allTexts(t *testing.T) {
	const name, begin, end = "docs/errors.md", "<!-- texts: written by the tests -->\n", "<!-- texts end -->\n"
	tree := repository(t)
	doc := string(tree.read(t, name))
	before, rest, ok := strings.Cut(doc, begin)
	old, after, also := strings.Cut(rest, end)
	if !ok || !also {
		t.Fatalf("%s has no place for the texts", name)
	}
	// The section that a row is in.
	section, anchors, titles := "", map[string]string{}, map[string]string{}
	for line := range strings.Lines(after + before) {
		if title, ok := strings.CutPrefix(line, "## "); ok {
			section = strings.TrimSpace(title)
		}
		if m := regexp.MustCompile("^\\| `\\*?([a-z0-9]+\\.[A-Z]\\w*)` \\|").FindStringSubmatch(line); m != nil {
			titles[m[1]] = section
			anchors[m[1]] = strings.ReplaceAll(regexp.MustCompile(`[^a-z0-9 -]`).ReplaceAllString(strings.ToLower(section), ""), " ", "-")
		}
	}
	sentinels := tree.sentinels(t)
	rows := map[string]string{} // by text, so that they are sorted by it
	for _, e := range tree.exportedErrors(t) {
		text := sentinels[e]
		if text == "" {
			continue // a type
		}
		rows[strings.ToLower(text)+e] = fmt.Sprintf("| `%s` | [%s](#%s): `%s` |\n", text, titles[e], anchors[e], e)
	}
	if len(rows) < 80 {
		t.Errorf("found %d texts only: the search is broken", len(rows))
	}
	table := "| text | error |\n|---|---|\n"
	for _, key := range slices.Sorted(maps.Keys(rows)) {
		table += rows[key]
	}
	if *update && old != table {
		if err := os.WriteFile(filepath.Join(tree.root, name), []byte(before+begin+table+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if old != table {
		t.Errorf("the texts in %s are not those of the code; go test -run %s -update writes them", name, t.Name())
	}
}
