// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gocrt/aws-iot-device-sdk-go/policy/modproxy"
)

// consumer is a program somewhere else that needs MQTT and nothing of AWS.
const consumer = `package main

import (
	"fmt"

	"` + importRoot + `/mqtt5"
)

func main() {
	_, err := mqtt5.NewClient(mqtt5.ClientOptions{})
	fmt.Println(err)
}
`

// foreign are parts of the paths of modules that a user of mqtt5 must not get
// into the module graph: not even unused, since scanners and go.sum show them.
var foreign = []string{
	"github.com/aws/", "websocket", "pkcs11", "mochi", "bbolt", "opentelemetry",
	importRoot + "/http", importRoot + "/auth", importRoot + "/iot",
}

// TestConsumer protects users from what only works inside the repository: modules
// that do not build from their packed form, replacements, and foreign modules in
// the graph of somebody who needs MQTT only.
func TestConsumer(t *testing.T) {
	if testing.Short() {
		t.Skip("builds with a module cache of its own")
	}
	tmp := t.TempDir()
	dir := filepath.Join(tmp, "consumer")
	write(t, filepath.Join(dir, "main.go"), consumer)
	write(t, filepath.Join(dir, "go.mod"), "module example.com/consumer\n\ngo "+floor+"\n\nrequire "+importRoot+"/mqtt5 "+version+"\n")

	environ := outside(t, tmp)
	run := func(args ...string) string {
		t.Helper()
		cmd := exec.Command("go", args...)
		cmd.Dir = dir
		cmd.Env = environ
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, out)
		}
		return string(out)
	}
	run("mod", "tidy")
	graph := run("list", "-m", "all")
	run("vet", "./...")
	run("build", "-o", filepath.Join(tmp, "consumer.bin"), ".")

	if !strings.Contains(graph, importRoot+"/mqtt5 "+version+"\n") {
		t.Errorf("the module graph lacks mqtt5 itself:\n%s", graph)
	}
	for line := range strings.Lines(graph) {
		if strings.Contains(line, "=>") {
			t.Errorf("a replacement reached the consumer: %s", line)
		}
		for _, f := range foreign {
			if strings.Contains(line, f) {
				t.Errorf("the module graph of a user of mqtt5 has %s", line)
			}
		}
	}
	if t.Failed() {
		t.Log(run("mod", "graph"))
	}
}

// outside packs the modules as they would be published, and returns the
// environment of somebody who gets them from there.
func outside(t *testing.T, tmp string) []string {
	t.Helper()
	tree := repository(t)
	proxy := filepath.Join(tmp, "proxy")
	var dirs []string
	for _, m := range tree.modules {
		if slices.Contains(unreleased, m) {
			continue
		}
		dirs = append(dirs, filepath.Join(tree.root, filepath.FromSlash(m)))
	}
	if err := modproxy.Pack(proxy, version, dirs...); err != nil {
		t.Fatal(err)
	}
	env := goEnv(t, "GOMODCACHE", "GOPROXY")
	// A cache of its own: in the one of the user the version would stay, and
	// shadow the real one. What others publish comes from the cache of the user
	// if it is there.
	published := "file://" + filepath.ToSlash(filepath.Join(env["GOMODCACHE"], "cache", "download"))
	return append(os.Environ(),
		"GOWORK=off",
		"GOFLAGS=-modcacherw -buildvcs=false",
		"GOMODCACHE="+filepath.Join(tmp, "modcache"),
		"GOPROXY=file://"+filepath.ToSlash(proxy)+","+published+","+env["GOPROXY"],
		"GONOSUMDB="+importRoot+"/*",
		"GOPRIVATE=", "GONOPROXY=",
	)
}

// TestInstall protects the command of the README: the program installs by its
// path and version, as it will once it is published.
func TestInstall(t *testing.T) {
	if testing.Short() {
		t.Skip("builds with a module cache of its own")
	}
	tmp := t.TempDir()
	bin := filepath.Join(tmp, "bin")
	cmd := exec.Command("go", "install", "-trimpath", importRoot+"/cmd/awsiot@"+version)
	cmd.Dir = tmp
	cmd.Env = append(outside(t, tmp), "GOBIN="+bin, "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go install: %v\n%s", err, out)
	}
	out, err := exec.Command(filepath.Join(bin, "awsiot"), "version").CombinedOutput()
	if err != nil || !strings.HasPrefix(string(out), "awsiot "+version+" ") {
		t.Errorf("awsiot version: %s%v", out, err)
	}
}

// goEnv returns settings of the go command.
func goEnv(t *testing.T, names ...string) map[string]string {
	t.Helper()
	out, err := exec.Command("go", append([]string{"env"}, names...)...).Output()
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]string{}
	lines := strings.Split(string(out), "\n")
	for i, name := range names {
		values[name] = strings.TrimSpace(lines[i])
	}
	return values
}

func write(t *testing.T, name, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}
