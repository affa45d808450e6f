// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"encoding/binary"
	"sync"
)

// witness reads along what a server sends over plain TCP, with a reader of its
// own, and notes the QoS 2 messages that the server sends again after it has
// released them. No client can tell
// these from new messages. mosquitto 2.0.11 does it when a connection that
// resumes a session
// is lost before all releases were repeated.
type witness struct {
	mu       sync.Mutex
	rest     map[*link][]byte  // the beginning of a packet
	sent     map[uint16]string // payload of the last PUBLISH with an identifier
	released map[uint16]bool   // whether PUBREL followed it
	again    map[string]int
}

func newWitness() *witness {
	return &witness{rest: map[*link][]byte{}, sent: map[uint16]string{}, released: map[uint16]bool{}, again: map[string]int{}}
}

// broken is how often the server sent a message again after it had released it.
func (w *witness) broken(payload string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.again[payload]
}

// see is told of the bytes of a link.
func (w *witness) see(k *link, d direction, b []byte) {
	if d != toClient {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	b = append(w.rest[k], b...)
	for len(b) > 1 {
		n, used := binary.Uvarint(b[1:]) // the encoding of remaining lengths
		if used <= 0 || len(b) < 1+used+int(n) {
			break
		}
		w.packet(b[0], b[1+used:1+used+int(n)])
		b = b[1+used+int(n):]
	}
	w.rest[k] = b
}

func (w *witness) packet(header byte, body []byte) {
	const publish, pubrel = 3, 6
	switch {
	case header>>4 == publish && header&0x06 == 0x04: // QoS 2
		body = body[2+binary.BigEndian.Uint16(body):]
		id := binary.BigEndian.Uint16(body)
		properties, used := binary.Uvarint(body[2:])
		payload := string(body[2+used+int(properties):])
		if w.sent[id] == payload && w.released[id] {
			w.again[payload]++
		}
		w.sent[id], w.released[id] = payload, false
	case header>>4 == pubrel:
		w.released[binary.BigEndian.Uint16(body)] = true
	}
}
