// SPDX-License-Identifier: Apache-2.0

// Package statefile keeps the records of a program in a file across restarts.
package statefile

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"

	"github.com/gocrt/aws-iot-device-sdk-go/iot/internal/atomicfile"
)

const (
	version = 1
	maxSize = 16 << 20
)

// File holds records of type R for one owner, such as a thing. Without a name it
// keeps nothing. Its methods may be called from any goroutine.
type File[R any] struct {
	name, owner string

	// writing is held, by its one value, while the file is written. The content
	// is taken after that, so that the last write has the newest.
	writing chan struct{}
}

type content[R any] struct {
	Version int    `json:"version"`
	Owner   string `json:"owner"`
	Records []R    `json:"records"`
}

// Open reads the records of the file, if it exists.
func Open[R any](name, owner string) (*File[R], []R, error) {
	f := &File[R]{name: name, owner: owner, writing: make(chan struct{}, 1)}
	if name == "" {
		return f, nil, nil
	}
	data, err := atomicfile.Read(name, maxSize)
	if errors.Is(err, fs.ErrNotExist) {
		return f, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	var c content[R]
	if err := json.Unmarshal(data, &c); err != nil {
		return nil, nil, fmt.Errorf("%s is damaged: %w; to begin without what it remembers, move it away", name, err)
	}
	if c.Version != version {
		return nil, nil, fmt.Errorf("%s has version %d, want %d", name, c.Version, version)
	}
	if c.Owner != owner {
		return nil, nil, fmt.Errorf("%s belongs to %q, not to %q", name, c.Owner, owner)
	}
	return f, c.Records, nil
}

// Save replaces the content, and returns when it is on stable storage. records
// is called when it is the turn of this call; what it returns does not change
// while Save runs.
func (f *File[R]) Save(records func() []R) error {
	if f.name == "" {
		return nil
	}
	f.writing <- struct{}{}
	defer func() { <-f.writing }()
	data, err := json.Marshal(content[R]{version, f.owner, records()})
	if err != nil {
		return err
	}
	return atomicfile.Write(f.name, data, 0o600)
}
