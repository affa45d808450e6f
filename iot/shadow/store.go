// SPDX-License-Identifier: Apache-2.0

package shadow

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Store keeps the state of a [Mirror] across restarts. Its methods are not called
// at the same time.
type Store interface {
	// Load returns what Save stored last, or nil if it never did.
	Load() ([]byte, error)
	// Save replaces the stored bytes. When it returns nil, the data survives a loss
	// of power; if it fails or the process dies, Load returns the old data or the
	// new, never a mixture.
	Save(data []byte) error
}

// FileStore is a [Store] in one file, readable for its owner only. Save writes a
// new file beside it and renames that. The folder has to exist.
type FileStore string

// Load reads the file.
func (f FileStore) Load() ([]byte, error) {
	data, err := os.ReadFile(string(f))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("shadow: read the stored state: %w", err)
	}
	return data, nil
}

// Save replaces the file.
func (f FileStore) Save(data []byte) error {
	if err := f.replace(data); err != nil {
		return fmt.Errorf("shadow: store the state: %w", err)
	}
	return nil
}

func (f FileStore) replace(data []byte) (err error) {
	folder := filepath.Dir(string(f))
	file, err := os.CreateTemp(folder, filepath.Base(string(f))+".*.tmp") // has mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(file.Name()))
		}
	}()
	_, err = file.Write(data)
	err = errors.Join(err, file.Sync(), file.Close())
	if err != nil {
		return err
	}
	if err := os.Rename(file.Name(), string(f)); err != nil {
		return err
	}
	return syncFolder(folder)
}
