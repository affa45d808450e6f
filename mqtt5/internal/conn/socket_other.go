// SPDX-License-Identifier: Apache-2.0

//go:build !unix

package conn

import (
	"net"
	"sync/atomic"
	"syscall"
)

// readSocket and writeSocket do not exist here: everything goes through net.Conn.
type (
	readSocket  struct{}
	writeSocket struct{}
)

func newSockets(net.Conn, *atomic.Int64) (*readSocket, *writeSocket, syscall.RawConn) {
	return nil, nil, nil
}

func (*readSocket) read(int) (*Buffer, error) { panic("unreachable") }

func (*readSocket) readInto([]byte) (int, error) { panic("unreachable") }

func (*writeSocket) write([][]byte) error { panic("unreachable") }

func (*writeSocket) tryWrite([]byte) int { panic("unreachable") }
