// SPDX-License-Identifier: Apache-2.0

package socket

import (
	"context"
	"errors"
	"io"
	"math"
	"net"
	"net/netip"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// listen starts a server on loopback that sends back what it receives.
func listen(t *testing.T, network, address string) string {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				// Hidden from io.Copy, which would keep pipes to splice with.
				io.Copy(struct{ io.Writer }{conn}, struct{ io.Reader }{conn})
			}()
		}
	}()
	return l.Addr().String()
}

// echo checks that the connection works.
func echo(t *testing.T, conn net.Conn) {
	t.Helper()
	if _, err := conn.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 5)
	if _, err := io.ReadFull(conn, got); err != nil || string(got) != "hello" {
		t.Fatalf("%q %v", got, err)
	}
}

// refusing returns a loopback address on which nobody listens.
func refusing(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func TestDialContext_loopback(t *testing.T) {
	address := listen(t, "tcp", "127.0.0.1:0")
	_, port, _ := net.SplitHostPort(address)
	for _, a := range []string{address, "localhost:" + port, "[::ffff:127.0.0.1]:" + port} {
		ctx, cancel := context.WithCancel(context.Background())
		conn, err := new(Dialer).DialContext(ctx, "tcp", a)
		cancel() // has no effect on the connection
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := conn.(*net.TCPConn); !ok {
			t.Errorf("%T", conn)
		}
		echo(t, conn)
		conn.Close()
	}
}

func TestDialContext_realRace(t *testing.T) {
	address := listen(t, "tcp", "127.0.0.1:0")
	_, port, _ := net.SplitHostPort(address)
	// Nobody listens on the other addresses of the loopback network.
	d := &Dialer{Resolver: dns(nil, []string{"127.0.0.2", "127.0.0.3", "127.0.0.1"})}
	if runtime.GOOS != "linux" {
		d.Resolver = dns(nil, []string{"127.0.0.1"})
	}
	conn, err := d.DialContext(context.Background(), "tcp", host+":"+port)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	echo(t, conn)
}

func TestDialContext_refused(t *testing.T) {
	address := refusing(t)
	_, err := new(Dialer).DialContext(context.Background(), "tcp", address)
	var e *ConnectError
	if !errors.As(err, &e) || !errors.Is(err, errRefused) || e.Timeout() {
		t.Fatalf("%T %v", err, err)
	}
	if want := "socket: connecting to " + address + ": connection refused"; err.Error() != want && runtime.GOOS != "windows" {
		t.Errorf("got  %s\nwant %s", err, want)
	}
}

func TestDialContext_localAddress(t *testing.T) {
	conn, err := (&Dialer{LocalAddress: netip.MustParseAddr("127.0.0.1")}).DialContext(context.Background(), "tcp", listen(t, "tcp", "127.0.0.1:0"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if h, _, _ := net.SplitHostPort(conn.LocalAddr().String()); h != "127.0.0.1" {
		t.Error(conn.LocalAddr())
	}

	_, err = (&Dialer{LocalAddress: netip.MustParseAddr("192.0.2.1")}).DialContext(context.Background(), "tcp", listen(t, "tcp", "127.0.0.1:0"))
	var e *ConnectError
	if !errors.As(err, &e) {
		t.Errorf("an address that is not ours: %v", err)
	}
}

func TestDialContext_unix(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	listen(t, "unix", path)
	d := &Dialer{SendBuffer: 1 << 16, ReceiveBuffer: 1 << 16}
	conn, err := d.DialContext(context.Background(), "unix", path)
	if err != nil {
		t.Fatal(err)
	}
	echo(t, conn)
	conn.Close()

	_, err = d.DialContext(context.Background(), "unix", path+"-missing")
	var e *ConnectError
	if !errors.As(err, &e) || e.Stage() != "Unix" || !errors.Is(err, syscall.ENOENT) && runtime.GOOS != "windows" {
		t.Errorf("%T %v", err, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err = d.DialContext(ctx, "unix", path); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}

	full := Dialer{
		Family: IPv4, LocalAddress: netip.MustParseAddr("127.0.0.1"), KeepAlive: KeepAlive{Enable: true}, DisableNoDelay: true,
	}
	_, err = full.DialContext(context.Background(), "unix", path)
	var o *OptionError
	if !errors.As(err, &o) || !errors.Is(err, ErrUnsupported) || !errors.Is(err, errors.ErrUnsupported) {
		t.Fatalf("%T %v", err, err)
	}
	for _, option := range []string{"Family", "LocalAddress", "KeepAlive", "DisableNoDelay"} {
		if !strings.Contains(err.Error(), "socket: "+option+": ") {
			t.Errorf("%s is missing in: %v", option, err)
		}
	}
}

func TestDialContext_unixTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &Dialer{connect: func(ctx context.Context, _, _ string) (net.Conn, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}}
		start := time.Now()
		_, err := d.DialContext(context.Background(), "unix", "/run/broker")
		if took := time.Since(start); took != DefaultConnectTimeout || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v after %v", err, took)
		}
		if want := "socket: connecting to /run/broker: no connection within 10s"; err.Error() != want {
			t.Errorf("got  %s\nwant %s", err, want)
		}
	})
}

