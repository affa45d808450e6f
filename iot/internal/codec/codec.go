// SPDX-License-Identifier: Apache-2.0

// Package codec encodes and decodes the payloads of device services that come in
// JSON and in CBOR. Struct tags are those of JSON for both.
package codec

import (
	"encoding/json"

	"github.com/fxamacker/cbor/v2"
)

// decoder bounds what a payload may make of its bytes. Payloads have at most
// 128 KiB, and the documents of the services are shallow.
var decoder = func() cbor.DecMode {
	mode, err := cbor.DecOptions{MaxNestedLevels: 32, MaxMapPairs: 4096, MaxArrayElements: 65536}.DecMode()
	if err != nil {
		panic(err) // the options are constant
	}
	return mode
}()

// encoder makes the same bytes of the same values.
var encoder = func() cbor.EncMode {
	mode, err := cbor.CoreDetEncOptions().EncMode()
	if err != nil {
		panic(err) // the options are constant
	}
	return mode
}()

// Encode returns v in CBOR, or else in JSON.
func Encode(inCBOR bool, v any) ([]byte, error) {
	if inCBOR {
		return encoder.Marshal(v)
	}
	return json.Marshal(v)
}

// Decode reads v in CBOR, or else in JSON. Fields that v does not have are
// ignored.
func Decode(inCBOR bool, data []byte, v any) error {
	if inCBOR {
		return decoder.Unmarshal(data, v)
	}
	return json.Unmarshal(data, v)
}
