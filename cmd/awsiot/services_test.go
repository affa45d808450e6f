// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/iot/iottest"
)

func TestShadow(t *testing.T) {
	core := iottest.Start(t)
	to := target(t, core, "lamp")
	if _, errs, status := run(t, "", append([]string{"shadow", "get"}, to...)...); status != 1 || !strings.Contains(errs, "404") && !strings.Contains(strings.ToLower(errs), "no shadow") {
		t.Errorf("without a shadow: status %d, %q", status, errs)
	}
	watch := start(t, append([]string{"shadow", "watch"}, replace(target(t, core, "watcher"), "-thing", "lamp")...)...)
	watch.next(watch.errs, "watching the shadow of lamp")
	ctx := t.Context()
	if _, err := core.WaitFor(ctx, func(e iottest.Event) bool {
		return e.Type == iottest.Subscribed && strings.HasSuffix(e.Filter, "/update/documents")
	}); err != nil {
		t.Fatal(err)
	}
	out, errs, status := run(t, "", append([]string{"shadow", "update", `{"desired":{"on":true}}`}, to...)...)
	if status != 0 || !strings.Contains(out, `"on":true`) {
		t.Errorf("update: status %d, %q, %q", status, out, errs)
	}
	watch.next(watch.lines, `"on":true`)
	if out, _, _ := run(t, `{"reported":{"on":true}}`, append([]string{"shadow", "update"}, to...)...); !strings.Contains(out, `"version":2`) {
		t.Errorf("update from standard input: %q", out)
	}
	if out, _, _ := run(t, "", append([]string{"shadow", "get"}, to...)...); !strings.Contains(out, `"reported":{"on":true}`) {
		t.Errorf("get: %q", out)
	}
	if _, errs, status := run(t, "", append([]string{"shadow", "delete"}, to...)...); status != 0 || !strings.Contains(errs, "deleted at version") {
		t.Errorf("delete: status %d, %q", status, errs)
	}
	watch.end()
	for args, want := range map[string]string{"shadow": "what to do is missing", "shadow fix": `unknown action "fix"`, "shadow update {}": "neither", "shadow get -plaintext -endpoint x": "-thing is missing", "shadow get x": "unexpected"} {
		if _, errs, status := run(t, "", strings.Fields(args)...); status != 2 || !strings.Contains(errs, want) {
			t.Errorf("%s: status %d, %q", args, status, errs)
		}
	}
}

func TestJobs(t *testing.T) {
	core := iottest.Start(t)
	to := target(t, core, "worker")
	if _, err := core.CreateJob(iottest.Job{ID: "j1", Things: []string{"worker"},
		Document: `{"version":"1.0","steps":[{"action":{"name":"say","type":"runCommand","input":{"command":"echo,hello"}}}]}`}); err != nil {
		t.Fatal(err)
	}
	if out, errs, status := run(t, "", append([]string{"jobs", "list"}, to...)...); status != 0 || !strings.Contains(out, `"jobId":"j1"`) {
		t.Errorf("list: status %d, %q, %q", status, out, errs)
	}
	if out, errs, status := run(t, "", append([]string{"jobs", "describe", "j1"}, to...)...); status != 0 || !strings.Contains(out, `echo,hello`) {
		t.Errorf("describe: status %d, %q, %q", status, out, errs)
	}
	r := start(t, append([]string{"jobs", "run", "-allow", "echo", "-state", filepath.Join(t.TempDir(), "jobs.json")}, to...)...)
	r.next(r.errs, "SUCCEEDED")
	r.end()
}

// startCore runs `awsiot core`, and returns it and the environment after
// `source DIR/env`.
func startCore(t *testing.T, proxyAddr string) (c *follow, env []string) {
	t.Helper()
	dir := t.TempDir()
	c = start(t, "core", "-dir", dir, "-addr", "127.0.0.1:0", "-mtls-addr", "127.0.0.1:0", "-http", "off", "-proxy-addr", proxyAddr)
	c.next(c.lines, "source ")
	data, err := os.ReadFile(filepath.Join(dir, "env"))
	if err != nil {
		t.Fatal(err)
	}
	env = environment()
	for line := range strings.Lines(string(data)) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), "export "); ok {
			name, value, _ := strings.Cut(v, "=")
			env = append(env, name+"="+strings.Trim(value, "'"))
		}
	}
	return c, env
}

// A role alias gets its credentials through the proxy that the connection takes:
// nothing but the proxy knows the names of the core.
func TestConnect_credentialsThroughProxy(t *testing.T) {
	c, env := startCore(t, "127.0.0.1:0")
	of := func(name string) (value string) {
		for _, v := range env {
			if rest, ok := strings.CutPrefix(v, name+"="); ok {
				value = rest
			}
		}
		return value
	}
	env = append(env, "AWS_IOT_PROXY="+of("AWS_IOT_CORE_PROXY"))
	args := []string{"pub", "a/b", "x", "-method", "role-alias", "-endpoint", of("AWS_IOT_ENDPOINT_NAME"), "-port", "443",
		"-credentials-endpoint", of("AWS_IOT_CREDENTIALS_ENDPOINT_NAME")}
	if out, errs, status := runWith(t, env, "", args...); status != 0 || !strings.Contains(errs, "1 byte to a/b: acknowledged") {
		t.Errorf("status %d, %s%s", status, out, errs)
	}
	c.end()
}

// After `source DIR/env` the other commands find the core without flags.
func TestCore(t *testing.T) {
	c, env := startCore(t, "off")
	if out, errs, status := runWith(t, env, "", "doctor"); status != 0 || !strings.Contains(out, "works") {
		t.Errorf("doctor: status %d, %s%s", status, out, errs)
	}
	c.next(c.lines, "sdk/doctor/")
	c.end()

	taken := listen(t, answer(""))
	_, errs, status := run(t, "", "core", "-addr", "127.0.0.1:"+taken, "-mtls-addr", "127.0.0.1:0", "-http", "off", "-proxy-addr", "off")
	if want := fmt.Sprintf("127.0.0.1:%s is taken: choose another address with -addr", taken); status != 1 || !strings.Contains(errs, want) {
		t.Errorf("status %d, %q, want %q", status, errs, want)
	}
}

// The commands of the page about this program work as printed.
func TestGuide(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "awsiot.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(page), "\n```sh\n")
	block, _, ok := strings.Cut(rest, "\n```\n")
	if !ok {
		t.Fatal("no block of commands")
	}
	path, err := built()
	if err != nil {
		t.Fatal(err)
	}
	c, env := startCore(t, "off")
	env = append(env, "PATH="+filepath.Dir(path)+string(os.PathListSeparator)+os.Getenv("PATH"))
	for line := range strings.Lines(block) {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		cmd := exec.CommandContext(ctx, "sh", "-c", line)
		cmd.Env = env
		cmd.WaitDelay = time.Second // for what sh has started
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s%v\n%s", line, err, out)
		}
		cancel()
	}
	c.end()
}
