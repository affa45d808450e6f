// SPDX-License-Identifier: Apache-2.0

package socket

import (
	"math"
	"os"
	"syscall"
	"time"
)

const (
	hasUserTimeout = true
	hasInterface   = true

	tcpUserTimeout = 18 // TCP_USER_TIMEOUT of linux/tcp.h, on all architectures
)

func setUserTimeout(fd uintptr, d time.Duration) error {
	ms := min((d-1)/time.Millisecond+1, math.MaxInt32)
	return setInt(fd, syscall.IPPROTO_TCP, tcpUserTimeout, int(ms))
}

func bindToInterface(fd uintptr, _, name string) error {
	return os.NewSyscallError("setsockopt", syscall.BindToDevice(int(fd), name))
}
