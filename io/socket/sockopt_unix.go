// SPDX-License-Identifier: Apache-2.0

//go:build unix

package socket

import (
	"errors"
	"os"
	"syscall"
)

const hasBuffers = true

func setSendBuffer(fd uintptr, bytes int) error {
	return setInt(fd, syscall.SOL_SOCKET, syscall.SO_SNDBUF, bytes)
}

func setReceiveBuffer(fd uintptr, bytes int) error {
	return setInt(fd, syscall.SOL_SOCKET, syscall.SO_RCVBUF, bytes)
}

func setInt(fd uintptr, level, option, value int) error {
	return os.NewSyscallError("setsockopt", syscall.SetsockoptInt(int(fd), level, option, value))
}

// isNoOption reports whether the system does not know the option.
func isNoOption(err error) bool { return errors.Is(err, syscall.ENOPROTOOPT) }
