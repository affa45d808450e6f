// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// clone is a repository of its own with the files of the working tree.
type clone struct {
	dir string
	env []string
}

func newClone(t *testing.T) *clone {
	t.Helper()
	if testing.Short() {
		t.Skip("builds with a module cache of its own")
	}
	tree := repository(t)
	c := &clone{dir: t.TempDir(), env: append(os.Environ(),
		"GIT_AUTHOR_NAME=test", "GIT_AUTHOR_EMAIL=test@example.com", "GIT_COMMITTER_NAME=test", "GIT_COMMITTER_EMAIL=test@example.com",
		"GIT_CONFIG_GLOBAL="+os.DevNull, "GIT_CONFIG_SYSTEM="+os.DevNull, "GOWORK=",
	)}
	for _, name := range tree.files {
		from := filepath.Join(tree.root, filepath.FromSlash(name))
		info, err := os.Stat(from)
		if os.IsNotExist(err) { // another program's temporary file
			continue
		} else if err != nil {
			t.Fatal(err)
		}
		to := filepath.Join(c.dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, tree.read(t, name), info.Mode()); err != nil {
			t.Fatal(err)
		}
	}
	c.git(t, "init", "--quiet", "--initial-branch=main")
	c.git(t, "add", "--all")
	c.git(t, "commit", "--quiet", "--message", "policy: the tree under test")
	return c
}

