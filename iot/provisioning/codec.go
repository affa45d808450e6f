// SPDX-License-Identifier: Apache-2.0

package provisioning

import (
	"encoding/json"
	"fmt"

	"github.com/fxamacker/cbor/v2"
)

// Format is the format of requests and answers.
type Format uint8

// The formats.
const (
	JSON Format = iota // the default
	CBOR
)

// String returns "json" or "cbor", as in the topics.
func (f Format) String() string {
	if f == CBOR {
		return "cbor"
	}
	return "json"
}

// decoder bounds what an answer may make of its bytes.
var decoder = func() cbor.DecMode {
	mode, err := cbor.DecOptions{MaxNestedLevels: 8, MaxMapPairs: 1024, MaxArrayElements: 1024}.DecMode()
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

func (f Format) encode(v any) ([]byte, error) {
	if f == CBOR {
		return encoder.Marshal(v)
	}
	return json.Marshal(v)
}

// decode reads an object. Fields that are not known are ignored.
func (f Format) decode(data []byte, v any) error {
	var err error
	if f == CBOR {
		err = decoder.Unmarshal(data, v)
	} else {
		err = json.Unmarshal(data, v)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrInvalidPayload, err)
	}
	return nil
}
