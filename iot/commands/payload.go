// SPDX-License-Identifier: Apache-2.0

package commands

import (
	"fmt"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/gocrt/aws-iot-device-sdk-go/iot/internal/codec"
)

// Format is the format of a command's payload.
type Format uint8

// The formats.
const (
	JSON    Format = iota // content type application/json
	CBOR                  // content type application/cbor
	Generic               // any other content type
)

// String returns "json", "cbor" or "generic".
func (f Format) String() string {
	switch f {
	case JSON:
		return "json"
	case CBOR:
		return "cbor"
	}
	return "generic"
}

// requestSuffix is the end of the topics of commands.
func (f Format) requestSuffix() string {
	if f == Generic {
		return "/request"
	}
	return "/request/" + f.String()
}

// responseFormat is the format of statuses: that of the command if it has one.
func (f Format) responseFormat() Format {
	if f == CBOR {
		return CBOR
	}
	return JSON
}

func (f Format) encode(v any) ([]byte, error) { return codec.Encode(f == CBOR, v) }

func (f Format) decode(data []byte, v any) error {
	err := fmt.Errorf("the format is neither JSON nor CBOR")
	if f == JSON || f == CBOR {
		err = codec.Decode(f == CBOR, data, v)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrInvalidPayload, err)
	}
	return nil
}

// Status is the status of a command execution.
type Status string

// The statuses. A device reports all but Created.
const (
	Created    Status = "CREATED"
	InProgress Status = "IN_PROGRESS"
	Succeeded  Status = "SUCCEEDED"
	Failed     Status = "FAILED"
	Rejected   Status = "REJECTED"
	TimedOut   Status = "TIMED_OUT"
)

// Value is one value of a [Result]: a string, a boolean or bytes. Make it with
// [String], [Bool] or [Bytes].
type Value struct {
	S   *string `json:"s,omitempty"`
	B   *bool   `json:"b,omitempty"`
	Bin *[]byte `json:"bin,omitempty"`
}

// String returns a value that is a string.
func String(s string) Value { return Value{S: &s} }

// Bool returns a value that is a boolean.
func Bool(b bool) Value { return Value{B: &b} }

// Bytes returns a value that is bytes.
func Bytes(b []byte) Value { return Value{Bin: &b} }

// Result is what a command produced.
type Result map[string]Value

func (r Result) check() error {
	for key, v := range r {
		n := 0
		for _, set := range []bool{v.S != nil, v.B != nil, v.Bin != nil} {
			if set {
				n++
			}
		}
		if key == "" || n != 1 {
			return fmt.Errorf("%w: the result %q needs exactly one value", ErrInvalidArgument, key)
		}
		if v.S != nil && !utf8.ValidString(*v.S) {
			return fmt.Errorf("%w: the result %q is not UTF-8", ErrInvalidArgument, key)
		}
	}
	return nil
}

// statusReason says why an execution has its status.
type statusReason struct {
	Code        string `json:"reasonCode"`
	Description string `json:"reasonDescription,omitempty"`
}

var reasonCodes = regexp.MustCompile(`^[A-Z0-9_-]{1,64}$`)

// maxDescription is the length of a description in characters.
const maxDescription = 1024

// newReason makes a reason that the service accepts.
func newReason(code, description string) *statusReason {
	if !reasonCodes.MatchString(code) {
		if description == "" && code == "" {
			return nil
		}
		if code != "" {
			description = strings.TrimSpace(code + " " + description)
		}
		code = "DEVICE"
	}
	description = strings.TrimSpace(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(description, "\uFFFD")))
	n := 0
	for i := range description {
		if n == maxDescription {
			description = description[:i]
			break
		}
		n++
	}
	return &statusReason{code, description}
}

// update is the payload of a status.
type update struct {
	Status Status        `json:"status"`
	Reason *statusReason `json:"statusReason,omitempty"`
	Result Result        `json:"result,omitempty"`
}

// rejection is the payload of an answer that rejects a status. Names differ
// between descriptions of the service.
type rejection struct {
	Error        string `json:"error"`
	ErrorCode    string `json:"errorCode"`
	Code         string `json:"code"`
	ErrorMessage string `json:"errorMessage"`
	Message      string `json:"message"`
}

func decodeRejection(f Format, executionID string, payload []byte) *RejectedError {
	var r rejection
	if err := f.decode(payload, &r); err != nil {
		return &RejectedError{executionID, "unknown", err.Error()}
	}
	e := &RejectedError{ExecutionID: executionID, Code: "unknown", Message: r.ErrorMessage}
	for _, code := range []string{r.Error, r.ErrorCode, r.Code} {
		if code != "" {
			e.Code = code
			break
		}
	}
	if e.Message == "" {
		e.Message = r.Message
	}
	return e
}
