// SPDX-License-Identifier: Apache-2.0

//go:build !unix

package conn

import (
	"net"
	"sync/atomic"
)

// readSocket and writeSocket do not exist here: everything goes through net.Conn.
type (
	readSocket  struct{}
	writeSocket struct{}
)

func newReadSocket(net.Conn) *readSocket { return nil }

func (*readSocket) read(int) (*Buffer, error) { panic("unreachable") }

func (*readSocket) readInto([]byte) (int, error) { panic("unreachable") }

func newWriteSocket(net.Conn, *atomic.Int64) *writeSocket { return nil }

func (*writeSocket) write([][]byte) error { panic("unreachable") }

func (*writeSocket) tryWrite([]byte) int { panic("unreachable") }
