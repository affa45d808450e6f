// SPDX-License-Identifier: Apache-2.0

package conn

import (
	"syscall"
	"unsafe"
)

// fionwrite is FIONWRITE of sys/filio.h, which package syscall lacks.
const fionwrite = 0x40046677

// sendQueue returns how many bytes the socket holds that the peer has not
// acknowledged.
func sendQueue(fd uintptr) (int, bool) {
	var n int32
	_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, fd, fionwrite, uintptr(unsafe.Pointer(&n)))
	return int(n), errno == 0
}
