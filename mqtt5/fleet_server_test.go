// SPDX-License-Identifier: Apache-2.0

package mqtt5_test

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"sync"
	"testing"
)

// roleVariable makes the test binary another program than the tests.
const roleVariable = "MQTT5_TEST_ROLE"

func TestMain(m *testing.M) {
	if os.Getenv(roleVariable) == "server" {
		serveFleet(os.Stdin, os.Stdout)
		return
	}
	os.Exit(m.Run())
}

// fleetServer is a server in a process of its own, so that goroutines, memory
// and files of this one are those of the clients.
type fleetServer struct {
	addr     string
	commands io.Writer
}

func startFleetServer(t *testing.T) *fleetServer {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), roleVariable+"=server")
	cmd.Stderr = os.Stderr
	commands, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = commands.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("server: %v", err)
		}
	})
	s := &fleetServer{commands: commands}
	if _, err := fmt.Fscanln(out, &s.addr); err != nil {
		t.Fatalf("the server tells no address: %v", err)
	}
	return s
}

// cut ends all connections with a reset.
func (s *fleetServer) cut(t *testing.T) {
	t.Helper()
	if _, err := io.WriteString(s.commands, "cut\n"); err != nil {
		t.Fatal(err)
	}
}

// serveFleet accepts clients until there are no more commands.
func serveFleet(commands io.Reader, out io.Writer) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Fprintln(out, listener.Addr())
	var mu sync.Mutex
	conns := map[*net.TCPConn]struct{}{}
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
			tcp := conn.(*net.TCPConn)
			mu.Lock()
			conns[tcp] = struct{}{}
			mu.Unlock()
			go func() {
				answerAll(tcp)
				mu.Lock()
				delete(conns, tcp)
				mu.Unlock()
				_ = tcp.Close()
			}()
		}
	}()
	for lines := bufio.NewScanner(commands); lines.Scan(); {
		mu.Lock()
		for c := range conns {
			_ = c.SetLinger(0)
			_ = c.Close()
		}
		mu.Unlock()
	}
}

// answerAll gives each packet its plainest answer until the connection ends.
func answerAll(conn net.Conn) {
	in := bufio.NewReaderSize(conn, 64)
	var body []byte
	for {
		first, err := in.ReadByte()
		if err != nil {
			return
		}
		length, err := binary.ReadUvarint(in) // the encoding is that of Remaining Length
		if err != nil {
			return
		}
		body = append(body[:0], make([]byte, length)...)
		if _, err := io.ReadFull(in, body); err != nil {
			return
		}
		var reply []byte
		switch first >> 4 {
		case 1: // CONNECT
			reply = []byte{0x20, 3, 0, 0, 0}
		case 3: // PUBLISH
			if first&0x06 != 0 {
				topic := binary.BigEndian.Uint16(body)
				reply = append([]byte{0x40, 2}, body[2+topic:4+topic]...)
			}
		case 12: // PINGREQ
			reply = []byte{0xD0, 0}
		}
		if _, err := conn.Write(reply); err != nil {
			return
		}
	}
}
