// SPDX-License-Identifier: Apache-2.0

//go:build !unix

package mqtt5

import "net"

// rawSocket is not available here: everything goes through net.Conn.
type rawSocket struct{}

func newRawSocket(net.Conn, func()) *rawSocket { return nil }

func (*rawSocket) read(int) ([]byte, error) { panic("unreachable") }

func (*rawSocket) readInto([]byte) (int, error) { panic("unreachable") }

func (*rawSocket) flows() bool { panic("unreachable") }

func (*rawSocket) write([]byte) int { panic("unreachable") }
