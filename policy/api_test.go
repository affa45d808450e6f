// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gocrt/aws-iot-device-sdk-go/policy/api"
)

var update = flag.Bool("update", false, "write the exported API of the modules to docs/api")

// TestAPI protects users from changes of the API that nobody meant: the exported
// API of each released module is in docs/api, and a change of it is in the diff
// that a reviewer reads. With -update the test writes the files.
func TestAPI(t *testing.T) {
	tree := repository(t)
	want := map[string]bool{}
	for _, module := range tree.modules {
		if slices.Contains(unreleased, module) {
			continue
		}
		name := "docs/api/" + strings.ReplaceAll(module, "/", "-") + ".txt"
		now, err := api.Read(filepath.Join(tree.root, filepath.FromSlash(module)))
		if err != nil {
			// The others may say why: the change that this module does not compile with.
			t.Error(err)
			want[name] = true
			continue
		}
		if now == "" { // programs only
			continue
		}
		want[name] = true
		if *update {
			write(t, filepath.Join(tree.root, filepath.FromSlash(name)), now)
			continue
		}
		if !tree.exists(name) {
			t.Errorf("module %s has no %s; write it with go test -run TestAPI -update in policy", module, name)
			continue
		}
		for _, c := range api.Compare(string(tree.read(t, name)), now) {
			t.Errorf("%s\n\tif it is meant, run go test -run TestAPI -update in policy, and tell users in CHANGELOG.md", c)
		}
	}
	files, err := filepath.Glob(filepath.Join(tree.root, "docs", "api", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if name := "docs/api/" + filepath.Base(file); !want[name] {
			if *update {
				if err := os.Remove(file); err != nil {
					t.Fatal(err)
				}
				continue
			}
			t.Errorf("%s is of no module", name)
		}
	}
}
