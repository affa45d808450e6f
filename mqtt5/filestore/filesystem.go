// SPDX-License-Identifier: Apache-2.0

package filestore

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
)

// fileSystem is one directory. Tests replace it to lose and tear what was not
// synced.
type fileSystem interface {
	// Lock keeps other users of the directory out until the result is closed.
	Lock() (io.Closer, error)
	// List returns the names of all files.
	List() ([]string, error)
	// Create makes a file that must not exist. It lasts after SyncDirectory.
	Create(name string) (file, error)
	// Open opens a file for reading and writing.
	Open(name string) (file, error)
	Remove(name string) error
	SyncDirectory() error
}

// file is an open file of a fileSystem. ReadAt and WriteAt may be called
// concurrently.
type file interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	Size() (int64, error)
	// Truncate sets the size.
	Truncate(size int64) error
	// Allocate reserves space up to size, which becomes the size of the file,
	// and fills it with zeros. It does not shrink the file.
	Allocate(size int64) error
	// Sync returns when the content of the file, and its size, are on the disk.
	Sync() error
}

// lockName is the file that [fileSystem.Lock] locks. It stays when the store is
// closed: a lock file that is removed could be locked twice.
const lockName = "lock"

// directory is the fileSystem of the operating system.
type directory string

func openDirectory(path string) (directory, error) {
	return directory(path), makeDirectory(path, syncDirectory)
}

// makeDirectory makes a directory, and those above it that do not exist. Their
// entries have to last, too: a store that nobody finds after a crash is lost.
func makeDirectory(path string, sync func(string) error) error {
	path = filepath.Clean(path)
	made := []string{path} // perhaps by a process that was killed before it synced
	for dir := filepath.Dir(path); dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
			break
		}
		made = append(made, dir)
	}
	if err := os.MkdirAll(path, 0o700); err != nil {
		return err
	}
	for _, dir := range slices.Backward(made) {
		if err := sync(filepath.Dir(dir)); err != nil && !errors.Is(err, os.ErrPermission) {
			return err
		}
	}
	return nil
}

func (d directory) Lock() (io.Closer, error) { return lockFile(filepath.Join(string(d), lockName)) }

func (d directory) List() ([]string, error) {
	entries, err := os.ReadDir(string(d))
	if err != nil {
		return nil, err
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	return names, nil
}

func (d directory) open(name string, flag int) (file, error) {
	f, err := os.OpenFile(filepath.Join(string(d), name), os.O_RDWR|flag, 0o600)
	if err != nil {
		return nil, err
	}
	return &diskFile{f}, nil
}

func (d directory) Create(name string) (file, error) { return d.open(name, os.O_CREATE|os.O_EXCL) }

func (d directory) Open(name string) (file, error) { return d.open(name, 0) }

func (d directory) Remove(name string) error { return os.Remove(filepath.Join(string(d), name)) }

func (d directory) SyncDirectory() error { return syncDirectory(string(d)) }

// diskFile is a file of the operating system.
type diskFile struct{ *os.File }

func (f *diskFile) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

func (f *diskFile) Allocate(size int64) error {
	have, err := f.Size()
	if err != nil || have >= size {
		return err
	}
	return allocate(f.File, have, size)
}

func (f *diskFile) Sync() error { return syncData(f.File) }
