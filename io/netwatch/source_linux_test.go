// SPDX-License-Identifier: Apache-2.0

package netwatch

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"os/exec"
	"runtime"
	"strings"
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

// link is a message about the interface 7. The kernel leaves the mask of changes
// empty when the carrier comes.
func link(kind uint16, flags uint32) []byte {
	b := binary.NativeEndian.AppendUint32(make([]byte, 4), 7)
	b = binary.NativeEndian.AppendUint32(b, flags)
	return message(kind, binary.NativeEndian.AppendUint32(b, 0))
}

func route(kind uint16, bits, table, routeKind byte) []byte {
	b := make([]byte, unix.SizeofRtMsg)
	b[0], b[1], b[4], b[7] = unix.AF_INET, bits, table, routeKind
	return message(kind, b)
}

func TestBringsUp(t *testing.T) {
	t.Parallel()
	const up = unix.IFF_UP | unix.IFF_RUNNING | unix.IFF_LOWER_UP
	newLink := func(flags uint32) []byte { return link(unix.RTM_NEWLINK, flags) }
	gone := link(unix.RTM_DELLINK, 0)
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	for name, tt := range map[string]struct {
		runs bool // interface 7 runs before
		b    []byte
		want bool
	}{
		"interface runs":            {false, newLink(up), true},
		"nothing has changed":       {true, newLink(up), false},
		"up without carrier":        {false, newLink(unix.IFF_UP | unix.IFF_LOWER_UP), false},
		"carrier":                   {false, join(newLink(unix.IFF_UP), newLink(up)), true},
		"carrier lost":              {true, newLink(unix.IFF_UP), false},
		"carrier lost and back":     {true, join(newLink(unix.IFF_UP), newLink(up)), true},
		"back, then lost":           {false, join(newLink(up), newLink(0)), true},
		"removed":                   {true, gone, false},
		"removed and made again":    {true, join(gone, newLink(up)), true},
		"loopback":                  {false, newLink(up | unix.IFF_LOOPBACK), false},
		"default route":             {true, route(unix.RTM_NEWROUTE, 0, unix.RT_TABLE_MAIN, unix.RTN_UNICAST), true},
		"default route gone":        {true, route(unix.RTM_DELROUTE, 0, unix.RT_TABLE_MAIN, unix.RTN_UNICAST), false},
		"route to a network":        {true, route(unix.RTM_NEWROUTE, 24, unix.RT_TABLE_MAIN, unix.RTN_UNICAST), false},
		"local table":               {true, route(unix.RTM_NEWROUTE, 0, unix.RT_TABLE_LOCAL, unix.RTN_LOCAL), false},
		"unreachable":               {true, route(unix.RTM_NEWROUTE, 0, unix.RT_TABLE_MAIN, unix.RTN_UNREACHABLE), false},
		"empty":                     {false, nil, false},
		"cut off":                   {false, newLink(up)[:20], false},
		"cut off behind another":    {false, join(newLink(up), newLink(up)[:20]), true},
		"length of nothing":         {false, make([]byte, 64), false},
		"short body":                {false, message(unix.RTM_NEWLINK, []byte{1, 2}), false},
		"short body, removed":       {true, message(unix.RTM_DELLINK, []byte{1, 2}), false},
		"short body, route":         {false, message(unix.RTM_NEWROUTE, nil), false},
		"length beyond the message": {false, append([]byte{255, 255, 0, 0}, make([]byte, 60)...), false},
	} {
		l := links{}
		if tt.runs {
			l[7] = true
		}
		if got := l.bringsUp(tt.b); got != tt.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// An interface and a default route that come up in the kernel are noticed. They
// are made in a network namespace of their own, so that nobody else sees them.
func TestWatcher_kernel(t *testing.T) {
	ip, err := exec.LookPath("ip")
	if err != nil {
		if os.Getenv("CI") != "" || os.Getenv("SDK_TEST_REQUIRE_TOOLS") != "" {
			t.Fatal("ip is not installed")
		}
		t.Skip("NOT TESTED: ip is not installed")
	}
	// The namespace is that of the thread, which is never unlocked: it ends with
	// the test.
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET); errors.Is(err, unix.EPERM) {
		t.Skip("NOT TESTED: a network namespace needs the capability CAP_SYS_ADMIN")
	} else if err != nil {
		t.Fatal(err)
	}
	w, err := New(Options{Jitter: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	up := make(chan struct{}, 16)
	w.OnUp(func() { up <- struct{}{} })
	for _, event := range []string{
		"link add netwatch0 type veth peer name netwatch1, link set netwatch1 up, link set netwatch0 up",
		"route add default dev netwatch0",
	} {
		for len(up) > 0 {
			<-up
		}
		for _, command := range strings.Split(event, ", ") {
			if out, err := exec.Command(ip, strings.Fields(command)...).CombinedOutput(); err != nil {
				t.Fatalf("ip %s: %v: %s", command, err, out)
			}
		}
		select {
		case <-up:
		case <-time.After(30 * time.Second):
			t.Errorf("%s: not noticed", event)
		}
	}
}

// Close ends a watcher that gets nothing from the kernel.
func TestWatcher_close(t *testing.T) {
	t.Parallel()
	w, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
}
