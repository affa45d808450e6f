// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// arrows lists which modules a module may import, in its tests too: a test that
// imports a module puts it into the module graph of every user. What needs more
// goes into the test-only modules.
var arrows = map[string][]string{
	"io":              {},
	"io/pkcs11":       {"io"},
	"http":            {"io"},
	"auth":            {"io"},
	"mqtt5":           {"io"},
	"mqtt5/filestore": {"mqtt5"},
	"mqtt5/mqttotel":  {"mqtt5"},
	"iot":             {"io", "http", "auth", "mqtt5"},
	"iot/iottest":     {},
	"policy":          {},
	"interop":         {"*"},
	"benchmarks":      {"*"},
	"samples":         {"*"},
	"cmd":             {"*"},
}

// installed are modules with programs for `go install module/...@version`, which
// refuses a go.mod with replace lines. Outside the workspace they build once
// their siblings are published.
var installed = []string{"cmd"}

// restricted lists who may import packages of others, by prefix of the import path.
var restricted = map[string][]string{
	"github.com/aws/":              {"auth", "interop", "benchmarks", "samples", "cmd"},
	"github.com/aws/aws-sdk-go/":   {}, // the first version
	"github.com/miekg/pkcs11":      {"io/pkcs11"},
	"github.com/coder/websocket":   {"http", "iot/iottest", "interop"},
	"nhooyr.io/websocket":          {},
	"golang.org/x/net/websocket":   {},
	"github.com/mochi-mqtt/":       {"iot/iottest", "interop", "benchmarks"},
	"github.com/eclipse/paho":      {"interop", "benchmarks"},
	"software.sslmate.com/":        {"io", "interop", "samples", "cmd"},
	"github.com/fxamacker/cbor/":   {"iot", "iot/iottest", "interop"},
	"go.opentelemetry.io/":         {"mqtt5/mqttotel", "samples", "benchmarks"},
	"github.com/prometheus/":       {"samples"},
	"github.com/stretchr/testify/": {},
	"go.uber.org/goleak":           {},
}

// unreleased are the modules that nobody requires.
var unreleased = []string{"benchmarks", "interop", "policy", "samples"}

func allows(list []string, name string) bool {
	return slices.Contains(list, "*") || slices.Contains(list, name)
}

// TestArrows protects users from dependencies that they did not ask for: whoever
// requires one module gets those that the arrows lead to, and no other.
func TestArrows(t *testing.T) {
	tree := repository(t)
	for _, name := range tree.goFiles() {
		from := tree.moduleOf(name)
		if from == "" {
			t.Errorf("%s belongs to no module", name)
			continue
		}
		for _, imported := range imports(tree.parse(t, name)) {
			if to, ok := tree.sibling(imported); ok && to != from && !allows(arrows[from], to) {
				t.Errorf("%s: module %s must not import module %s (%s)", name, from, to, imported)
			}
			for prefix, who := range restricted {
				if strings.HasPrefix(imported, prefix) && !allows(who, from) {
					t.Errorf("%s: module %s must not import %s", name, from, imported)
				}
			}
			if strings.HasPrefix(imported, "github.com/google/go-cmp/") && !strings.HasSuffix(name, "_test.go") {
				t.Errorf("%s: %s is for tests", name, imported)
			}
		}
	}
}

// TestCgo protects cross-compilation and static programs: all modules but
// io/pkcs11 build without a C compiler.
func TestCgo(t *testing.T) {
	tree := repository(t)
	for _, name := range tree.goFiles() {
		if slices.Contains(imports(tree.parse(t, name)), "C") && tree.moduleOf(name) != "io/pkcs11" {
			t.Errorf("%s: cgo is for io/pkcs11 only", name)
		}
	}
	for _, name := range tree.files {
		switch filepath.Ext(name) {
		case ".c", ".h", ".s", ".S", ".syso":
			if !strings.Contains(name, "/testdata/") {
				t.Errorf("%s: only Go outside testdata", name)
			}
		}
	}
}

