// SPDX-License-Identifier: Apache-2.0

package iottest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"

	"github.com/fxamacker/cbor/v2"
)

// Formats of payloads, as in the last level of topics.
const (
	formatJSON = "json"
	formatCBOR = "cbor"
)

// cborDecoder bounds what a payload can make it do.
var cborDecoder = func() cbor.DecMode {
	mode, err := cbor.DecOptions{DupMapKey: cbor.DupMapKeyEnforcedAPF, MaxNestedLevels: 16, MaxArrayElements: 16384, MaxMapPairs: 16384}.DecMode()
	if err != nil {
		panic(err) // the options are constants
	}
	return mode
}()

// decodeAs decodes a payload of a format into v, which has json tags for both.
// An empty payload is an empty object.
func decodeAs(format string, payload []byte, v any) error {
	if len(bytes.TrimSpace(payload)) == 0 {
		return nil
	}
	if format == formatCBOR {
		return cborDecoder.Unmarshal(payload, v)
	}
	return decodeJSON(payload, v)
}

func validJSON(b []byte) bool { return utf8.Valid(b) && json.Valid(b) }

// encodeAs encodes maps, slices, strings, byte slices and numbers.
func encodeAs(format string, v any) []byte {
	if format != formatCBOR {
		return encodeJSON(v)
	}
	b, err := cbor.Marshal(v)
	if err != nil {
		return nil // only values made here are encoded
	}
	return b
}

// encodeJSON is json.Marshal without escapes for HTML.
func encodeJSON(v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil // only values that came from JSON or from here are encoded
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// decodeJSON decodes one JSON value into v and keeps numbers as they were written.
func decodeJSON(b []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	if err := d.Decode(v); err != nil {
		return fmt.Errorf("iottest: %w", err)
	}
	if _, err := d.Token(); err != io.EOF {
		return errors.New("iottest: more than one JSON value")
	}
	return nil
}
