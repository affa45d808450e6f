// SPDX-License-Identifier: Apache-2.0

// Package codec encodes and decodes the payloads of device services that come in
// JSON and in CBOR. Struct tags are those of JSON for both.
package codec

import (
	"encoding/json"
	"errors"

	"github.com/fxamacker/cbor/v2"

	"github.com/gocrt/aws-iot-device-sdk-go/iot/internal/jsonobject"
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

// DecodeObject reads an object into v like Decode, which takes null for an object
// without fields.
func DecodeObject(inCBOR bool, data []byte, v any) error {
	if !inCBOR {
		return jsonobject.Decode(data, v)
	}
	if err := decoder.Unmarshal(data, v); err != nil {
		return err
	}
	var fields map[any]cbor.RawMessage
	if err := decoder.Unmarshal(data, &fields); err != nil {
		return err
	}
	if fields == nil {
		return errors.New("not a CBOR map")
	}
	return nil
}
