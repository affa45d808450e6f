// SPDX-License-Identifier: Apache-2.0

package filestore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
)

// The log is a sequence of segments, files whose names are ascending numbers.
// All numbers are little endian.
//
//	segment = header frame...
//	header  = magic(8) version(2) zero(2) number(4) salt(8) zero(4) sum(4)
//	frame   = marker(4) size(4) meta size(4) synced(4) sum(4) meta body...
//	meta    = change...
//	change  = action(1) kind(1) id(varint) more
//	more    = append: state length(varint) state body length(varint) body sum(4)
//	          update: state length(varint) state
//	          remove, first: nothing
//
// A frame is one commit: it counts as a whole or not at all. Its sum covers the
// salt of the segment, the place of the frame, its header and its meta; bodies
// have sums of their own, so that a frame can be checked without reading
// them. The salt, drawn for each segment, keeps payloads from passing for
// frames; marker is a part of it.
//
// Synced says up to which byte of the segment everything was synced before the
// frame was written. A frame that is not valid, with a valid one behind it that
// says otherwise, was damaged; else it was torn by a crash.

const (
	magic           = "MQTTLOG\n"
	formatVersion   = 1
	headerSize      = 32
	frameHeaderSize = 20
	// maxFrame bounds a commit, so that all offsets fit in 32 bits.
	maxFrame = 1 << 30
)

// actionFirst says that segments with numbers below its ID are no part of the
// log any more. It is beside those of [mqtt5.StoreAction].
const actionFirst mqtt5.StoreAction = 0x80

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func sum(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

func appendHeader(dst []byte, number uint32, salt uint64) []byte {
	from := len(dst)
	dst = append(dst, magic...)
	dst = binary.LittleEndian.AppendUint16(dst, formatVersion)
	dst = append(dst, 0, 0)
	dst = binary.LittleEndian.AppendUint32(dst, number)
	dst = binary.LittleEndian.AppendUint64(dst, salt)
	dst = append(dst, 0, 0, 0, 0)
	return binary.LittleEndian.AppendUint32(dst, sum(dst[from:]))
}

// errNewer is the error of a header that a newer version of the format has.
var errNewer = errors.New("written by a newer version")

// parseHeader returns the salt of a segment.
func parseHeader(b []byte, number uint32) (salt uint64, err error) {
	if len(b) < headerSize || string(b[:8]) != magic {
		return 0, errors.New("not the header of a segment")
	}
	// The rest of the header may differ in another version.
	if v := binary.LittleEndian.Uint16(b[8:]); v > formatVersion {
		return 0, errNewer
	}
	if binary.LittleEndian.Uint32(b[28:]) != sum(b[:28]) {
		return 0, errors.New("wrong checksum of the header")
	}
	if n := binary.LittleEndian.Uint32(b[12:]); n != number {
		return 0, fmt.Errorf("header of segment %d", n)
	}
	return binary.LittleEndian.Uint64(b[16:]), nil
}

// frameHeader is the fixed part of a frame.
type frameHeader struct {
	size, meta, synced, sum uint32
}

// frameSum is the checksum of a frame, from its header without the sum, and its
// meta.
func frameSum(salt uint64, offset int64, header, meta []byte) uint32 {
	var place [16]byte
	binary.LittleEndian.PutUint64(place[:], salt)
	binary.LittleEndian.PutUint64(place[8:], uint64(offset))
	s := crc32.Update(0, castagnoli, place[:])
	s = crc32.Update(s, castagnoli, header[:16])
	return crc32.Update(s, castagnoli, meta)
}

// appendFrame appends the header and the meta of a frame.
func appendFrame(dst []byte, salt uint64, offset, synced int64, meta []byte, bodies int64) []byte {
	from := len(dst)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(salt))
	dst = binary.LittleEndian.AppendUint32(dst, uint32(frameHeaderSize+int64(len(meta))+bodies))
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(meta)))
	dst = binary.LittleEndian.AppendUint32(dst, uint32(synced))
	dst = binary.LittleEndian.AppendUint32(dst, frameSum(salt, offset, dst[from:], meta))
	return append(dst, meta...)
}

