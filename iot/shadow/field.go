// SPDX-License-Identifier: Apache-2.0

package shadow

import (
	"bytes"
	"encoding/json"
)

// Field is a field of a JSON object with three states: absent, null and a value.
// In an update an absent field is left alone, null removes it, and a value sets
// it. The zero value is absent. In a struct, Field needs the option omitzero:
//
//	type Lamp struct {
//		Color shadow.Field[string] `json:"color,omitzero"`
//	}
type Field[T any] struct {
	value   T
	present bool // null or a value
	null    bool
}

// Value returns a field with a value.
func Value[T any](v T) Field[T] { return Field[T]{value: v, present: true} }

// Null returns a field that is null.
func Null[T any]() Field[T] { return Field[T]{present: true, null: true} }

// Get returns the value, and false if the field is absent or null.
func (f Field[T]) Get() (value T, ok bool) { return f.value, f.present && !f.null }

// Or returns the value, or def if the field is absent or null.
func (f Field[T]) Or(def T) T {
	if v, ok := f.Get(); ok {
		return v
	}
	return def
}

// IsZero reports whether the field is absent. Package json calls it for omitzero.
func (f Field[T]) IsZero() bool { return !f.present }

// IsNull reports whether the field is null.
func (f Field[T]) IsNull() bool { return f.null }

// MarshalJSON returns the value or null. An absent field without omitzero is
// null, too.
func (f Field[T]) MarshalJSON() ([]byte, error) {
	if !f.present || f.null {
		return []byte("null"), nil
	}
	return json.Marshal(f.value)
}

// UnmarshalJSON sets the field to null or to a value.
func (f *Field[T]) UnmarshalJSON(data []byte) error {
	var next Field[T]
	next.present = true
	if next.null = bytes.Equal(bytes.TrimSpace(data), []byte("null")); !next.null {
		if err := json.Unmarshal(data, &next.value); err != nil {
			return err
		}
	}
	*f = next
	return nil
}
