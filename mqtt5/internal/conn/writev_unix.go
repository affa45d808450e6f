// SPDX-License-Identifier: Apache-2.0

//go:build unix && !linux

package conn

import "syscall"

// writeSegments writes as much of the first segment as the socket accepts. It is
// not empty.
func writeSegments(fd int, segments [][]byte) (int, error) {
	return syscall.Write(fd, segments[0])
}
