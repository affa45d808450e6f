// SPDX-License-Identifier: Apache-2.0

package conn

import "syscall"

// sendQueue returns how many bytes the socket holds that the peer has not
// acknowledged.
func sendQueue(fd uintptr) (int, bool) {
	n, err := syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_NWRITE)
	return n, err == nil
}
