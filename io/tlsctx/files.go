// SPDX-License-Identifier: Apache-2.0

package tlsctx

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// maxFileSize bounds the bytes read from one file. The bundles of all public
// CAs are around 250 KB.
const maxFileSize = 4 << 20

// settleTime is how long a modification time must lie back before an unchanged
// stamp is trusted: two writes within the resolution of a file system's clock
// leave the same stamp.
const settleTime = 2 * time.Second

// stamp identifies the version of a file that was read.
type stamp struct {
	name    string
	info    fs.FileInfo
	settled bool
}

func (s stamp) same(now stamp) bool {
	return s.settled && s.name == now.name && s.info.Size() == now.info.Size() &&
		s.info.ModTime().Equal(now.info.ModTime()) && os.SameFile(s.info, now.info)
}

// fileCache keeps what was parsed from a set of files until one of them
// changes. Failures are not kept.
type fileCache[T any] struct {
	// list returns the files of the moment.
	list func() ([]string, error)
	// parse makes the value from the contents, which are in the order of the names.
	parse func(names []string, contents [][]byte) (T, error)
	// lenient passes over files that cannot be read: their contents are empty.
	lenient bool

	mu      sync.Mutex
	stamps  []stamp
	value   T
	version uint64 // 0: nothing kept
}

// load returns the value and a number that changes whenever the value was parsed anew.
func (c *fileCache[T]) load() (T, uint64, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var zero T
	names, err := c.list()
	if err != nil {
		return zero, 0, err
	}
	// The stamps are taken before the contents are read: a write in between
	// shows at the next load.
	stamps := make([]stamp, len(names))
	unchanged := c.version > 0 && len(names) == len(c.stamps)
	var missing []error
	for i, name := range names {
		info, err := os.Stat(name)
		if err != nil && c.lenient {
			unchanged = false // it was removed since it was listed
			continue
		}
		if err != nil {
			missing = append(missing, fileError(name, err))
			continue
		}
		stamps[i] = stamp{name: name, info: info, settled: time.Since(info.ModTime()) > settleTime}
		unchanged = unchanged && c.stamps[i].same(stamps[i])
	}
	switch len(missing) {
	case 0:
	case 1:
		return zero, 0, missing[0]
	default:
		return zero, 0, errors.Join(missing...)
	}
	if unchanged {
		return c.value, c.version, nil
	}
	contents := make([][]byte, len(names))
	for i, name := range names {
		if contents[i], err = readFile(name); err != nil && !c.lenient {
			return zero, 0, err
		}
	}
	value, err := c.parse(names, contents)
	if err != nil {
		return zero, 0, err
	}
	c.value, c.stamps = value, stamps
	c.version++
	return value, c.version, nil
}

// fixedFiles is the list of a cache whose files never change their names.
func fixedFiles(names ...string) func() ([]string, error) {
	return func() ([]string, error) { return names, nil }
}

// filesIn is the list of all files of a directory.
func filesIn(dir string) func() ([]string, error) {
	return func() ([]string, error) {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return nil, fileError(dir, err)
		}
		var names []string
		for _, e := range entries {
			name := filepath.Join(dir, e.Name())
			// Stat follows links; a dangling one and whatever is no plain file
			// are passed over.
			if info, err := os.Stat(name); err == nil && info.Mode().IsRegular() {
				names = append(names, name)
			}
		}
		return names, nil
	}
}

// readFile reads a plain file of sensible size.
func readFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fileError(name, err)
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil {
		return nil, fileError(name, err)
	} else if info.IsDir() {
		return nil, &Error{Object: name, Err: errors.New("it is a directory"), Hint: "give the name of a file"}
	}
	data, err := io.ReadAll(io.LimitReader(f, maxFileSize+1))
	if err != nil {
		return nil, fileError(name, err)
	}
	if len(data) > maxFileSize {
		return nil, &Error{Object: name, Err: fmt.Errorf("it is larger than %d MiB", maxFileSize>>20),
			Hint: "this is no certificate or key"}
	}
	return data, nil
}

// fileError words a failed file operation once, without the name that Object
// already gives.
func fileError(name string, err error) error {
	e := &Error{Object: name, Err: err}
	if pe := (*fs.PathError)(nil); errors.As(err, &pe) && pe.Path == name {
		e.Err = pe.Err
	}
	switch {
	case name == "":
		e.Object, e.Err, e.Hint = "", errors.New("the name of a file is empty"), "give a path"
	case errors.Is(err, fs.ErrNotExist):
		e.Hint = "check the path"
		if !filepath.IsAbs(name) {
			if wd, werr := os.Getwd(); werr == nil {
				e.Hint = "check the path, which is relative to " + wd
			}
		}
	case errors.Is(err, fs.ErrPermission):
		e.Hint = "the user of this process must be allowed to read it"
	}
	return e
}
