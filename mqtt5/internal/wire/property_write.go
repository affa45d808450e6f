// SPDX-License-Identifier: Apache-2.0

package wire

import "encoding/binary"

// maxFieldLength is the limit of strings and binary fields (section 1.5).
const maxFieldLength = 65_535

// propertyWriter goes over the properties of a packet. Without emit it only
// adds up their size, with emit it appends them: one list of properties per
// packet serves both, so they cannot differ. Absent values are skipped.
type propertyWriter struct {
	dst  []byte
	size int
	emit bool
}

func (w *propertyWriter) byte(id uint8, v *uint8) {
	if v == nil {
		return
	}
	if !w.emit {
		w.size += 2
		return
	}
	w.dst = append(w.dst, id, *v)
}

func (w *propertyWriter) bool(id uint8, v *bool) {
	if v == nil {
		return
	}
	var b uint8
	if *v {
		b = 1
	}
	w.byte(id, &b)
}

func (w *propertyWriter) uint16(id uint8, v *uint16) {
	if v == nil {
		return
	}
	if !w.emit {
		w.size += 3
		return
	}
	w.dst = append(w.dst, id, byte(*v>>8), byte(*v))
}

func (w *propertyWriter) uint32(id uint8, v *uint32) {
	if v == nil {
		return
	}
	if !w.emit {
		w.size += 5
		return
	}
	w.dst = binary.BigEndian.AppendUint32(append(w.dst, id), *v)
}

func (w *propertyWriter) varint(id uint8, v uint32) {
	if !w.emit {
		w.size += 1 + varintSize(v)
		return
	}
	w.dst = appendVarint(append(w.dst, id), v)
}

func (w *propertyWriter) string(id uint8, v *string) {
	if v == nil {
		return
	}
	if !w.emit {
		w.size += 3 + len(*v)
		return
	}
	w.dst = appendField(append(w.dst, id), *v)
}

func (w *propertyWriter) binary(id uint8, v []byte) {
	if v == nil {
		return
	}
	if !w.emit {
		w.size += 3 + len(v)
		return
	}
	w.dst = appendField(append(w.dst, id), v)
}

func (w *propertyWriter) user(list []UserProperty) {
	for i := range list {
		u := &list[i]
		if !w.emit {
			w.size += 5 + len(u.Name) + len(u.Value)
			if w.size > MaxPacketSize {
				return // too much already; an int of 32 bits must not overflow
			}
			continue
		}
		w.dst = appendField(append(w.dst, propUserProperty), u.Name)
		w.dst = appendField(w.dst, u.Value)
	}
}

// appendField appends a string or binary field with its length.
func appendField[T []byte | string](dst []byte, v T) []byte {
	return append(append(dst, byte(len(v)>>8), byte(len(v))), v...)
}

func appendUint16(dst []byte, v uint16) []byte { return append(dst, byte(v>>8), byte(v)) }

// listSize returns the size of a property list of n bytes with its length.
func listSize(n int) int { return varintSize(uint32(min(n, MaxRemainingLength))) + n }
