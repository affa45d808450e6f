// SPDX-License-Identifier: Apache-2.0

package socket

import (
	"context"
	"errors"
	"net"
	"os"
	"runtime/debug"
	"sync"
	"syscall"
	"testing"
	"time"
)

// option reads an option back from the socket.
func option(t *testing.T, conn net.Conn, level, name int) int {
	t.Helper()
	raw, err := conn.(syscall.Conn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var value int
	var failed error
	if err := raw.Control(func(fd uintptr) { value, failed = syscall.GetsockoptInt(int(fd), level, name) }); err != nil || failed != nil {
		t.Fatal(err, failed)
	}
	return value
}

func dialLoopback(t *testing.T, d *Dialer) net.Conn {
	t.Helper()
	conn, err := d.DialContext(context.Background(), "tcp", listen(t, "tcp", "127.0.0.1:0"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	echo(t, conn)
	return conn
}

func TestOptions_onTheSocket(t *testing.T) {
	plain := dialLoopback(t, new(Dialer))
	systemIdle := option(t, plain, syscall.IPPROTO_TCP, syscall.TCP_KEEPIDLE)
	systemInterval := option(t, plain, syscall.IPPROTO_TCP, syscall.TCP_KEEPINTVL)
	systemProbes := option(t, plain, syscall.IPPROTO_TCP, syscall.TCP_KEEPCNT)

	for _, test := range []struct {
		name          string
		dialer        *Dialer
		level, option int
		want          int
	}{
		{"no delay by default", new(Dialer), syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1},
		{"delay", &Dialer{DisableNoDelay: true}, syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 0},
		{"keep-alive is off by default", new(Dialer), syscall.SOL_SOCKET, syscall.SO_KEEPALIVE, 0},
		{"keep-alive fields without Enable", &Dialer{KeepAlive: KeepAlive{Idle: time.Second}}, syscall.SOL_SOCKET, syscall.SO_KEEPALIVE, 0},
		{"keep-alive", &Dialer{KeepAlive: KeepAlive{Enable: true}}, syscall.SOL_SOCKET, syscall.SO_KEEPALIVE, 1},
		{"system's idle", &Dialer{KeepAlive: KeepAlive{Enable: true}}, syscall.IPPROTO_TCP, syscall.TCP_KEEPIDLE, systemIdle},
		{"system's interval", &Dialer{KeepAlive: KeepAlive{Enable: true}}, syscall.IPPROTO_TCP, syscall.TCP_KEEPINTVL, systemInterval},
		{"system's probes", &Dialer{KeepAlive: KeepAlive{Enable: true}}, syscall.IPPROTO_TCP, syscall.TCP_KEEPCNT, systemProbes},
		{"idle", &Dialer{KeepAlive: KeepAlive{Enable: true, Idle: 61500 * time.Millisecond}}, syscall.IPPROTO_TCP, syscall.TCP_KEEPIDLE, 62},
		{"interval", &Dialer{KeepAlive: KeepAlive{Enable: true, Interval: 7 * time.Second}}, syscall.IPPROTO_TCP, syscall.TCP_KEEPINTVL, 7},
		{"probes", &Dialer{KeepAlive: KeepAlive{Enable: true, Probes: 4}}, syscall.IPPROTO_TCP, syscall.TCP_KEEPCNT, 4},
		{"system's user timeout", new(Dialer), syscall.IPPROTO_TCP, tcpUserTimeout, 0},
		{"user timeout", &Dialer{UserTimeout: 20*time.Second + 1}, syscall.IPPROTO_TCP, tcpUserTimeout, 20001},
		// The kernel doubles the sizes.
		{"send buffer", &Dialer{SendBuffer: 20000}, syscall.SOL_SOCKET, syscall.SO_SNDBUF, 40000},
		{"receive buffer", &Dialer{ReceiveBuffer: 30000}, syscall.SOL_SOCKET, syscall.SO_RCVBUF, 60000},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := option(t, dialLoopback(t, test.dialer), test.level, test.option); got != test.want {
				t.Errorf("got %d, want %d", got, test.want)
			}
		})
	}
}

func TestOptions_unixBuffers(t *testing.T) {
	path := t.TempDir() + "/s"
	listen(t, "unix", path)
	conn, err := (&Dialer{SendBuffer: 20000}).DialContext(context.Background(), "unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if n := option(t, conn, syscall.SOL_SOCKET, syscall.SO_SNDBUF); n != 40000 {
		t.Error(n)
	}
}

func TestOptions_interface(t *testing.T) {
	const soBindToIfindex = 62 // SO_BINDTOIFINDEX
	lo, err := net.InterfaceByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	if got := option(t, dialLoopback(t, &Dialer{Interface: "lo"}), syscall.SOL_SOCKET, soBindToIfindex); got != lo.Index {
		t.Errorf("bound to interface %d, want %d", got, lo.Index)
	}

	_, err = (&Dialer{Interface: "no-such-if0"}).DialContext(context.Background(), "tcp", listen(t, "tcp", "127.0.0.1:0"))
	var o *OptionError
	var e *ConnectError
	if !errors.As(err, &o) || o.Option != "Interface" || !errors.As(err, &e) || !errors.Is(err, syscall.ENODEV) {
		t.Errorf("%T %v", err, err)
	}
}

// TestNoLeaks dials many times with every outcome and looks at the rest.
func TestNoLeaks(t *testing.T) {
	files := func() int {
		entries, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	good, bad := listen(t, "tcp", "127.0.0.1:0"), refusing(t)
	_, port, _ := net.SplitHostPort(good)
	d := &Dialer{Resolver: dns(nil, []string{"127.0.0.2", "127.0.0.1", "127.0.0.3"})}
	warm, err := d.DialContext(context.Background(), "tcp", good)
	if err != nil {
		t.Fatal(err)
	}
	defer warm.Close()
	echo(t, warm)
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // the collector would close what is forgotten
	before := files()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range 60 {
				ctx, cancel := context.WithCancel(context.Background())
				address := []string{good, bad, host + ":" + port}[i%3]
				if i%4 == 0 {
					go cancel() // at any moment
				}
				if conn, err := d.DialContext(ctx, "tcp", address); err == nil {
					conn.Close()
				}
				cancel()
			}
		})
	}
	wg.Wait()
	// Losers and the server's ends close by themselves, soon; a leak does not go away.
	for range 20_000 {
		if files() <= before {
			return
		}
		echo(t, warm)
	}
	t.Errorf("%d files are open, %d before", files(), before)
}

func TestOptionError_optionUnknownToTheSystem(t *testing.T) {
	if err := optionError("KeepAlive", syscall.ENOPROTOOPT); !errors.Is(err, ErrUnsupported) || !errors.Is(err, syscall.ENOPROTOOPT) {
		t.Error(err)
	}
}
