// SPDX-License-Identifier: Apache-2.0

package filestore

import (
	"slices"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
)

// location is where the body of a record lies. A store with a million records
// keeps a million of them, and nothing else for each.
type location struct {
	segment uint32 // 0: no record
	offset  uint32
	size    uint32
	sum     uint32 // CRC-32C of the body
}

// chunkSize is the number of consecutive IDs of one chunk.
const chunkSize = 256

// chunk holds the locations of consecutive IDs, since most IDs are consecutive.
type chunk struct {
	base uint64 // first ID / chunkSize
	used int
	at   [chunkSize]location
}

// index finds the records of one kind, in order of their IDs.
type index struct {
	chunks  []*chunk          // ascending, none of them empty
	states  map[uint64][]byte // of the records that have one
	records int
	bytes   int64 // of bodies
}

// find returns the position of the chunk with that base, or where it belongs.
func (x *index) find(base uint64) (int, bool) {
	if n := len(x.chunks); n > 0 && x.chunks[n-1].base <= base { // most often
		if x.chunks[n-1].base == base {
			return n - 1, true
		}
		return n, false
	}
	return slices.BinarySearchFunc(x.chunks, base, func(c *chunk, base uint64) int {
		switch {
		case c.base < base:
			return -1
		case c.base > base:
			return 1
		}
		return 0
	})
}

func (x *index) get(id uint64) (location, bool) {
	i, ok := x.find(id / chunkSize)
	if !ok {
		return location{}, false
	}
	l := x.chunks[i].at[id%chunkSize]
	return l, l.segment != 0
}

// put sets the location of a record and returns the one that it replaces.
func (x *index) put(id uint64, l location) (old location) {
	i, ok := x.find(id / chunkSize)
	if !ok {
		x.chunks = slices.Insert(x.chunks, i, &chunk{base: id / chunkSize})
	}
	c := x.chunks[i]
	slot := &c.at[id%chunkSize]
	old = *slot
	*slot = l
	if old.segment == 0 {
		c.used++
		x.records++
	}
	x.bytes += int64(l.size) - int64(old.size)
	return old
}

// remove forgets a record and returns where it was.
func (x *index) remove(id uint64) (old location) {
	i, ok := x.find(id / chunkSize)
	if !ok {
		return location{}
	}
	c := x.chunks[i]
	slot := &c.at[id%chunkSize]
	old = *slot
	if old.segment == 0 {
		return old
	}
	*slot = location{}
	c.used--
	x.records--
	x.bytes -= int64(old.size)
	delete(x.states, id)
	if c.used == 0 {
		x.chunks = slices.Delete(x.chunks, i, i+1)
	}
	return old
}

// last returns the highest ID.
func (x *index) last() uint64 {
	if len(x.chunks) == 0 {
		return 0
	}
	c := x.chunks[len(x.chunks)-1]
	slot := chunkSize - 1
	for c.at[slot].segment == 0 {
		slot--
	}
	return c.base*chunkSize + uint64(slot)
}

// setState keeps the state of a record that exists. An empty one takes no memory.
func (x *index) setState(id uint64, state []byte) {
	if len(state) == 0 {
		delete(x.states, id)
		return
	}
	if x.states == nil {
		x.states = make(map[uint64][]byte)
	}
	x.states[id] = state
}

// found is a record of an index, without its body.
type found struct {
	id    uint64
	at    location
	state []byte
}

// collect appends to dst the records from an ID on, as many as fit in its
// capacity.
func (x *index) collect(dst []found, from uint64) []found {
	i, _ := x.find(from / chunkSize)
	for ; i < len(x.chunks); i++ {
		c := x.chunks[i]
		for slot, l := range c.at {
			id := c.base*chunkSize + uint64(slot)
			if l.segment == 0 || id < from {
				continue
			}
			if len(dst) == cap(dst) {
				return dst
			}
			dst = append(dst, found{id: id, at: l, state: slices.Clone(x.states[id])})
		}
	}
	return dst
}

// indexes has the index of each kind of record.
type indexes map[mqtt5.RecordKind]*index

func (m indexes) of(kind mqtt5.RecordKind) *index {
	x := m[kind]
	if x == nil {
		x = new(index)
		m[kind] = x
	}
	return x
}
