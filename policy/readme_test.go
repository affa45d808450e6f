// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"bufio"
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// readme is the program of the README.
func (tr *tree) readme(t *testing.T) string {
	t.Helper()
	i := slices.IndexFunc(tr.blocks(t, "README.md"), func(b block) bool { return strings.HasPrefix(b.text, "package main") })
	if i < 0 {
		t.Fatal("README.md has no program")
	}
	return tr.blocks(t, "README.md")[i].text
}

// TestReadme protects the first five minutes of a new user. It runs the program
// of the README: against an embedded AWS IoT Core it prints its message; with
// an endpoint that is none it says so at once.
func TestReadme(t *testing.T) {
	if testing.Short() {
		t.Skip("builds and runs programs")
	}
	tree := repository(t)
	program := tree.readme(t)
	bin, dir := t.TempDir(), t.TempDir()
	awsiot := filepath.Join(bin, "awsiot"+exe())
	tree.build(t, nil, "build", "-o", awsiot, "./cmd/awsiot")
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	core := exec.CommandContext(ctx, awsiot, "core", "-dir", dir, "-addr", "127.0.0.1:0", "-mtls-addr", "127.0.0.1:0", "-http", "off", "-proxy-addr", "off")
	out, err := core.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := core.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = core.Process.Kill()
		_ = core.Wait()
	}()
	for lines := bufio.NewScanner(out); lines.Scan() && !strings.HasPrefix(lines.Text(), "source "); {
	}
	go func() {
		for lines := bufio.NewScanner(out); lines.Scan(); {
		}
	}()
	env, err := os.ReadFile(filepath.Join(dir, "env"))
	if err != nil {
		t.Fatal(err)
	}
	value := func(name string) string {
		m := regexp.MustCompile(`(?m)^export ` + name + `='?([^'\n]*)`).FindSubmatch(env)
		if m == nil {
			t.Fatalf("the core says no %s:\n%s", name, env)
		}
		return string(m[1])
	}

	// As printed, but for the endpoint, and what leads to the core.
	const printed = `"abc123-ats.iot.eu-west-1.amazonaws.com", "device.pem.crt", "private.pem.key",`
	if strings.Count(program, printed) != 1 {
		t.Fatalf("the program has not the line %s", printed)
	}
	try := func(name, with string) (stdout, stderr string, err error) {
		path := filepath.Join(bin, name+exe())
		tree.build(t, map[string]string{"samples/readme/main.go": strings.Replace(program, printed, with, 1)}, "build", "-o", path, "./samples/readme")
		cmd := exec.CommandContext(ctx, path)
		cmd.Dir = t.TempDir()
		for from, to := range map[string]string{value("AWS_IOT_CERT"): "device.pem.crt", value("AWS_IOT_KEY"): "private.pem.key", value("AWS_IOT_CA"): "ca.pem"} {
			data, err := os.ReadFile(from)
			if err != nil {
				t.Fatal(err)
			}
			write(t, filepath.Join(cmd.Dir, to), string(data))
		}
		var o, e bytes.Buffer
		cmd.Stdout, cmd.Stderr = &o, &e
		err = cmd.Run()
		return o.String(), e.String(), err
	}
	stdout, stderr, err := try("works", `"localhost", "device.pem.crt", "private.pem.key", iot.WithCAFile("ca.pem"), iot.WithPort(`+value("AWS_IOT_PORT")+`),`)
	if err != nil || stdout != "hello/world: hello\n" {
		t.Errorf("against the core: %v\n%s%s", err, stdout, stderr)
	}
	stdout, stderr, err = try("fails", `"localhost", "device.pem.crt", "private.pem.key", iot.WithPort(1),`)
	if err == nil || stdout != "" || !strings.Contains(stderr, "refused") || !strings.Contains(stderr, "check endpoint, port and firewalls") {
		t.Errorf("with a wrong endpoint: %v\n%s%s", err, stdout, stderr)
	}
}

// TestErrorsByText protects those who search for the text they see. It wants
// each text of the table in docs/errors.md to be one that the SDK, or the
// standard library below it, really says.
func TestErrorsByText(t *testing.T) {
	tree := repository(t)
	doc := string(tree.read(t, "docs/errors.md"))
	_, section, _ := strings.Cut(doc, "## Find an error by its text")
	section, _, _ = strings.Cut(section, "\n## ")
	rows := regexp.MustCompile("(?m)^\\| `([^`]+)`").FindAllStringSubmatch(section, -1)
	if len(rows) < 14 {
		t.Fatalf("the table has %d rows", len(rows))
	}
	var said strings.Builder
	for _, name := range tree.goFiles() {
		if !strings.HasSuffix(name, "_test.go") && !strings.HasPrefix(name, "policy/") {
			said.Write(tree.read(t, name))
		}
	}
	goroot, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"crypto/tls", "crypto/x509", "context", "internal/poll", "net", "syscall"} {
		files, err := filepath.Glob(filepath.Join(strings.TrimSpace(string(goroot)), "src", dir, "*.go"))
		if err != nil || len(files) == 0 {
			t.Fatalf("the standard library is not there: %v", err)
		}
		for _, f := range files {
			data, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			said.Write(data)
		}
	}
	text := said.String()
	for _, r := range rows {
		if !strings.Contains(text, r[1]) {
			t.Errorf("nothing says %q", r[1])
		}
	}
	for _, fragment := range []string{
		"unknown authority", "bad certificate", "certificate required", "first record does not look like", "handshake timed out", "connection refused",
		"no such host", "requires authentication", "refused the upgrade", "instead of answering CONNECT", "malformed packet", "reserved flag bits",
		"outcome unknown", "not sent",
	} {
		if !strings.Contains(section, fragment) {
			t.Errorf("the table lacks %q", fragment)
		}
	}
}
