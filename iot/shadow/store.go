// SPDX-License-Identifier: Apache-2.0

package shadow

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/gocrt/aws-iot-device-sdk-go/iot/internal/atomicfile"
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

// FileStore is a [Store] in one file, readable for its owner only, which is
// replaced as a whole and synced. Its directory has to exist.
type FileStore string

// maxStored is far more than any state of a mirror: the service limits shadows to
// some kilobytes.
const maxStored = 16 << 20

// Load reads the file. It fails with [ErrStore].
func (f FileStore) Load() ([]byte, error) {
	if f == "" {
		return nil, fmt.Errorf("%w: FileStore has no file name", ErrStore)
	}
	data, err := atomicfile.Read(string(f), maxStored)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrStore, err)
	}
	return data, nil
}

// Save replaces the file.
func (f FileStore) Save(data []byte) error {
	if err := atomicfile.Write(string(f), data, 0o600); err != nil {
		return fmt.Errorf("shadow: store the state: %w", err)
	}
	return nil
}