// TestWorkspace protects developers from a workspace that behaves differently
// from the modules that users get.
func TestWorkspace(t *testing.T) {
	tree := repository(t)
	work := tree.work
	if work.Go == nil || work.Go.Version != floor {
		t.Errorf("go.work: want go %s", floor)
	}
	if work.Toolchain != nil || len(work.Godebug) > 0 || len(work.Replace) > 0 {
		t.Error("go.work: only use-lines, so that each module is the same in the workspace and alone")
	}
	var used []string
	for _, u := range work.Use {
		used = append(used, strings.TrimPrefix(u.Path, "./"))
	}
	slices.Sort(used)
	have := slices.Sorted(slices.Values(tree.modules))
	if !slices.Equal(used, have) {
		t.Errorf("go.work uses %v, the modules are %v", used, have)
	}
	for _, m := range have {
		if _, ok := arrows[m]; !ok {
			t.Errorf("module %s: add it to the arrows of this test and to docs/architecture.md", m)
		}
	}
}

// TestGoMod protects users from a go.mod that asks for a newer Go than promised or
// for siblings of another version, and developers from modules that do not build alone.
func TestGoMod(t *testing.T) {
	tree := repository(t)
	for _, module := range tree.modules {
		t.Run(module, func(t *testing.T) {
			f := tree.goMod(t, module)
			if want := importRoot + "/" + module; f.Module.Mod.Path != want {
				t.Errorf("module path %s, want %s", f.Module.Mod.Path, want)
			}
			if f.Go == nil || f.Go.Version != floor {
				t.Errorf("want go %s", floor)
			}
			if f.Toolchain != nil || len(f.Exclude) > 0 || len(f.Tool) > 0 {
				t.Error("no toolchain, exclude or tool lines")
			}
			required := map[string]bool{}
			for _, r := range f.Require {
				to, ok := tree.sibling(r.Mod.Path)
				if !ok {
					continue
				}
				required[r.Mod.Path] = true
				if r.Mod.Version != version {
					t.Errorf("requires %s at %s, want %s", r.Mod.Path, r.Mod.Version, version)
				}
				if !r.Indirect && !allows(arrows[module], to) {
					t.Errorf("must not require %s", r.Mod.Path)
				}
			}
			for _, r := range f.Replace {
				to, ok := tree.sibling(r.Old.Path)
				if !ok || r.Old.Version != "" || r.New.Version != "" {
					t.Errorf("replaces %s: only siblings, in all versions, by folders", r.Old.Path)
					continue
				}
				want, err := filepath.Rel(module, to)
				if err != nil {
					t.Fatal(err)
				}
				want = filepath.ToSlash(want)
				if !strings.HasPrefix(want, "../") && want != ".." {
					want = "./" + want
				}
				if r.New.Path != want {
					t.Errorf("replaces %s by %s, want %s", r.Old.Path, r.New.Path, want)
				}
				if !required[r.Old.Path] {
					t.Errorf("replaces %s without requiring it", r.Old.Path)
				}
				delete(required, r.Old.Path)
			}
			if slices.Contains(installed, module) {
				if len(f.Replace) > 0 {
					t.Error("no replace lines: go install refuses them")
				}
				return
			}
			for p := range required {
				t.Errorf("requires %s without replacing it", p)
			}
		})
	}
}

// TestDirectDependenciesHaveReasons protects the module graph from additions that
// nobody weighed: it fails when a module requires something that
// docs/dependencies.md does not explain.
func TestDirectDependenciesHaveReasons(t *testing.T) {
	tree := repository(t)
	doc := string(tree.read(t, "docs/dependencies.md"))
	for _, module := range tree.modules {
		for _, r := range tree.goMod(t, module).Require {
			if _, ok := tree.sibling(r.Mod.Path); ok || r.Indirect {
				continue
			}
			if !strings.Contains(doc, "`"+r.Mod.Path+"`") {
				t.Errorf("%s requires %s, which docs/dependencies.md does not explain", module, r.Mod.Path)
			}
		}
	}
}
