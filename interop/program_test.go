// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// program is a broker to run.
type program struct {
	path        string
	arguments   []string
	environment []string // nil: that of the test
	addresses   []string // on which it will listen
	pid         int      // once it runs
}

// startProgram runs a broker until the end of the test. configure is called
// once for each attempt.
func startProgram(t *testing.T, name string, configure func() (*program, error)) {
	t.Helper()
	const attempts = 3 // another process may take a free port before the program does
	var err error
	for range attempts {
		var p *program
		if p, err = configure(); err == nil {
			if err = p.run(t, name); err == nil {
				return
			}
		}
	}
	t.Fatalf("%s does not start: %v", name, err)
}

func (p *program) run(t *testing.T, name string) error {
	var log output
	cmd := exec.Command(p.path, p.arguments...)
	cmd.Env = p.environment
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		return err
	}
	p.pid = cmd.Process.Pid
	exited := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(exited)
	}()
	stop := func() {
		_ = cmd.Process.Kill()
		<-exited
	}
	for _, address := range p.addresses {
		if err := answers(address, exited); err != nil {
			stop()
			return fmt.Errorf("%w\n%s", err, log.String())
		}
	}
	t.Cleanup(func() {
		stop()
		if t.Failed() {
			t.Logf("log of %s:\n%s", name, log.String())
		}
	})
	return nil
}

// answers waits until a program accepts connections.
func answers(address string, exited <-chan struct{}) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-exited:
			return errors.New("the program ended")
		case <-deadline:
			return err
		case <-tick.C:
		}
	}
}

// tool finds a program, also where the PATH of a user does not lead.
func tool(t *testing.T, name string) string {
	t.Helper()
	for _, dir := range []string{"", "/usr/sbin", "/usr/local/sbin", "/opt/homebrew/sbin"} {
		if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return path
		}
	}
	missing(t, name)
	return ""
}

// missing ends a test that needs a program that is not there.
func missing(t *testing.T, name string) {
	t.Helper()
	if os.Getenv("CI") != "" || os.Getenv("SDK_TEST_REQUIRE_TOOLS") != "" {
		t.Fatalf("the program %s is not installed", name)
	}
	t.Skipf("NOT TESTED: the program %s is not installed", name)
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	return l.Addr().(*net.TCPAddr).Port, l.Close()
}

// output is what a program writes, bounded.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.buf.Len() < 1<<20 {
		o.buf.Write(p)
	}
	return len(p), nil
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}
