// SPDX-License-Identifier: Apache-2.0

package delivery

import "bytes"

const (
	// slabSize is how many bytes of payloads of a batch share an allocation:
	// together they cost a fraction of what each would alone, and who keeps one
	// keeps at most these.
	slabSize = 3 << 10
	// smallPayload is the size above which a payload has its own allocation.
	smallPayload = slabSize / 4
)

// keep makes the payload of a message one that its handlers may keep.
func (b *batch) keep(msg *Message) {
	n := len(msg.Body)
	if n <= smallPayload {
		b.small -= n
	}
	switch {
	case b.lasting:
	case n > smallPayload:
		msg.Body = bytes.Clone(msg.Body)
	default:
		if n > cap(b.slab)-len(b.slab) {
			b.slab = make([]byte, 0, min(b.small+n, slabSize))
		}
		at := len(b.slab)
		b.slab = append(b.slab, msg.Body...)
		msg.Body = b.slab[at:len(b.slab):len(b.slab)]
	}
}
