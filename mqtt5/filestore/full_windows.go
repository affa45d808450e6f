// SPDX-License-Identifier: Apache-2.0

package filestore

import (
	"errors"
	"os"
	"syscall"
)

// The error codes of Windows that the syscall package does not name.
const (
	errWriteProtect   syscall.Errno = 19  // ERROR_WRITE_PROTECT
	errHandleDiskFull syscall.Errno = 39  // ERROR_HANDLE_DISK_FULL
	errDiskFull       syscall.Errno = 112 // ERROR_DISK_FULL
)

// outOfSpace reports whether an error says that the disk is full.
func outOfSpace(err error) bool {
	return errors.Is(err, errDiskFull) || errors.Is(err, errHandleDiskFull)
}

// readOnly reports whether an error says that writing is not possible here.
func readOnly(err error) bool {
	return errors.Is(err, errWriteProtect) || errors.Is(err, os.ErrPermission)
}
