// SPDX-License-Identifier: Apache-2.0

// Package jsonobject reads messages that have to be JSON objects.
package jsonobject

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
)

var (
	errNoObject = errors.New("not a JSON object")
	errMore     = errors.New("more than one JSON value")
)

// Decode reads an object into v. Package json alone takes null for an object
// without fields.
func Decode(data []byte, v any) error {
	if err := json.Unmarshal(data, v); err != nil {
		return err
	}
	return check(data)
}

// DecodeNumbers is Decode, but a number that v has no type for becomes a
// [json.Number], which keeps its text.
func DecodeNumbers(data []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	if err := d.Decode(v); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errMore
	}
	return check(data)
}

// check expects valid JSON.
func check(data []byte) error {
	if data = bytes.TrimLeft(data, " \t\r\n"); data[0] != '{' {
		return errNoObject
	}
	return nil
}
