// SPDX-License-Identifier: Apache-2.0

package defender_test

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"runtime"
	"slices"
	"testing"
	"testing/fstest"

	"github.com/gocrt/aws-iot-device-sdk-go/iot/defender"
)

func nativeIsBig() bool { return binary.NativeEndian.Uint16([]byte{0, 1}) == 1 }

// TestLinux_here finds a port and a connection that the test has opened.
func TestLinux_here(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("there is no /proc")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	accepted := make(chan net.Conn, 1)
	go func() {
		if c, err := l.Accept(); err == nil {
			accepted <- c
		}
	}()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	defer (<-accepted).Close()
	m, err := defender.Linux{MaxEntries: 1 << 16}.Read()
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	if !slices.ContainsFunc(m.TCPPorts.Ports, func(p defender.Port) bool { return p.Number == port }) {
		t.Errorf("port %d is not in %v", port, m.TCPPorts.Ports)
	}
	if !slices.ContainsFunc(m.Connections.Connections, func(x defender.Connection) bool { return x.Remote.String() == l.Addr().String() }) {
		t.Errorf("no connection to %v in %v", l.Addr(), m.Connections.Connections)
	}
}

// FuzzLinux reads any tables.
func FuzzLinux(f *testing.F) {
	f.Add([]byte("head\n 0: 0100007F:1F90 00000000:0000 0A\n"), []byte("eth0: 1 2 3 4 5 6 7 8 9 10\n"))
	f.Add([]byte("\n:::\n"), []byte(":"))
	f.Fuzz(func(t *testing.T, table, dev []byte) {
		_, err := defender.Linux{Proc: fstest.MapFS{"net/tcp": {Data: table}, "net/udp": {Data: table}, "net/dev": {Data: dev}}}.Read()
		if err != nil && !errors.Is(err, defender.ErrMetrics) {
			t.Error(err)
		}
	})
}

// FuzzAnswer gives any payload as the rejection of a report.
func FuzzAnswer(f *testing.F) {
	f.Add([]byte(`{"statusDetails":{"ErrorCode":"Throttled"}}`), false)
	f.Add([]byte{0xa1, 0x61, 'x', 0x9f, 0xff}, true)
	f.Fuzz(func(t *testing.T, payload []byte, cbor bool) {
		o := defender.Options{Read: func() (*defender.Metrics, error) { return full(), nil }}
		if cbor {
			o.Format = defender.CBOR
		}
		r, s := newReporter(t, o)
		s.reject = func(int) (string, string) { return "/rejected", string(payload) }
		_, err := r.Report(context.Background())
		var rejected *defender.RejectedError
		if !errors.As(err, &rejected) || rejected.Code == "" {
			t.Error(err)
		}
	})
}
