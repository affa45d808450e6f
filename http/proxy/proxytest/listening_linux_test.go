// SPDX-License-Identifier: Apache-2.0

package proxytest

import (
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// A program that cannot have its port because somebody else has taken it is not
// ready, although connections to the port succeed.
func TestReady_portOfAnother(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	port := l.Addr().(*net.TCPAddr).Port
	if !listens(os.Getpid(), port) {
		t.Error("this process listens")
	}
	s := &Server{Addr: l.Addr().String(), cmd: exec.Command("sleep", "0.1"), exited: make(chan struct{})}
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { s.err = s.cmd.Wait(); close(s.exited) }()
	if err := s.ready(port); err == nil || !strings.Contains(err.Error(), "the program ended") {
		t.Errorf("got %v", err)
	}
}
