// SPDX-License-Identifier: Apache-2.0

package provisioning_test

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gocrt/aws-iot-device-sdk-go/iot/provisioning"
)

func TestFileStore(t *testing.T) {
	s := newStore(t)
	if state, err := s.Load(); state != nil || err != nil {
		t.Errorf("%v, %v", state, err)
	}
	for _, want := range []*provisioning.State{
		{Phase: provisioning.PhaseKey, Template: "t", PrivateKeyPEM: []byte("key")},
		{
			Phase: provisioning.PhaseCertificate, Template: "t", PrivateKeyPEM: []byte("key"), CertificatePEM: []byte("cert"), CertificateID: "id",
			OwnershipToken: "secret", TokenIssuedAt: time.Unix(1787600000, 0).UTC(),
		},
		{
			Phase: provisioning.PhaseComplete, Template: "t", PrivateKeyPEM: []byte("key 2"), CertificatePEM: []byte("cert 2"), CertificateID: "id",
			ThingName: "thing", DeviceConfiguration: map[string]string{"a": "b"},
		},
	} {
		if err := s.Save(want); err != nil {
			t.Fatal(err)
		}
		got, err := s.Load()
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Error(d)
		}
	}
	if filepath.Base(s.CertificatePath()) != provisioning.CertificateFile {
		t.Error(s.CertificatePath())
	}
}

// TestFileStore_betweenFiles is a crash after the new key or certificate was
// written and before the state file was: the state before holds.
func TestFileStore_betweenFiles(t *testing.T) {
	s := newStore(t)
	if err := os.WriteFile(s.KeyPath(), []byte("early"), 0o600); err != nil {
		t.Fatal(err)
	}
	if state, err := s.Load(); state != nil || err != nil {
		t.Errorf("%v, %v", state, err)
	}
	if err := s.Save(&provisioning.State{Phase: provisioning.PhaseKey, PrivateKeyPEM: []byte("key")}); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(s.CertificatePath(), []byte("early"), 0o600); err != nil {
		t.Fatal(err)
	}
	if state, err := s.Load(); err != nil || state.Phase != provisioning.PhaseKey || state.CertificatePEM != nil {
		t.Errorf("%v, %v", state, err)
	}
}

func TestFileStore_errors(t *testing.T) {
	s := newStore(t)
	dir := filepath.Dir(s.KeyPath())
	good := &provisioning.State{Phase: provisioning.PhaseRegistered, PrivateKeyPEM: []byte("k"), CertificatePEM: []byte("c")}
	for name, spoil := range map[string]func() error{
		"no certificate": func() error { return os.Remove(s.CertificatePath()) },
		"not JSON":       func() error { return os.WriteFile(filepath.Join(dir, provisioning.StateFile), []byte("{"), 0o600) },
		"newer version": func() error {
			return os.WriteFile(filepath.Join(dir, provisioning.StateFile), []byte(`{"version":2}`), 0o600)
		},
		"far too long key": func() error { return os.Truncate(s.KeyPath(), 1<<21) },
	} {
		if err := s.Save(good); err != nil {
			t.Fatal(err)
		}
		if err := spoil(); err != nil {
			t.Fatal(err)
		}
		if state, err := s.Load(); !errors.Is(err, provisioning.ErrStore) {
			t.Errorf("%s: %v, %v", name, state, err)
		}
		if err := os.Remove(s.KeyPath()); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := provisioning.NewFileStore(""); !errors.Is(err, provisioning.ErrStore) {
		t.Error(err)
	}
	if runtime.GOOS == "windows" {
		return
	}
	if err := s.Save(good); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{dir, s.KeyPath(), filepath.Join(dir, provisioning.StateFile)} {
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(name, info.Mode().Perm()|0o040); err != nil {
			t.Fatal(err)
		}
		if _, err := provisioning.NewFileStore(dir); !errors.Is(err, provisioning.ErrStore) {
			t.Errorf("%s may be read by others: %v", name, err)
		}
		if err := os.Chmod(name, info.Mode().Perm()); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := provisioning.NewFileStore(dir); err != nil {
		t.Error(err)
	}
}
