// SPDX-License-Identifier: Apache-2.0

package provisioning

import (
	"fmt"

	"github.com/gocrt/aws-iot-device-sdk-go/iot/internal/codec"
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

func (f Format) encode(v any) ([]byte, error) { return codec.Encode(f == CBOR, v) }

// decode reads an object. Fields that are not known are ignored.
func (f Format) decode(data []byte, v any) error {
	if err := codec.DecodeObject(f == CBOR, data, v); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalidPayload, err)
	}
	return nil
}
