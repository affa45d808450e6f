// SPDX-License-Identifier: Apache-2.0

package conn

import (
	"syscall"
	"unsafe"
)

// sendQueue returns how many bytes the socket holds that the peer has not
// acknowledged.
func sendQueue(fd uintptr) (int, bool) {
	var n int32
	_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, fd, syscall.TIOCOUTQ, uintptr(unsafe.Pointer(&n))) // SIOCOUTQ
	return int(n), errno == 0
}
