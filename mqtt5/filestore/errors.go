// SPDX-License-Identifier: Apache-2.0

package filestore

import (
	"errors"
	"fmt"
	"strings"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
)

// Error says how a store failed. It matches its Condition and its cause.
type Error struct {
	// Op is what the store was doing, such as "open" or "commit".
	Op string
	// Path is the directory or the file; "" if none.
	Path string
	// Condition is one of the conditions of package mqtt5, such as
	// [mqtt5.ErrStoreFull].
	Condition error
	// Err is the cause; nil if Condition says all.
	Err error
}

func (e *Error) Error() string {
	s := "filestore: " + e.Op
	if e.Path != "" {
		s += " " + e.Path
	}
	s += ": " + strings.TrimPrefix(e.Condition.Error(), "mqtt5: ")
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap returns the condition and the cause.
func (e *Error) Unwrap() []error {
	if e.Err == nil {
		return []error{e.Condition}
	}
	return []error{e.Condition, e.Err}
}

// errLocked is what fileSystem.Lock fails with when the lock is taken.
var errLocked = errors.New("locked by another process or another part of this one")

// classify finds the condition of an error of the file system.
func classify(op, path string, err error) error {
	var own *Error
	if errors.As(err, &own) {
		return err
	}
	e := &Error{Op: op, Path: path, Condition: mqtt5.ErrStoreIO, Err: err}
	switch {
	case errors.Is(err, errLocked):
		e.Condition, e.Err = mqtt5.ErrStoreLocked, nil
	case outOfSpace(err):
		e.Condition = mqtt5.ErrStoreFull
	case readOnly(err):
		e.Condition = mqtt5.ErrStoreReadOnly
	}
	return e
}

// corrupt reports damage at an offset of a file.
func corrupt(path string, offset int64, format string, args ...any) error {
	return &Error{Op: "read", Path: path, Condition: mqtt5.ErrStoreCorrupt,
		Err: fmt.Errorf("at byte %d: %s", offset, fmt.Sprintf(format, args...))}
}
