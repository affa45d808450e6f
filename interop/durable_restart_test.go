// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// restartable is a mosquitto that keeps its sessions over a restart. It saves them
// when it ends, so it is asked to end: killed, it would lose what it had acknowledged.
type restartable struct {
	t       *testing.T
	path    string
	config  string
	address string
	cmd     *exec.Cmd
	exited  chan struct{}
	log     output
	starts  int
}

func startRestartable(t *testing.T) *restartable {
	t.Helper()
	b := &restartable{t: t, path: tool(t, "mosquitto")}
	dir := t.TempDir()
	port, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	b.address = fmt.Sprintf("127.0.0.1:%d", port)
	lines := []string{
		"allow_anonymous true",
		"persistence true",
		"persistence_location " + dir + "/",
		"set_tcp_nodelay true",
		"max_queued_messages 0", // no limit: none may get lost
		"log_dest stderr",
		"log_type error", "log_type warning", "log_type notice",
		fmt.Sprintf("listener %d 127.0.0.1", port),
	}
	if os.Geteuid() == 0 {
		lines = append(lines, "user root")
	}
	b.config = filepath.Join(dir, "mosquitto.conf")
	if err := os.WriteFile(b.config, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	b.start()
	t.Cleanup(func() {
		_ = b.cmd.Process.Kill()
		<-b.exited
		if t.Failed() {
			t.Logf("log of mosquitto:\n%s", b.log.String())
		}
	})
	return b
}

func (b *restartable) start() {
	cmd := exec.Command(b.path, "-c", b.config)
	cmd.Stdout, cmd.Stderr = &b.log, &b.log
	if err := cmd.Start(); err != nil {
		b.t.Fatal(err)
	}
	exited := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(exited)
	}()
	b.cmd, b.exited = cmd, exited
	b.starts++
	if err := answers(b.address, exited); err != nil {
		b.t.Fatalf("mosquitto, start %d: %v\n%s", b.starts, err, b.log.String())
	}
}

func (b *restartable) restart() {
	_ = b.cmd.Process.Signal(syscall.SIGTERM)
	<-b.exited
	b.start()
}

// TestDurable_brokerRestarts is TestDurable with a real broker, which is restarted
// while processes die and connections are cut.
func TestDurable_brokerRestarts(t *testing.T) {
	b := startRestartable(t)
	r := newRelay(t)
	address, err := r.front(b.address)
	if err != nil {
		t.Fatal(err)
	}
	cuts := 0
	runDurable(t, address, *durableRounds, func() {
		if rand.IntN(3) == 0 {
			b.restart()
			return
		}
		cuts++
		r.cut()
	})
	t.Logf("%d restarts of the broker, %d cuts", b.starts-1, cuts)
}
