// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"go/parser"
	"go/token"
	"strings"
	"testing"
	"unicode/utf8"
)

// maxComment is how wide a comment may be that has a line of its own, with tabs
// of four columns. Paragraphs are wrapped at 80.
const maxComment = 90

// TestComments_width protects readers from comments of several widths.
func TestComments_width(t *testing.T) {
	tree := repository(t)
	for _, name := range tree.goFiles() {
		text := string(tree.read(t, name))
		lines := strings.Split(text, "\n")
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, name, text, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			t.Error(err)
			continue
		}
		for _, group := range file.Comments {
			if strings.Contains(group.Text(), "Output:") {
				continue // of an example
			}
			for _, c := range group.List {
				at := set.Position(c.Pos())
				line := lines[at.Line-1]
				own := strings.TrimSpace(line[:at.Column-1]) == ""
				prose := strings.HasPrefix(c.Text, "// ") && !strings.Contains(c.Text, "  ") && !strings.Contains(c.Text, "://")
				if width := utf8.RuneCountInString(strings.ReplaceAll(line, "\t", "    ")); own && prose && width > maxComment {
					t.Errorf("%s:%d: a comment of %d columns, want at most %d", name, at.Line, width, maxComment)
				}
			}
		}
	}
}
