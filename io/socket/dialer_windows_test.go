// SPDX-License-Identifier: Apache-2.0

package socket

import (
	"context"
	"errors"
	"net"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/windows"
)

// errRefused is what the system says when nobody listens. It is not
// syscall.ECONNREFUSED, which Go invented.
const errRefused = windows.WSAECONNREFUSED

func TestOptions_onTheSocket(t *testing.T) {
	for _, test := range []struct {
		name          string
		dialer        *Dialer
		level, option int
		want          int
	}{
		{"no delay by default", new(Dialer), windows.IPPROTO_TCP, windows.TCP_NODELAY, 1},
		{"delay", &Dialer{DisableNoDelay: true}, windows.IPPROTO_TCP, windows.TCP_NODELAY, 0},
		{"keep-alive is off by default", new(Dialer), windows.SOL_SOCKET, windows.SO_KEEPALIVE, 0},
		{"keep-alive", &Dialer{KeepAlive: KeepAlive{Enable: true, Idle: time.Minute, Interval: time.Second, Probes: 4}}, windows.SOL_SOCKET, windows.SO_KEEPALIVE, 1},
		{"send buffer", &Dialer{SendBuffer: 20000}, windows.SOL_SOCKET, windows.SO_SNDBUF, 20000},
		{"receive buffer", &Dialer{ReceiveBuffer: 30000}, windows.SOL_SOCKET, windows.SO_RCVBUF, 30000},
	} {
		t.Run(test.name, func(t *testing.T) {
			conn, err := test.dialer.DialContext(context.Background(), "tcp", listen(t, "tcp", "127.0.0.1:0"))
			var o *OptionError
			if errors.Is(err, ErrUnsupported) && errors.As(err, &o) && o.Option == "KeepAlive" {
				t.Log(err) // Wine and old releases of Windows lack the times of keep-alive, and say so
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if got := option(t, conn, test.level, test.option); got != test.want {
				t.Errorf("got %d, want %d", got, test.want)
			}
		})
	}
}

// option reads an option back from the socket.
func option(t *testing.T, conn net.Conn, level, name int) int {
	t.Helper()
	raw, err := conn.(syscall.Conn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var value int
	var failed error
	if err := raw.Control(func(fd uintptr) { value, failed = windows.GetsockoptInt(windows.Handle(fd), level, name) }); err != nil || failed != nil {
		t.Fatal(err, failed)
	}
	return value
}
