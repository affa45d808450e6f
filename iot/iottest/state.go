// SPDX-License-Identifier: Apache-2.0

package iottest

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"go.etcd.io/bbolt"
	bbolterrors "go.etcd.io/bbolt/errors"
)

// stateFile is the file in [Options.Dir] that holds the state of a core.
const stateFile = "core.db"

// state keeps JSON values by bucket and key in one file, so that they survive a
// restart. All methods may be called on nil, which keeps nothing: a core
// without a folder needs no special case. None blocks on the disk but load and
// close.
//
// Changes are committed in the background, many in one transaction, in which
// either all of them are in the file or none. When the process is killed,
// changes of the last moments may be missing.
type state struct {
	db   *bbolt.DB
	wake chan struct{} // capacity 1
	done chan struct{}

	mu     sync.Mutex
	dirty  map[stateKey][]byte // nil: deleted
	closed bool
	err    error // first failure
}

type stateKey struct{ bucket, key string }

// openState opens or creates the state in a folder.
func openState(dir string) (*state, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("iottest: %w", err)
	}
	path := filepath.Join(dir, stateFile)
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: time.Second})
	switch {
	case errors.Is(err, bbolterrors.ErrTimeout):
		return nil, fmt.Errorf("iottest: %s is in use: does another core run with this folder?", path)
	case err != nil:
		return nil, fmt.Errorf("iottest: open %s: %w", path, err)
	}
	s := &state{db: db, wake: make(chan struct{}, 1), done: make(chan struct{}), dirty: map[stateKey][]byte{}}
	go s.run()
	return s, nil
}

// put sets a value, which is encoded at once.
func (s *state) put(bucket, key string, value any) {
	if s == nil {
		return
	}
	b, err := json.Marshal(value)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.fail(fmt.Errorf("iottest: encode %s %q: %w", bucket, key, err))
		return
	}
	s.change(bucket, key, b)
}

// remove deletes a value, if it is there.
func (s *state) remove(bucket, key string) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.change(bucket, key, nil)
}

func (s *state) change(bucket, key string, value []byte) {
	if s.closed || key == "" {
		return
	}
	s.dirty[stateKey{bucket, key}] = value
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// load calls f for each value of a bucket, by key in order. f must not keep raw.
func (s *state) load(bucket string, f func(key string, raw []byte) error) error {
	if s == nil {
		return nil
	}
	return s.db.View(func(tx *bbolt.Tx) error {
		b := tx.Bucket([]byte(bucket))
		if b == nil {
			return nil
		}
		return b.ForEach(func(k, v []byte) error {
			if err := f(string(k), v); err != nil {
				return fmt.Errorf("iottest: stored %s %q: %w", bucket, k, err)
			}
			return nil
		})
	})
}

// run commits changes until the state is closed.
func (s *state) run() {
	defer close(s.done)
	for range s.wake {
		s.mu.Lock()
		dirty, closed := s.dirty, s.closed
		s.dirty = map[stateKey][]byte{}
		s.mu.Unlock()
		if err := s.commit(dirty); err != nil {
			s.mu.Lock()
			s.fail(fmt.Errorf("iottest: write %s: %w", s.db.Path(), err))
			s.mu.Unlock()
		}
		if closed {
			return
		}
	}
}

func (s *state) commit(dirty map[stateKey][]byte) error {
	if len(dirty) == 0 {
		return nil
	}
	return s.db.Update(func(tx *bbolt.Tx) error {
		for k, v := range dirty {
			b, err := tx.CreateBucketIfNotExists([]byte(k.bucket))
			if err != nil {
				return err
			}
			if v == nil {
				err = b.Delete([]byte(k.key))
			} else {
				err = b.Put([]byte(k.key), v)
			}
			if err != nil {
				return fmt.Errorf("%s %q: %w", k.bucket, k.key, err)
			}
		}
		return nil
	})
}

// fail keeps the first failure. s.mu is held.
func (s *state) fail(err error) {
	if s.err == nil {
		s.err = err
	}
}

// close commits the rest, closes the file and returns the first failure.
func (s *state) close() error {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
	<-s.done
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.db.Close(); err != nil {
		s.fail(fmt.Errorf("iottest: close %s: %w", s.db.Path(), err))
	}
	return s.err
}
