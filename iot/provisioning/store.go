// SPDX-License-Identifier: Apache-2.0

package provisioning

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/iot/internal/atomicfile"
)

// Phase is how far a device has come.
type Phase string

// The phases, in their order.
const (
	PhaseNone        Phase = ""            // nothing is stored
	PhaseKey         Phase = "key"         // there is a key
	PhaseCertificate Phase = "certificate" // there is a certificate, which is not active yet
	PhaseRegistered  Phase = "registered"  // there is a thing, and the certificate is active
	PhaseComplete    Phase = "complete"    // a connection with the identity succeeded
)

// State is what [Provision] stores after each step.
type State struct {
	Phase    Phase  `json:"phase"`
	Template string `json:"template"`
	// PrivateKeyPEM is empty if the key is in hardware, or not there yet.
	PrivateKeyPEM  []byte `json:"-"`
	CertificatePEM []byte `json:"-"`
	CertificateID  string `json:"certificateId,omitempty"`
	// OwnershipToken is a secret until the certificate is registered.
	OwnershipToken      string            `json:"ownershipToken,omitempty"`
	TokenIssuedAt       time.Time         `json:"tokenIssuedAt,omitzero"`
	ThingName           string            `json:"thingName,omitempty"`
	DeviceConfiguration map[string]string `json:"deviceConfiguration,omitempty"`
}

// Store keeps a [State] across crashes. Its methods are not called concurrently.
type Store interface {
	// Load returns the last state that was saved, or nil if there is none.
	Load() (*State, error)
	// Save replaces the state: all of it or nothing, and on stable storage when
	// it returns nil.
	Save(*State) error
}

// The files of a [FileStore].
const (
	KeyFile         = "private.pem.key"
	CertificateFile = "certificate.pem.crt"
	StateFile       = "provisioning.json"
)

// FileStore is a [Store] in a directory that nobody else may read: the private
// key in PEM in [KeyFile] (mode 0600), the certificate in [CertificateFile]
// (0644) and the rest in [StateFile] (0600). Each file is replaced as a whole and
// synced, and the state file comes last, so that a crash at any moment leaves the
// state before or the state after.
type FileStore struct{ dir string }

// NewFileStore returns a store in a directory, which it makes if it does not
// exist. It fails with [ErrStore] if others than the owner may use the directory
// or its secrets.
func NewFileStore(dir string) (*FileStore, error) {
	if dir == "" {
		return nil, fmt.Errorf("%w: the directory has no name", ErrStore)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrStore, err)
	}
	s := &FileStore{dir: dir}
	for _, name := range []string{"", KeyFile, StateFile} {
		if err := private(filepath.Join(dir, name)); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// private fails if others than the owner may use a file.
func private(name string) error {
	info, err := os.Stat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("%w: %w", ErrStore, err)
	case runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0:
		return fmt.Errorf("%w: others than its owner may use %s (mode %#o); chmod go-rwx it", ErrStore, name, info.Mode().Perm())
	}
	return nil
}

// KeyPath returns the name of the file with the private key.
func (s *FileStore) KeyPath() string { return filepath.Join(s.dir, KeyFile) }

// CertificatePath returns the name of the file with the certificate.
func (s *FileStore) CertificatePath() string { return filepath.Join(s.dir, CertificateFile) }

const (
	fileVersion = 1
	maxFile     = 1 << 20
)

type storedState struct {
	Version int `json:"version"`
	*State
}

// Load reads the files. It fails with [ErrStore].
func (s *FileStore) Load() (*State, error) {
	data, err := s.read(StateFile)
	if err != nil || data == nil {
		return nil, err
	}
	stored := storedState{State: &State{}}
	if err := json.Unmarshal(data, &stored); err != nil {
		return nil, fmt.Errorf("%w: %s is damaged: %w; to provision the device anew, move the directory %s away", ErrStore, StateFile, err, s.dir)
	}
	if stored.Version != fileVersion {
		return nil, fmt.Errorf("%w: %s has version %d, want %d", ErrStore, StateFile, stored.Version, fileVersion)
	}
	state := stored.State
	if state.Phase == PhaseNone {
		return state, nil
	}
	if state.PrivateKeyPEM, err = s.read(KeyFile); err != nil {
		return nil, err
	}
	if state.Phase == PhaseKey {
		return state, nil
	}
	if state.CertificatePEM, err = s.read(CertificateFile); err != nil {
		return nil, err
	}
	if state.CertificatePEM == nil {
		return nil, fmt.Errorf("%w: %s is missing", ErrStore, CertificateFile)
	}
	return state, nil
}

// Save writes the files that changed. It fails with [ErrStore].
func (s *FileStore) Save(state *State) error {
	data, err := json.MarshalIndent(storedState{fileVersion, state}, "", "\t")
	if err != nil {
		return fmt.Errorf("%w: %w", ErrStore, err)
	}
	for _, f := range []struct {
		name string
		data []byte
		mode fs.FileMode
	}{
		{KeyFile, state.PrivateKeyPEM, 0o600},
		{CertificateFile, state.CertificatePEM, 0o644},
		{StateFile, data, 0o600},
	} {
		if f.data == nil {
			continue
		}
		old, err := s.read(f.name)
		if err != nil {
			return err
		}
		if bytes.Equal(old, f.data) {
			continue
		}
		if err := atomicfile.Write(filepath.Join(s.dir, f.name), f.data, f.mode); err != nil {
			return fmt.Errorf("%w: %w", ErrStore, err)
		}
	}
	return nil
}

// read returns nil if the file does not exist.
func (s *FileStore) read(name string) ([]byte, error) {
	data, err := atomicfile.Read(filepath.Join(s.dir, name), maxFile)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrStore, err)
	case data == nil:
		return []byte{}, nil
	}
	return data, nil
}
