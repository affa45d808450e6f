// SPDX-License-Identifier: Apache-2.0

package websocket

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/gocrt/aws-iot-device-sdk-go/http/internal/exchange"
)

var errMaskedFrame = errors.New("the server sent a masked frame")

// decoder follows the frames of a server. Its state is that of any byte of the
// stream, so that a stream may come in pieces of any size. It holds no payload
// of data frames.
type decoder struct {
	header    [maxServerHeader]byte
	headerLen int
	payload   int64 // bytes missing from the current data frame
	message   bool  // a data frame without the final bit came: its message goes on

	control       [maxControlLength]byte
	controlLen    int
	controlWant   int
	controlOpcode byte // of the control frame whose payload is awaited; 0: none
}

// controlFrame is a control frame of the server. The payload is valid until the
// next call of the decoder.
type controlFrame struct {
	opcode  byte
	payload []byte
}

// decode takes the next bytes of the stream and moves the payload of data
// frames among them to the front of b. It calls handle for each control frame,
// whose error ends the decoding, and returns how many bytes of payload there
// are. After an error the decoder must not be used again.
func (d *decoder) decode(b []byte, handle func(controlFrame) error) (n int, err error) {
	for i := 0; i < len(b); {
		switch {
		case d.payload > 0:
			k := int(min(d.payload, int64(len(b)-i)))
			if n != i {
				copy(b[n:], b[i:i+k])
			}
			n += k
			i += k
			d.payload -= int64(k)
		case d.controlOpcode != 0:
			k := copy(d.control[d.controlLen:d.controlWant], b[i:])
			d.controlLen += k
			i += k
			if err := d.finishControl(handle); err != nil {
				return n, err
			}
		default:
			d.header[d.headerLen] = b[i]
			d.headerLen++
			i++
			if d.headerLen < 2 || d.headerLen < d.headerSize() {
				continue
			}
			d.headerLen = 0
			if err := d.begin(); err != nil {
				return n, err
			}
			if err := d.finishControl(handle); err != nil { // one without payload
				return n, err
			}
		}
	}
	return n, nil
}

// headerSize is the length of the header whose first two bytes are there.
func (d *decoder) headerSize() int {
	switch d.header[1] &^ maskBit {
	case 126:
		return 4
	case 127:
		return maxServerHeader
	}
	return 2
}

// begin validates a header and begins its frame.
func (d *decoder) begin() error {
	first, length := d.header[0], int64(d.header[1]&^maskBit)
	switch length {
	case 126:
		length = int64(binary.BigEndian.Uint16(d.header[2:]))
	case 127:
		length = int64(binary.BigEndian.Uint64(d.header[2:]))
	}
	opcode, final := first&opcodeBits, first&finBit != 0
	switch {
	case d.header[1]&maskBit != 0:
		return fmt.Errorf("%w: %w", ErrProtocol, errMaskedFrame)
	case first&reservedBit != 0:
		return fmt.Errorf("%w: reserved bits are set", ErrProtocol)
	case length < 0:
		return fmt.Errorf("%w: length of a frame is negative", ErrProtocol)
	case opcode&controlBit != 0:
		if opcode > opPong {
			return fmt.Errorf("%w: unknown opcode %#x", ErrProtocol, opcode)
		}
		if !final || length > maxControlLength {
			return fmt.Errorf("%w: control frame is fragmented or too long", ErrProtocol)
		}
		d.controlOpcode, d.controlLen, d.controlWant = opcode, 0, int(length)
		return nil
	case opcode > opBinary:
		return fmt.Errorf("%w: unknown opcode %#x", ErrProtocol, opcode)
	case opcode == opContinuation && !d.message:
		return fmt.Errorf("%w: continuation of no message", ErrProtocol)
	case opcode != opContinuation && d.message:
		return fmt.Errorf("%w: a message begins within another", ErrProtocol)
	case opcode == opText:
		return ErrTextFrame
	}
	d.message, d.payload = !final, length
	return nil
}

// finishControl passes on a complete control frame.
func (d *decoder) finishControl(handle func(controlFrame) error) error {
	if d.controlOpcode == 0 || d.controlLen < d.controlWant {
		return nil
	}
	f := controlFrame{d.controlOpcode, d.control[:d.controlLen]}
	d.controlOpcode = 0
	return handle(f)
}

// parseClose returns what a close frame says, or an error if it breaks the
// rules of RFC 6455 section 7.4.
func parseClose(payload []byte) (*CloseError, error) {
	if len(payload) == 0 {
		return &CloseError{Code: StatusNoStatus}, nil
	}
	if len(payload) == 1 {
		return nil, fmt.Errorf("%w: close frame of one byte", ErrProtocol)
	}
	code := StatusCode(binary.BigEndian.Uint16(payload))
	switch {
	case code == 1004, code == StatusNoStatus, code == 1006:
	case code >= 1000 && code <= 1014, code >= 3000 && code <= 4999:
		return &CloseError{Code: code, Reason: exchange.Printable(string(payload[2:]))}, nil
	}
	return nil, fmt.Errorf("%w: close code %d is reserved", ErrProtocol, code)
}
