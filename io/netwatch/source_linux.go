// SPDX-License-Identifier: Apache-2.0

package netwatch

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// netlink is a socket that receives changes of links and routes from the kernel.
type netlink struct {
	file  *os.File
	buf   [16 << 10]byte
	links links // used by wait alone
}

// links holds the indexes of the interfaces that run. A message about an
// interface has its state. Its mask of changes is empty when the carrier comes,
// which is the usual way to come up, so the state before has to be known.
type links map[int32]bool

func newSource() (source, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("netwatch: open netlink: %w", err)
	}
	const groups = unix.RTMGRP_LINK | unix.RTMGRP_IPV4_ROUTE | unix.RTMGRP_IPV6_ROUTE
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: groups}); err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("netwatch: bind netlink: %w", err)
	}
	// A file in non-blocking mode waits in the poller of the runtime, so that
	// Close ends a Read. The interfaces are listed after the socket listens, so that
	// no change is missed.
	return &netlink{file: os.NewFile(uintptr(fd), "netlink"), links: runningLinks()}, nil
}

// runningLinks lists the interfaces that run. If that fails the first message
// about each counts as news.
func runningLinks() links {
	l := links{}
	interfaces, _ := net.Interfaces()
	for _, i := range interfaces {
		if i.Flags&net.FlagRunning != 0 {
			l[int32(i.Index)] = true
		}
	}
	return l
}

func (n *netlink) wait() error {
	for {
		size, err := n.file.Read(n.buf[:])
		if errors.Is(err, unix.ENOBUFS) {
			n.links = runningLinks()
			return nil // messages were lost: one of them may have been what we wait for
		}
		if err != nil {
			return err
		}
		if n.links.bringsUp(n.buf[:size]) {
			return nil
		}
	}
}

func (n *netlink) close() error { return n.file.Close() }

// bringsUp reports whether one of the messages says that an interface has come
// to run, or that there is a default route.
func (l links) bringsUp(b []byte) bool {
	up := false
	for len(b) >= unix.SizeofNlMsghdr {
		size := int(binary.NativeEndian.Uint32(b))
		if size < unix.SizeofNlMsghdr || size > len(b) {
			break
		}
		body := b[unix.SizeofNlMsghdr:size]
		switch binary.NativeEndian.Uint16(b[4:]) {
		case unix.RTM_NEWLINK:
			up = l.change(body) || up
		case unix.RTM_DELLINK:
			l.remove(body)
		case unix.RTM_NEWROUTE:
			up = isDefaultRoute(body) || up
		}
		b = b[min((size+3)&^3, len(b)):]
	}
	return up
}

// change takes over the state of an interface from its ifinfomsg, and reports
// whether it has come to run. Loopback does not count. Messages about
// statistics and wireless quality change nothing.
func (l links) change(b []byte) bool {
	if len(b) < unix.SizeofIfInfomsg {
		return false
	}
	index, flags := int32(binary.NativeEndian.Uint32(b[4:])), binary.NativeEndian.Uint32(b[8:])
	const running = unix.IFF_UP | unix.IFF_RUNNING
	if flags&running != running || flags&unix.IFF_LOOPBACK != 0 {
		delete(l, index)
		return false
	}
	known := l[index]
	l[index] = true
	return !known
}

func (l links) remove(b []byte) {
	if len(b) >= unix.SizeofIfInfomsg && b[0] == unix.AF_UNSPEC { // not one that leaves a bridge
		delete(l, int32(binary.NativeEndian.Uint32(b[4:])))
	}
}

// isDefaultRoute judges an rtmsg: a unicast route of the main table to everywhere.
func isDefaultRoute(b []byte) bool {
	if len(b) < unix.SizeofRtMsg {
		return false
	}
	destinationBits, table, kind := b[1], b[4], b[7]
	return destinationBits == 0 && table == unix.RT_TABLE_MAIN && kind == unix.RTN_UNICAST
}