func (c *clone) run(name string, args ...string) (string, error) {
	cmd := exec.Command(name, args...)
	cmd.Dir, cmd.Env = c.dir, c.env
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (c *clone) git(t *testing.T, args ...string) string {
	t.Helper()
	out, err := c.run("git", args...)
	if err != nil {
		t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(out)
}

// state is all that a release may change.
func (c *clone) state(t *testing.T) string {
	t.Helper()
	return c.git(t, "rev-parse", "HEAD") + c.git(t, "tag", "--list") + c.git(t, "status", "--porcelain") + c.git(t, "worktree", "list")
}

// TestRelease protects the day of the release: the script works, in a throw-away
// repository, with a command in place of the checks, which are the tests this one
// is of. It leaves nothing behind when a step fails, and in a dry run.
func TestRelease(t *testing.T) {
	c := newClone(t)
	before := c.state(t)
	for _, bad := range []struct {
		says string
		args []string
	}{
		{"usage", nil},
		{"not a version", []string{"0.9.0"}},
		{"not a version", []string{"v2.0.0"}},
		{"unknown option", []string{"-x", "v0.9.0"}},
		{"checks failed", []string{"-checks", "false", "v0.9.0"}},
		{"changed files", []string{"-checks", "echo >>README.md", "v0.9.0"}},
	} {
		out, err := c.run("scripts/release", bad.args...)
		if err == nil || !strings.Contains(out, bad.says) {
			t.Errorf("release %q: %v, want %q\n%s", bad.args, err, bad.says, out)
		}
		if after := c.state(t); after != before {
			t.Fatalf("release %q left\n%s\nwas\n%s", bad.args, after, before)
		}
	}

	// The checks are those of the released tree, not of the one before.
	const checks = `grep -q 'io v0.9.0$' mqtt5/go.mod && cd policy && go test -count=1 -run '^(TestGoMod|TestDocsLinks)$' .`
	out, err := c.run("scripts/release", "-n", "-checks", checks, "v0.9.0")
	if err != nil || !strings.Contains(out, "dry run") || !strings.Contains(out, "and awsiot installs") {
		t.Fatalf("dry run: %v\n%s", err, out)
	}
	if after := c.state(t); after != before {
		t.Fatalf("the dry run left\n%s\nwas\n%s", after, before)
	}
	out, err = c.run("scripts/release", "-checks", "true", "v0.9.0")
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	c.released(t, out)

	again := c.state(t)
	if out, err := c.run("scripts/release", "-checks", "true", "v0.9.0"); err == nil || !strings.Contains(out, "exists") {
		t.Errorf("the same version twice: %v\n%s", err, out)
	}
	if out, err := c.run("scripts/release", "-checks", "true", "v0.9.1"); err == nil || !strings.Contains(out, "says nothing") {
		t.Errorf("a version without changes: %v\n%s", err, out)
	}
	if after := c.state(t); after != again {
		t.Errorf("the refused releases left\n%s\nwas\n%s", after, again)
	}
}

// released checks what a release of v0.9.0 that printed out has changed.
func (c *clone) released(t *testing.T, out string) {
	t.Helper()
	tree := repository(t)
	var want []string
	for _, m := range tree.modules {
		if !slices.Contains(unreleased, m) {
			want = append(want, m+"/v0.9.0")
		}
	}
	slices.Sort(want)
	if got := strings.Fields(c.git(t, "tag", "--list")); !slices.Equal(got, want) {
		t.Errorf("tags %v, want %v", got, want)
	}
	head := c.git(t, "rev-parse", "HEAD")
	var order []string
	for _, m := range regexp.MustCompile(`(?m)^tagged (.*)/v0\.9\.0$`).FindAllStringSubmatch(out, -1) {
		order = append(order, m[1])
		if at := c.git(t, "rev-parse", m[1]+"/v0.9.0^{commit}"); at != head {
			t.Errorf("%s is tagged at %s, want %s", m[1], at, head)
		}
	}
	if len(order) != len(want) {
		t.Errorf("tagged %v", order)
	}
	for i, module := range order {
		for _, r := range tree.goMod(t, module).Require {
			if to, ok := tree.sibling(r.Mod.Path); ok && !slices.Contains(order[:i], to) {
				t.Errorf("%s is tagged before %s, which it requires", module, to)
			}
		}
	}
	for name, text := range map[string]string{
		"iot/version.go": `const Version = "0.9.0"`, "docs/api/iot.txt": `const Version untyped string = "0.9.0"`,
		"iot/go.mod": importRoot + "/mqtt5 v0.9.0\n", "README.md": importRoot + "/iot@v0.9.0\n",
	} {
		if file := c.git(t, "show", "HEAD:"+name) + "\n"; !strings.Contains(file, text) {
			t.Errorf("%s does not say %q", name, text)
		}
	}
	for _, m := range tree.modules {
		if strings.Contains(c.git(t, "show", "HEAD:"+m+"/go.mod"), " "+version+"\n") && version != "v0.9.0" {
			t.Errorf("%s/go.mod still requires %s", m, version)
		}
	}
	log := c.git(t, "show", "HEAD:CHANGELOG.md")
	if !regexp.MustCompile(`(?m)^## Unreleased\n\n## v0\.9\.0 \(\d{4}-\d\d-\d\d\)\n\n\S`).MatchString(log) {
		t.Errorf("CHANGELOG.md begins with\n%s", log[:min(len(log), 600)])
	}
}

// TestBuildAwsiot protects those who download the program and want to know that
// it is what the source says: two builds, in different folders, have the same
// bytes, and the list of modules has a hash for each.
func TestBuildAwsiot(t *testing.T) {
	c := newClone(t)
	platform := goEnv(t, "GOHOSTOS", "GOHOSTARCH")
	target := platform["GOHOSTOS"] + "/" + platform["GOHOSTARCH"]
	var sums []string
	for range 2 {
		dir := t.TempDir()
		if out, err := c.run("scripts/build-awsiot", dir, target); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		data, err := os.ReadFile(filepath.Join(dir, "SHA256SUMS"))
		if err != nil {
			t.Fatal(err)
		}
		sums = append(sums, string(data))
		name := filepath.Join(dir, "awsiot_"+version+"_"+strings.ReplaceAll(target, "/", "_"))
		if out, err := exec.Command(name, "version").CombinedOutput(); err != nil || !strings.HasPrefix(string(out), "awsiot "+version+" ") {
			t.Errorf("awsiot version: %v\n%s", err, out)
		}
		modules, err := os.ReadFile(name + ".modules.txt")
		if err != nil {
			t.Fatal(err)
		}
		if !regexp.MustCompile(`(?m)^\tdep\t` + regexp.QuoteMeta(importRoot) + `/mqtt5\t` + regexp.QuoteMeta(version) + `\th1:`).Match(modules) {
			t.Errorf("the list of modules lacks mqtt5:\n%s", modules)
		}
	}
	if sums[0] != sums[1] || strings.Count(sums[0], "\n") != 2 {
		t.Errorf("the builds differ:\n%s\n%s", sums[0], sums[1])
	}
}
