// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// block is a fenced block of a Markdown file.
type block struct {
	file     string
	line     int
	language string
	text     string
}

func (tr *tree) markdown() []string {
	var names []string
	for _, name := range tr.files {
		if path.Ext(name) == ".md" {
			names = append(names, name)
		}
	}
	return names
}

func (tr *tree) blocks(t *testing.T, name string) []block {
	t.Helper()
	var found []block
	var open *block
	for i, line := range strings.Split(string(tr.read(t, name)), "\n") {
		fence, ok := strings.CutPrefix(strings.TrimSpace(line), "```")
		switch {
		case ok && open == nil:
			open = &block{file: name, line: i + 1, language: fence}
		case ok:
			found = append(found, *open)
			open = nil
		case open != nil:
			open.text += line + "\n"
		}
	}
	if open != nil {
		t.Errorf("%s:%d: the block does not end", name, open.line)
	}
	return found
}

// TestDocsCommands protects readers from commands that do not work. It checks
// that what the documentation tells the reader to run is there, and that the
// first two commands of the README are the two that matter.
func TestDocsCommands(t *testing.T) {
	tree := repository(t)
	run := regexp.MustCompile(`\bgo run (\./[\w./-]+)`)
	script := regexp.MustCompile(`(?:^|[\s` + "`" + `])(?:\./)?((?:scripts|\.ci)/[\w./-]+)`)
	for _, name := range tree.markdown() {
		text := string(tree.read(t, name))
		base := ""
		if !strings.HasPrefix(name, "docs/") {
			base = path.Dir(name)
		}
		for _, m := range run.FindAllStringSubmatch(text, -1) {
			if !tree.exists(m[1]) && !tree.exists(path.Join(base, m[1])) {
				t.Errorf("%s: %s: no such program", name, m[0])
			}
		}
		for _, m := range script.FindAllStringSubmatch(text, -1) {
			if !tree.exists(strings.TrimRight(m[1], "./")) {
				t.Errorf("%s: no such file: %s", name, m[1])
			}
		}
	}
	var first []string
	for _, b := range tree.blocks(t, "README.md") {
		if b.language != "go" {
			first = strings.Split(b.text, "\n")
			break
		}
	}
	if len(first) < 2 || !strings.HasPrefix(first[0], "go run ./samples/x509") || !strings.HasPrefix(first[1], "./scripts/test") {
		t.Errorf("README.md starts with the commands %q", first)
	}
}

var (
	link = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	span = regexp.MustCompile("`[^`\n]+`")
)

// TestDocsLinks protects readers from links that lead nowhere. It checks links
// between files, and to headings in them.
func TestDocsLinks(t *testing.T) {
	tree := repository(t)
	for _, name := range tree.markdown() {
		text := string(tree.read(t, name))
		for _, b := range tree.blocks(t, name) {
			text = strings.ReplaceAll(text, b.text, "")
		}
		text = span.ReplaceAllString(text, "code") // where a conversion looks like a link
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			target, fragment, _ := strings.Cut(m[1], "#")
			if strings.Contains(target, "://") || strings.HasPrefix(target, "mailto:") {
				continue
			}
			file := name
			if target != "" {
				file = path.Join(path.Dir(name), target)
			}
			if !tree.exists(file) {
				t.Errorf("%s: the link to %s leads nowhere", name, m[1])
				continue
			}
			if fragment != "" && path.Ext(file) == ".md" && !tree.anchors(t, file)[fragment] {
				t.Errorf("%s: %s has no heading #%s", name, file, fragment)
			}
		}
	}
}

// TestDocsSamples protects samples from being found by nobody: a page of docs
// refers to each.
func TestDocsSamples(t *testing.T) {
	tree := repository(t)
	var text strings.Builder
	for _, name := range tree.markdown() {
		if strings.HasPrefix(name, "docs/") {
			text.Write(tree.read(t, name))
		}
	}
	samples, err := filepath.Glob(filepath.Join(tree.root, "samples", "*", "main.go"))
	if err != nil || len(samples) == 0 {
		t.Fatalf("no samples: %v", err)
	}
	for _, s := range samples {
		if dir := "samples/" + filepath.Base(filepath.Dir(s)) + "/main.go"; !strings.Contains(text.String(), dir) {
			t.Errorf("no page of docs refers to %s", dir)
		}
	}
}

// anchors returns the fragments that the headings of a Markdown file get on GitHub.
func (tr *tree) anchors(t *testing.T, name string) map[string]bool {
	t.Helper()
	drop := regexp.MustCompile(`[^\p{L}\p{N} _-]`)
	found := map[string]bool{}
	for line := range strings.Lines(string(tr.read(t, name))) {
		title := strings.TrimLeft(line, "#")
		if title == line || !strings.HasPrefix(title, " ") {
			continue
		}
		title = drop.ReplaceAllString(strings.ToLower(strings.TrimSpace(title)), "")
		found[strings.ReplaceAll(title, " ", "-")] = true
	}
	return found
}

// TestDocsExamples protects readers from programs that do not compile. It
// compiles every Go block that is a whole program, as if it were one more
// sample.
func TestDocsExamples(t *testing.T) {
	tree := repository(t)
	tmp := t.TempDir()
	replace := map[string]string{}
	var packages []string
	for _, name := range tree.markdown() {
		for _, b := range tree.blocks(t, name) {
			if b.language != "go" || !strings.HasPrefix(b.text, "package main") {
				continue
			}
			dir := fmt.Sprintf("samples/block%d", len(packages))
			source := filepath.Join(tmp, fmt.Sprintf("block%d.go", len(packages)))
			// Errors then point into the document.
			write(t, source, fmt.Sprintf("//line %s:%d\n%s", filepath.Join(tree.root, name), b.line+1, b.text))
			replace[filepath.Join(tree.root, filepath.FromSlash(dir), "main.go")] = source
			packages = append(packages, "./"+dir)
		}
	}
	if len(packages) == 0 {
		t.Fatal("no document shows a program")
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(tmp, "overlay.json")
	write(t, file, string(overlay))
	// Not vet, which wants to be in the folder of the package.
	bin := filepath.Join(tmp, "bin") + string(filepath.Separator)
	cmd := exec.Command("go", append([]string{"build", "-overlay", file, "-o", bin}, packages...)...)
	cmd.Dir = tree.root
	cmd.Env = append(os.Environ(), "GOWORK="+filepath.Join(tree.root, "go.work")) // on, even where this module is tested alone
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("the programs in the documentation do not compile: %v\n%s", err, out)
	}
}