func TestDialContext_invalidAddresses(t *testing.T) {
	for _, test := range []struct {
		dialer           *Dialer
		network, address string
		want             string
	}{
		{&Dialer{}, "udp", "127.0.0.1:1", "unknown network"},
		{&Dialer{}, "tcp", "", "want host:port"},
		{&Dialer{}, "tcp", "localhost", "want host:port"},
		{&Dialer{}, "tcp", "::1:8883", "want host:port"},
		{&Dialer{}, "tcp", ":8883", "missing host"},
		{&Dialer{}, "tcp", "localhost:", "unknown port"},
		{&Dialer{}, "tcp", "localhost:0", "unknown port"},
		{&Dialer{}, "tcp", "localhost:65536", "unknown port"},
		{&Dialer{}, "tcp", "localhost:no-such-service", "unknown port"},
		{&Dialer{}, "tcp4", "[::1]:1", "not an IPv4 address"},
		{&Dialer{}, "tcp6", "127.0.0.1:1", "not an IPv6 address"},
		{&Dialer{Family: IPv6}, "tcp", "127.0.0.1:1", "not an IPv6 address"},
		{&Dialer{Family: IPv6}, "tcp4", host + ":1", "restricted to IPv6"},
		{&Dialer{Family: IPv4}, "tcp6", host + ":1", "restricted to IPv4"},
		{&Dialer{LocalAddress: netip.MustParseAddr("::1")}, "tcp4", host + ":1", "restricted to IPv6"},
		{&Dialer{}, "unix", "", "missing path"},
	} {
		_, err := test.dialer.DialContext(context.Background(), test.network, test.address)
		if !errors.Is(err, ErrInvalidAddress) || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s %q: %v", test.network, test.address, err)
		}
	}
}

func TestDialContext_networkRestrictsFamily(t *testing.T) {
	for network, want := range map[string]string{"tcp4": v4a + ":8883", "tcp6": "[" + v6a + "]:8883"} {
		fake := newFakeNet(map[string]peer{v6a: {}, v4a: {}})
		d := &Dialer{Resolver: dns([]string{v6a}, []string{v4a}), connect: fake.connect}
		conn, err := d.DialContext(context.Background(), network, host+":8883")
		if err != nil {
			t.Fatal(err)
		}
		conn.Close()
		if to := conn.(*fakeConn).to; to != want {
			t.Errorf("%s: connected to %s", network, to)
		}
	}
}

func TestDialContext_serviceName(t *testing.T) {
	fake := newFakeNet(map[string]peer{v4a: {}})
	conn, err := (&Dialer{connect: fake.connect}).DialContext(context.Background(), "tcp", v4a+":https")
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	if to := conn.(*fakeConn).to; to != v4a+":443" {
		t.Error(to)
	}
}

func TestDialContext_control(t *testing.T) {
	refusal := errors.New("not this one")
	address := listen(t, "tcp", "127.0.0.1:0")
	var saw string
	d := &Dialer{Control: func(network, address string, c syscall.RawConn) error {
		saw = network + " " + address
		return refusal
	}}
	_, err := d.DialContext(context.Background(), "tcp", address)
	if !errors.Is(err, refusal) || saw != "tcp4 "+address {
		t.Errorf("%q %v", saw, err)
	}
}

func TestValidate(t *testing.T) {
	bad := Dialer{
		ConnectTimeout: -1, ResolveTimeout: -1, AttemptDelay: 9 * time.Millisecond, Family: 3,
		KeepAlive: KeepAlive{Idle: -1, Interval: -1, Probes: -1}, UserTimeout: -1, SendBuffer: -1, ReceiveBuffer: -1,
	}
	err := bad.Validate()
	if !errors.Is(err, ErrInvalidOptions) {
		t.Fatal(err)
	}
	for _, option := range []string{
		"ConnectTimeout", "ResolveTimeout", "AttemptDelay", "Family", "KeepAlive.Idle", "KeepAlive.Interval", "KeepAlive.Probes",
		"UserTimeout", "SendBuffer", "ReceiveBuffer",
	} {
		if !strings.Contains(err.Error(), "socket: "+option+": ") {
			t.Errorf("%s is missing in: %v", option, err)
		}
	}
	if _, dialErr := bad.DialContext(context.Background(), "tcp", "127.0.0.1:1"); dialErr == nil || dialErr.Error() != err.Error() {
		t.Errorf("DialContext: %v", dialErr)
	}
	// Sockets take 32 bits: more would come out as less.
	if strconv.IntSize == 64 {
		large := Dialer{SendBuffer: math.MaxInt, ReceiveBuffer: math.MaxInt}
		if err := large.Validate(); !errors.Is(err, ErrInvalidOptions) || strings.Count(err.Error(), "2 GiB") != 2 {
			t.Errorf("large buffers: %v", err)
		}
	}
	if err := new(Dialer).Validate(); err != nil {
		t.Error(err)
	}
	platform := Dialer{UserTimeout: time.Second, Interface: "lo"}
	if err := platform.Validate(); (err == nil) != (hasUserTimeout && hasInterface) || err != nil && !errors.Is(err, ErrUnsupported) {
		t.Errorf("on %s: %v", runtime.GOOS, err)
	}
}

func TestFamily_string(t *testing.T) {
	for f, want := range map[Family]string{AnyFamily: "any", IPv4: "IPv4", IPv6: "IPv6", 9: "Family(9)"} {
		if f.String() != want {
			t.Errorf("%q, want %q", f, want)
		}
	}
}
