// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// certificateOnly is the program of somebody who connects with a certificate.
const certificateOnly = `package main

import "` + importRoot + `/iot"

func main() {
	client, err := iot.NewMTLSFromPath("abc123-ats.iot.eu-west-1.amazonaws.com", "device.pem.crt", "private.pem.key")
	if err != nil {
		panic(err)
	}
	_ = client.Start()
}
`

// Users pay for what they use: these are the packages outside the standard
// library, and the bytes of a stripped program for linux/amd64, that a program
// may have which connects with a certificate.
const (
	maxPackages = 30
	maxProgram  = 6_650_000
)

// TestWeight_certificateOnly protects small devices from a program that grows
// unnoticed.
func TestWeight_certificateOnly(t *testing.T) {
	tree := repository(t)
	dir := filepath.Join(tree.root, "samples") // the module that may import anything
	src := filepath.Join(t.TempDir(), "main.go")
	write(t, src, certificateOnly)
	run := func(args ...string) string {
		t.Helper()
		cmd := exec.Command("go", args...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "GOOS=linux", "GOARCH=amd64", "CGO_ENABLED=0")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, out)
		}
		return string(out)
	}
	packages := strings.Fields(run("list", "-deps", "-f", "{{if not .Standard}}{{.ImportPath}}{{end}}", src))
	packages = slices.DeleteFunc(packages, func(p string) bool { return p == "command-line-arguments" })
	for _, p := range packages {
		for _, unwanted := range []string{"github.com/aws/", "pkcs11", "auth/credentials", "golang.org/x/net"} {
			if strings.Contains(p, unwanted) {
				t.Errorf("a program that connects with a certificate compiles %s", p)
			}
		}
	}
	if len(packages) > maxPackages {
		t.Errorf("%d packages outside the standard library, want at most %d:\n%s", len(packages), maxPackages, strings.Join(packages, "\n"))
	}
	t.Logf("%d packages outside the standard library", len(packages))

	bin := filepath.Join(t.TempDir(), "program")
	run("build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", bin, src)
	info, err := os.Stat(bin)
	if err != nil {
		t.Fatal(err)
	}
	if info.Size() > maxProgram {
		t.Errorf("a stripped program has %d bytes, want at most %d", info.Size(), maxProgram)
	}
	t.Logf("%d bytes", info.Size())
}
