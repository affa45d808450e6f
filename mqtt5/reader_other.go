// SPDX-License-Identifier: Apache-2.0

//go:build !unix

package mqtt5

import "net"

// rawReader is not available here: reads go through net.Conn.
type rawReader struct{}

func newRawReader(net.Conn) *rawReader { return nil }

func (*rawReader) read(int) ([]byte, error) { panic("unreachable") }
