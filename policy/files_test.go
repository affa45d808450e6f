// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"bytes"
	"go/parser"
	"go/token"
	"path"
	"regexp"
	"strings"
	"testing"
)

// maxBytes is far above any source text and below any program that was
// committed by mistake.
const maxBytes = 512 << 10

// TestLicence protects users who copy a single file: it says what they may do with it.
func TestLicence(t *testing.T) {
	tree := repository(t)
	const header = "// SPDX-License-Identifier: Apache-2.0\n\n"
	for _, name := range tree.goFiles() {
		if !bytes.HasPrefix(tree.read(t, name), []byte(header)) {
			t.Errorf("%s does not start with the licence line and an empty line", name)
		}
	}
	if !bytes.Contains(tree.read(t, "LICENSE"), []byte("Apache License")) {
		t.Error("LICENSE is not the Apache License")
	}
}

// TestPackageDoc protects readers of pkg.go.dev and of import lines. It wants
// one package comment per package, in doc.go where users look for it, and a
// name that says what the package holds.
func TestPackageDoc(t *testing.T) {
	tree := repository(t)
	type pkg struct {
		name  string
		docs  []string
		files int
	}
	packages := map[string]*pkg{}
	for _, name := range tree.goFiles() {
		if strings.HasSuffix(name, "_test.go") || strings.Contains(name, "/testdata/") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, tree.read(t, name), parser.PackageClauseOnly|parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		p := packages[path.Dir(name)]
		if p == nil {
			p = &pkg{name: f.Name.Name}
			packages[path.Dir(name)] = p
		}
		p.files++
		if f.Doc == nil {
			continue
		}
		p.docs = append(p.docs, path.Base(name))
		want := "Package " + p.name + " "
		if p.name == "main" {
			want = "Command "
		}
		if text := f.Doc.Text(); !strings.HasPrefix(text, want) {
			t.Errorf("%s: the package comment does not start with %q", name, want)
		}
	}
	for dir, p := range packages {
		if len(p.docs) != 1 {
			t.Errorf("%s: want one package comment, have %d %v", dir, len(p.docs), p.docs)
		} else if internal := strings.Contains(dir, "internal/"); p.files > 1 && p.name != "main" && !internal && p.docs[0] != "doc.go" {
			t.Errorf("%s: the package comment is in %s, want doc.go", dir, p.docs[0])
		}
		switch p.name {
		case "io", "http", "util", "utils", "common", "helpers", "misc":
			t.Errorf("%s: package %s: name it for what it holds", dir, p.name)
		}
	}
}

// words are texts that belong to somebody's machine or desk and not here. They
// are written in pieces so that this file does not match itself.
var words = []*regexp.Regexp{
	regexp.MustCompile(`(^|[^\w./-])/(wor` + `k|far` + `m|roo` + `t|hom` + `e/\w+)/`),
	regexp.MustCompile(`\.\./shar` + `ed/|\bshar` + `ed/[a-z-]+\.(md|tsv|txt)`),
	regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME|XX` + `X|HA` + `CK)\b`),
	regexp.MustCompile(`-----BEGIN [A-Z ]*PRIVATE KEY-----\s+[A-Za-z0-9+/=\s]{64}`),
	regexp.MustCompile(`\b(AK` + `IA|AS` + `IA)[A-Z2-7]{16}\b`),
	regexp.MustCompile(`^(<<<<<<<|>>>>>>>) `),
}

// examples are access keys that AWS documents as not real.
var examples = regexp.MustCompile(`(AK` + `IA|AS` + `IA)[A-Z2-7]*EXAMPLE`)

// TestWords protects the history, which keeps everything, from secrets, built files
// and what is true on one machine only.
func TestWords(t *testing.T) {
	tree := repository(t)
	for _, name := range tree.files {
		base := path.Base(name)
		if base == "LICENSE" || base == "go.sum" || base == "go.work.sum" {
			continue
		}
		data := tree.read(t, name)
		if len(data) > maxBytes {
			t.Errorf("%s has %d bytes: built files do not belong here", name, len(data))
			continue
		}
		if !isText(data) {
			t.Errorf("%s is binary", name)
			continue
		}
		data = examples.ReplaceAll(data, nil)
		for _, w := range words {
			if found := w.Find(data); found != nil {
				t.Errorf("%s contains %q", name, found)
			}
		}
	}
}
