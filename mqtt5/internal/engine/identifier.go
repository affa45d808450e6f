// SPDX-License-Identifier: Apache-2.0

package engine

// identifiers hands out the packet identifiers of PUBLISH, SUBSCRIBE and
// UNSUBSCRIBE, which share one space [MQTT-2.2.1-3], and finds the operation
// that holds one.
//
// The table grows with the number of identifiers in use and not with the
// range of 65,535, so that a client with a few operations in flight stays
// small. Within the table the next identifier is sought after the last one
// given, so an identifier that was just acknowledged rests for a while.
type identifiers struct {
	base  int // slots[i] holds the identifier base+i+1, which wraps around after 65,535
	slots []*Operation
	last  int // index given last
	used  int
}

const maxIdentifiers = 65535

// allocate takes a free identifier, or returns 0 if all are in use.
func (t *identifiers) allocate(op *Operation) uint16 {
	// Three quarters full: grow, so that the search stays short.
	if t.used >= len(t.slots)-len(t.slots)/4 && len(t.slots) < maxIdentifiers {
		size := min(max(2*len(t.slots), 16), maxIdentifiers)
		grown := make([]*Operation, size)
		copy(grown, t.slots)
		t.last = len(t.slots) - 1
		t.slots = grown
	}
	if t.used == len(t.slots) {
		return 0
	}
	i := t.last
	for {
		i++
		if i >= len(t.slots) {
			i = 0
		}
		if t.slots[i] == nil {
			break
		}
	}
	t.slots[i] = op
	t.last = i
	t.used++
	return uint16((t.base+i)%maxIdentifiers + 1)
}

// take lets an operation hold an identifier of a restored session. It reports
// whether that was free.
func (t *identifiers) take(id uint16, op *Operation) bool {
	if id == 0 || t.holder(id) != nil {
		return false
	}
	i := t.index(id)
	for len(t.slots) <= i {
		t.slots = append(t.slots, make([]*Operation, min(max(len(t.slots), 16), maxIdentifiers-len(t.slots)))...)
	}
	t.slots[i] = op
	t.used++
	return true
}

// index returns where an identifier is kept.
func (t *identifiers) index(id uint16) int {
	return (int(id) - 1 - t.base%maxIdentifiers + maxIdentifiers) % maxIdentifiers
}

// clear releases all identifiers.
func (t *identifiers) clear() { *t = identifiers{base: t.base} }

// holder returns the operation that holds id, or nil.
func (t *identifiers) holder(id uint16) *Operation {
	if id == 0 {
		return nil
	}
	if i := t.index(id); i < len(t.slots) {
		return t.slots[i]
	}
	return nil
}

func (t *identifiers) release(id uint16) {
	if t.holder(id) == nil {
		return
	}
	t.slots[t.index(id)] = nil
	t.used--
	if t.used == 0 && len(t.slots) > 4096 {
		t.clear() // give back what a burst took
	}
}

// identifierSet is a set of packet identifiers that the server uses. It grows
// with the largest one seen; an empty one takes next to nothing.
type identifierSet struct{ bits *identifierBits }

type identifierBits struct {
	words []uint64
	n     int
}

func (s identifierSet) len() int {
	if s.bits == nil {
		return 0
	}
	return s.bits.n
}

func (s identifierSet) has(id uint16) bool {
	if s.bits == nil {
		return false
	}
	w := int(id >> 6)
	return w < len(s.bits.words) && s.bits.words[w]&(1<<(id&63)) != 0
}

// add reports whether id was not in the set before.
func (s *identifierSet) add(id uint16) bool {
	if s.bits == nil {
		s.bits = new(identifierBits)
	}
	b := s.bits
	w := int(id >> 6)
	if w >= len(b.words) {
		grown := make([]uint64, max(w+1, min(2*len(b.words), 1024)))
		copy(grown, b.words)
		b.words = grown
	}
	bit := uint64(1) << (id & 63)
	if b.words[w]&bit != 0 {
		return false
	}
	b.words[w] |= bit
	b.n++
	return true
}

// remove reports whether id was in the set.
func (s identifierSet) remove(id uint16) bool {
	if !s.has(id) {
		return false
	}
	s.bits.words[id>>6] &^= 1 << (id & 63)
	s.bits.n--
	return true
}

func (s *identifierSet) clear() { s.bits = nil }
