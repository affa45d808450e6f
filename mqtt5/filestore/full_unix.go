// SPDX-License-Identifier: Apache-2.0

//go:build unix

package filestore

import (
	"errors"
	"syscall"
)

// outOfSpace reports whether an error says that the disk or the quota is full.
func outOfSpace(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// readOnly reports whether an error says that writing is not possible here.
func readOnly(err error) bool {
	return errors.Is(err, syscall.EROFS) || errors.Is(err, syscall.EACCES) || errors.Is(err, syscall.EPERM)
}
