// SPDX-License-Identifier: Apache-2.0

//go:build unix

package proxytest

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Config says how a proxy is to behave. The zero value is an open proxy. Each
// Start function documents what it supports, and fails the test for anything else.
type Config struct {
	// Username and Password are required of clients if Username is not empty.
	Username, Password string
	// TLS makes the proxy speak TLS on its port, with a certificate for
	// 127.0.0.1, localhost and proxy.test that Server.RootCAs verifies.
	TLS bool
	// Refuse lists host names to which the proxy opens no tunnels.
	Refuse []string
	// Hosts maps names that only the proxy can resolve to addresses.
	Hosts map[string]string
}

// Server is a running proxy.
type Server struct {
	// Program is the name of the program.
	Program string
	// Addr is the host:port on which the proxy listens.
	Addr string
	// RootCAs verifies the certificate of the proxy, with Config.TLS.
	RootCAs *x509.CertPool

	scheme string
	config Config
	dir    string
	cmd    *exec.Cmd
	exited chan struct{}
	err    error
}

// URL returns the address of the proxy as a URL, with user name and password
// where the proxy requires them.
func (s *Server) URL() string {
	u := url.URL{Scheme: s.scheme, Host: s.Addr}
	if s.config.Username != "" {
		u.User = url.UserPassword(s.config.Username, s.config.Password)
	}
	return u.String()
}

// Log returns what the proxy has written to its logs so far.
func (s *Server) Log() string {
	var b strings.Builder
	for _, name := range []string{"output", "cache.log", "access.log"} {
		if text, err := os.ReadFile(filepath.Join(s.dir, name)); err == nil && len(text) > 0 {
			fmt.Fprintf(&b, "--- %s\n%s", name, text)
		}
	}
	return b.String()
}

// Stop ends the proxy and all tunnels through it. It is called at the end of
// the test anyway.
func (s *Server) Stop() {
	if s.cmd == nil || s.cmd.Process == nil {
		return
	}
	// The program leads a process group of its own, so this ends its helpers
	// too and nothing else.
	select {
	case <-s.exited:
	default:
		_ = syscall.Kill(-s.cmd.Process.Pid, syscall.SIGKILL)
		<-s.exited
	}
}

const attempts = 3

// program describes how to run a proxy.
type program struct {
	name   string
	scheme string
	// write puts the configuration for a port in dir and returns the arguments.
	write func(s *Server, port int) (args []string, err error)
}

// start runs a program until the end of the test. Another process may take
// the free port in between, so it tries again.
func start(t testing.TB, p program, c Config) *Server {
	t.Helper()
	path := tool(t, p.name)
	var err error
	for range attempts {
		s := &Server{Program: p.name, scheme: p.scheme, config: c, exited: make(chan struct{})}
		if s.dir, err = os.MkdirTemp("", "proxytest-"+p.name+"-"); err != nil {
			break
		}
		t.Cleanup(func() { _ = os.RemoveAll(s.dir) })
		if err = s.run(t, path, p); err == nil {
			t.Cleanup(func() {
				s.Stop()
				if t.Failed() {
					t.Logf("log of %s:\n%s", p.name, s.Log())
				}
			})
			return s
		}
		s.Stop()
		err = fmt.Errorf("%w\n%s", err, s.Log())
	}
	t.Fatalf("proxytest: %s does not start: %v", p.name, err)
	return nil
}

func (s *Server) run(t testing.TB, path string, p program) error {
	t.Helper()
	// The programs may give up root, and then still need the directory.
	if err := os.Chmod(s.dir, 0o777); err != nil { //nolint:gosec // see above
		return err
	}
	port, err := freePort()
	if err != nil {
		return err
	}
	s.Addr = net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	if s.config.TLS {
		if err := s.writeCertificates(); err != nil {
			return err
		}
	}
	args, err := p.write(s, port)
	if err != nil {
		return err
	}
	out, err := os.Create(filepath.Join(s.dir, "output"))
	if err != nil {
		return err
	}
	defer func() { _ = out.Close() }()
	s.cmd = exec.Command(path, args...)
	s.cmd.Dir = s.dir
	s.cmd.Stdout, s.cmd.Stderr = out, out
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := s.cmd.Start(); err != nil {
		return err
	}
	go func() {
		s.err = s.cmd.Wait()
		close(s.exited)
	}()
	return s.ready(port)
}

// ready waits until the proxy accepts connections.
func (s *Server) ready(port int) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for range 1500 {
		conn, err := net.Dial("tcp", s.Addr)
		if err == nil {
			_ = conn.Close()
			if listens(s.cmd.Process.Pid, port) {
				return nil
			}
			err = errors.New("another program listens on the port")
		}
		select {
		case <-s.exited:
			return fmt.Errorf("the program ended: %w", errors.Join(s.err, err))
		case <-tick.C:
		}
	}
	return errors.New("the program does not listen")
}

// tool finds a program, also where the PATH of a user does not lead.
func tool(t testing.TB, name string) string {
	t.Helper()
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	for _, dir := range []string{"/usr/sbin", "/usr/local/sbin", "/sbin"} {
		if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return path
		}
	}
	if os.Getenv("CI") != "" || os.Getenv("SDK_TEST_REQUIRE_TOOLS") != "" {
		t.Fatalf("proxytest: the program %s is not installed", name)
	}
	t.Skipf("proxytest: NOT TESTED: the program %s is not installed", name)
	return ""
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	port := l.Addr().(*net.TCPAddr).Port
	return port, l.Close()
}

// file writes a file that the program can read, and returns its path.
func (s *Server) file(name string, lines ...string) (string, error) {
	path := filepath.Join(s.dir, name)
	return path, os.WriteFile(path, []byte(strings.Join(lines, "\n")+"\n"), 0o644) //nolint:gosec // the program may run as another user
}
