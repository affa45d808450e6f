// SPDX-License-Identifier: Apache-2.0

package filestore

import (
	"errors"
	"os"
	"syscall"
)

// allocate reserves the space of a segment at once: later writes neither run out
// of space nor change the size, so that a sync writes data and no metadata.
func allocate(f *os.File, from, to int64) error {
	err := retry(func() error { return syscall.Fallocate(int(f.Fd()), 0, from, to-from) })
	if errors.Is(err, syscall.EOPNOTSUPP) || errors.Is(err, syscall.ENOSYS) {
		return f.Truncate(to)
	}
	if err != nil {
		return &os.PathError{Op: "allocate", Path: f.Name(), Err: err}
	}
	return nil
}

// syncData leaves out the times of the file, which would cost a write of their own.
func syncData(f *os.File) error {
	if err := retry(func() error { return syscall.Fdatasync(int(f.Fd())) }); err != nil {
		return &os.PathError{Op: "sync", Path: f.Name(), Err: err}
	}
	return nil
}

func retry(f func() error) error {
	for {
		if err := f(); err != syscall.EINTR {
			return err
		}
	}
}
