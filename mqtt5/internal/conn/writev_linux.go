// SPDX-License-Identifier: Apache-2.0

package conn

import (
	"sync"
	"syscall"
	"unsafe"
)

// maxVector is how many segments one system call writes at most.
const maxVector = 64

var vectors = sync.Pool{New: func() any { return new([maxVector]syscall.Iovec) }}

// writeSegments writes as much of the segments as the socket accepts, with one
// system call. The first segment is not empty.
func writeSegments(fd int, segments [][]byte) (int, error) {
	if len(segments) == 1 {
		return syscall.Write(fd, segments[0])
	}
	v := vectors.Get().(*[maxVector]syscall.Iovec)
	count := 0
	for _, s := range segments {
		if len(s) == 0 {
			continue
		}
		v[count].Base = &s[0]
		v[count].SetLen(len(s))
		if count++; count == maxVector {
			break
		}
	}
	n, _, errno := syscall.Syscall(syscall.SYS_WRITEV, uintptr(fd), uintptr(unsafe.Pointer(v)), uintptr(count))
	clear(v[:count])
	vectors.Put(v)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}
