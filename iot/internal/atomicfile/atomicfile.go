// SPDX-License-Identifier: Apache-2.0

// Package atomicfile replaces small files so that a crash or a power loss at any
// moment leaves either the old content or the new one, never a part of it.
package atomicfile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Write replaces the content of a file. When it returns nil, the content is on
// stable storage. The order of the steps carries the guarantee: the temporary
// file is synced before it gets the name, and the directory after it.
func Write(name string, data []byte, mode fs.FileMode) error {
	dir := filepath.Dir(name)
	temporary, err := writeTemporary(dir, filepath.Base(name), data, mode)
	if err == nil {
		err = os.Rename(temporary, name)
	}
	if err != nil {
		if temporary != "" {
			err = errors.Join(err, os.Remove(temporary))
		}
		return err
	}
	return SyncDir(dir)
}

// writeTemporary returns the name of the file that it made, also when it fails
// later.
func writeTemporary(dir, base string, data []byte, mode fs.FileMode) (string, error) {
	f, err := os.CreateTemp(dir, "."+base+".*.tmp") // mode 0600
	if err != nil {
		return "", err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Chmod(mode)
	}
	if err == nil {
		err = f.Sync()
	}
	return f.Name(), errors.Join(err, f.Close())
}

// Read returns the content of a file of at most limit bytes. It also removes
// temporary files that a crash during Write left beside it. The error matches
// fs.ErrNotExist only if Write could make the file: not if its directory is
// missing.
func Read(name string, limit int64) ([]byte, error) {
	removeTemporary(filepath.Dir(name), filepath.Base(name))
	f, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		dir := filepath.Dir(name)
		if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("the directory %s does not exist; make it", dir)
		}
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("%s is larger than %d bytes", name, limit)
	}
	return data, nil
}

// removeTemporary removes the files that writeTemporary made for base, and not
// those for a name that base is the beginning of. Harmless if one stays.
func removeTemporary(dir, base string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		number, ok := strings.CutPrefix(e.Name(), "."+base+".")
		if !ok {
			continue
		}
		number, ok = strings.CutSuffix(number, ".tmp")
		if ok && number != "" && strings.Trim(number, "0123456789") == "" {
			_ = os.Remove(filepath.Join(dir, e.Name()))
		}
	}
}

// Remove deletes a file durably. A file that does not exist is no error.
func Remove(name string) error {
	if err := os.Remove(name); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	return SyncDir(filepath.Dir(name))
}