// parseFrameHeader reads the fixed part of a frame, of which left bytes are there.
func parseFrameHeader(b []byte, salt uint64, left int64) (frameHeader, error) {
	if left < frameHeaderSize {
		return frameHeader{}, errors.New("no room for a frame")
	}
	h := frameHeader{
		size:   binary.LittleEndian.Uint32(b[4:]),
		meta:   binary.LittleEndian.Uint32(b[8:]),
		synced: binary.LittleEndian.Uint32(b[12:]),
		sum:    binary.LittleEndian.Uint32(b[16:]),
	}
	switch {
	case binary.LittleEndian.Uint32(b) != uint32(salt):
		return h, errors.New("no frame")
	case int64(h.size) > left || h.size > maxFrame:
		return h, errors.New("frame is longer than the file")
	case int64(h.meta)+frameHeaderSize > int64(h.size):
		return h, errors.New("frame is shorter than its meta")
	}
	return h, nil
}

// change is a change as it is found in a frame.
type change struct {
	action mqtt5.StoreAction
	kind   mqtt5.RecordKind
	id     uint64
	state  []byte // part of meta
	size   uint32 // of the body
	sum    uint32 // of the body
}

// appendChange appends the meta of a change.
func appendChange(dst []byte, c *mqtt5.StoreChange) []byte {
	dst = append(dst, byte(c.Action), byte(c.Record.Kind))
	dst = binary.AppendUvarint(dst, c.Record.ID)
	if c.Action == mqtt5.StoreAppend || c.Action == mqtt5.StoreUpdate {
		dst = binary.AppendUvarint(dst, uint64(len(c.Record.State)))
		dst = append(dst, c.Record.State...)
	}
	if c.Action == mqtt5.StoreAppend {
		dst = binary.AppendUvarint(dst, uint64(len(c.Record.Body)))
		dst = binary.LittleEndian.AppendUint32(dst, sum(c.Record.Body))
	}
	return dst
}

var errMeta = errors.New("changes of the frame are not well formed")

// nextChange reads the first change of meta and returns what follows it.
func nextChange(meta []byte, c *change) ([]byte, error) {
	if len(meta) < 3 {
		return nil, errMeta
	}
	*c = change{action: mqtt5.StoreAction(meta[0]), kind: mqtt5.RecordKind(meta[1])}
	meta = meta[2:]
	var err error
	if c.id, meta, err = uvarint(meta, math.MaxUint64); err != nil {
		return nil, err
	}
	switch c.action {
	case mqtt5.StoreAppend, mqtt5.StoreUpdate:
		var n uint64
		if n, meta, err = uvarint(meta, maxFrame); err != nil || n > uint64(len(meta)) {
			return nil, errMeta
		}
		c.state, meta = meta[:n], meta[n:]
		if c.action == mqtt5.StoreUpdate {
			return meta, nil
		}
		if n, meta, err = uvarint(meta, maxFrame); err != nil || len(meta) < 4 {
			return nil, errMeta
		}
		c.size, c.sum = uint32(n), binary.LittleEndian.Uint32(meta)
		return meta[4:], nil
	case mqtt5.StoreRemove, actionFirst:
		return meta, nil
	}
	return nil, errMeta
}

func uvarint(b []byte, limit uint64) (uint64, []byte, error) {
	v, n := binary.Uvarint(b)
	if n <= 0 || v > limit {
		return 0, nil, errMeta
	}
	return v, b[n:], nil
}

// checkMeta checks that all changes of a frame are well formed, and that their
// bodies fill the frame.
func checkMeta(h frameHeader, meta []byte) error {
	bodies := int64(h.size) - frameHeaderSize - int64(len(meta))
	var c change
	var err error
	for len(meta) > 0 {
		if meta, err = nextChange(meta, &c); err != nil {
			return err
		}
		bodies -= int64(c.size)
	}
	if bodies != 0 {
		return errors.New("bodies do not fill the frame")
	}
	return nil
}
