// SPDX-License-Identifier: Apache-2.0

//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd || windows)

package filestore

import (
	"errors"
	"io"
	"os"
)

// lockFile fails: without a lock two processes could ruin the store.
func lockFile(path string) (io.Closer, error) {
	return nil, &os.PathError{Op: "lock", Path: path, Err: errors.ErrUnsupported}
}

func syncDirectory(string) error { return errors.ErrUnsupported }
