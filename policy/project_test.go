// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestWorkflows protects the continuous integration from code that somebody else
// can exchange: an action is named by the hash of a commit, with its version for
// people beside it, and the token of a workflow may only read.
func TestWorkflows(t *testing.T) {
	tree := repository(t)
	uses := regexp.MustCompile(`(?m)^\s*(?:- )?uses:\s*(\S.*)$`)
	pinned := regexp.MustCompile(`^[\w.-]+/[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$`)
	found := 0
	for _, name := range tree.files {
		if path.Dir(name) != ".github/workflows" {
			continue
		}
		text := string(tree.read(t, name))
		for _, m := range uses.FindAllStringSubmatch(text, -1) {
			found++
			if !pinned.MatchString(m[1]) {
				t.Errorf("%s: %s: want owner/name@HASH # vX.Y.Z", name, m[1])
			}
		}
		if !strings.Contains(text, "\npermissions:\n  contents: read\n") {
			t.Errorf("%s does not limit the permissions of its token", name)
		}
	}
	if found == 0 {
		t.Error("no action found: the search is broken")
	}
}

// TestDependabot protects modules from being forgotten by the program that tells
// of new versions and of vulnerabilities.
func TestDependabot(t *testing.T) {
	tree := repository(t)
	var listed []string
	for _, m := range regexp.MustCompile(`(?m)^      - /(\S+)$`).FindAllStringSubmatch(string(tree.read(t, ".github/dependabot.yml")), -1) {
		listed = append(listed, m[1])
	}
	want := append(slices.Clone(tree.modules), "scripts/tools")
	slices.Sort(want)
	slices.Sort(listed)
	if !slices.Equal(listed, want) {
		t.Errorf(".github/dependabot.yml lists %v, the modules are %v", listed, want)
	}
}

// TestDocsNext protects readers from dead ends: each document ends with where to
// go on.
func TestDocsNext(t *testing.T) {
	tree := repository(t)
	for _, name := range tree.markdown() {
		if path.Dir(name) != "docs" || name == index {
			continue
		}
		text := strings.TrimSpace(string(tree.read(t, name)))
		last := text[strings.LastIndex(text, "\n\n")+1:]
		if !strings.HasPrefix(strings.TrimSpace(last), "Next: ") || !link.MatchString(last) {
			t.Errorf("%s does not end with a paragraph \"Next: \" and a link", name)
		}
	}
}

// index is the page that leads to all others.
const index = "docs/index.md"
