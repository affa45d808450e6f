// SPDX-License-Identifier: Apache-2.0

package netwatch

import (
	"encoding/binary"
	"os"
	"os/exec"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func message(kind uint16, body []byte) []byte {
	b := binary.NativeEndian.AppendUint32(nil, uint32(unix.SizeofNlMsghdr+len(body)))
	b = binary.NativeEndian.AppendUint16(b, kind)
	b = append(b, make([]byte, unix.SizeofNlMsghdr-len(b))...)
	return append(b, body...)
}

func link(flags, change uint32) []byte {
	b := make([]byte, 8)
	b = binary.NativeEndian.AppendUint32(b, flags)
	return message(unix.RTM_NEWLINK, binary.NativeEndian.AppendUint32(b, change))
}

func route(kind uint16, bits, table, routeKind byte) []byte {
	b := make([]byte, unix.SizeofRtMsg)
	b[0], b[1], b[4], b[7] = unix.AF_INET, bits, table, routeKind
	return message(kind, b)
}

func TestBringsUp(t *testing.T) {
	t.Parallel()
	const up = unix.IFF_UP | unix.IFF_RUNNING | unix.IFF_LOWER_UP
	for name, tt := range map[string]struct {
		b    []byte
		want bool
	}{
		"interface runs":            {link(up, up), true},
		"carrier":                   {link(up, unix.IFF_RUNNING), true},
		"behind another":            {append(link(0, up), link(up, up)...), true},
		"interface down":            {link(unix.IFF_UP, unix.IFF_RUNNING), false},
		"nothing has changed":       {link(up, 0), false},
		"loopback":                  {link(up|unix.IFF_LOOPBACK, up), false},
		"default route":             {route(unix.RTM_NEWROUTE, 0, unix.RT_TABLE_MAIN, unix.RTN_UNICAST), true},
		"default route gone":        {route(unix.RTM_DELROUTE, 0, unix.RT_TABLE_MAIN, unix.RTN_UNICAST), false},
		"route to a network":        {route(unix.RTM_NEWROUTE, 24, unix.RT_TABLE_MAIN, unix.RTN_UNICAST), false},
		"local table":               {route(unix.RTM_NEWROUTE, 0, unix.RT_TABLE_LOCAL, unix.RTN_LOCAL), false},
		"unreachable":               {route(unix.RTM_NEWROUTE, 0, unix.RT_TABLE_MAIN, unix.RTN_UNREACHABLE), false},
		"empty":                     {nil, false},
		"cut off":                   {link(up, up)[:20], false},
		"length of nothing":         {make([]byte, 64), false},
		"short body":                {message(unix.RTM_NEWLINK, []byte{1, 2}), false},
		"short body, route":         {message(unix.RTM_NEWROUTE, nil), false},
		"length beyond the message": {append([]byte{255, 255, 0, 0}, make([]byte, 60)...), false},
	} {
		if got := bringsUp(tt.b); got != tt.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// An interface that comes up in the kernel is noticed. It needs the right to make one.
func TestWatcher_kernel(t *testing.T) {
	ip, err := exec.LookPath("ip")
	if err != nil || os.Getuid() != 0 {
		t.Skip("needs the program ip and root")
	}
	w, err := New(Options{Jitter: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	up := make(chan struct{}, 16)
	w.OnUp(func() { up <- struct{}{} })
	if out, err := exec.Command(ip, "link", "add", "netwatch0", "type", "dummy").CombinedOutput(); err != nil {
		t.Skipf("cannot make an interface: %v: %s", err, out)
	}
	defer func() { _ = exec.Command(ip, "link", "del", "netwatch0").Run() }()
	if out, err := exec.Command(ip, "link", "set", "netwatch0", "up").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	select {
	case <-up:
	case <-time.After(30 * time.Second):
		t.Error("not noticed")
	}
}

// Close ends a watcher that the kernel tells nothing.
func TestWatcher_close(t *testing.T) {
	t.Parallel()
	w, err := New(Options{})
	if err != nil {
		t.Skip(err)
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
}
