// SPDX-License-Identifier: Apache-2.0

package netwatch

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// netlink is a socket that receives changes of links and routes from the kernel.
type netlink struct {
	file *os.File
	buf  [16 << 10]byte
}

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
	// Close ends a Read.
	return &netlink{file: os.NewFile(uintptr(fd), "netlink")}, nil
}

func (n *netlink) wait() error {
	for {
		size, err := n.file.Read(n.buf[:])
		if errors.Is(err, unix.ENOBUFS) {
			return nil // messages were lost: one of them may have been what we wait for
		}
		if err != nil {
			return err
		}
		if bringsUp(n.buf[:size]) {
			return nil
		}
	}
}

func (n *netlink) close() error { return n.file.Close() }

// bringsUp reports whether one of the messages says that an interface runs, or
// that there is a default route.
func bringsUp(b []byte) bool {
	for len(b) >= unix.SizeofNlMsghdr {
		size := int(binary.NativeEndian.Uint32(b))
		if size < unix.SizeofNlMsghdr || size > len(b) {
			return false
		}
		body := b[unix.SizeofNlMsghdr:size]
		switch binary.NativeEndian.Uint16(b[4:]) {
		case unix.RTM_NEWLINK:
			if linkRuns(body) {
				return true
			}
		case unix.RTM_NEWROUTE:
			if isDefaultRoute(body) {
				return true
			}
		}
		b = b[min((size+3)&^3, len(b)):]
	}
	return false
}

// linkRuns judges an ifinfomsg: an interface other than loopback came to run.
// Changes that leave the flags alone, as those of statistics and wireless
// quality do, have no bits in its mask of changes.
func linkRuns(b []byte) bool {
	if len(b) < unix.SizeofIfInfomsg {
		return false
	}
	flags, change := binary.NativeEndian.Uint32(b[8:]), binary.NativeEndian.Uint32(b[12:])
	const running = unix.IFF_UP | unix.IFF_RUNNING
	return flags&running == running && flags&unix.IFF_LOOPBACK == 0 && change&(unix.IFF_UP|unix.IFF_RUNNING|unix.IFF_LOWER_UP) != 0
}

// isDefaultRoute judges an rtmsg: a unicast route of the main table to everywhere.
func isDefaultRoute(b []byte) bool {
	if len(b) < unix.SizeofRtMsg {
		return false
	}
	destinationBits, table, kind := b[1], b[4], b[7]
	return destinationBits == 0 && table == unix.RT_TABLE_MAIN && kind == unix.RTN_UNICAST
}
