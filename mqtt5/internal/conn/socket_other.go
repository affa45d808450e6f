// SPDX-License-Identifier: Apache-2.0

//go:build !unix

package conn

import (
	"net"
	"sync/atomic"
	"syscall"
)

// socket does not exist here: everything goes through net.Conn.
type socket struct {
	raw   syscall.RawConn
	waits atomic.Bool
}

func newSocket(net.Conn, *atomic.Int64) *socket { return nil }

func (*socket) read(int) (*Buffer, error) { panic("unreachable") }

func (*socket) readInto([]byte) (int, error) { panic("unreachable") }

func (*socket) write([][]byte) error { panic("unreachable") }

func (*socket) tryWrite([]byte) int { panic("unreachable") }
