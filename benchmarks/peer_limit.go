// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/binary"
	"errors"
	"net"
	"sync"
)

// limit is no client: it writes prepared frames in large pieces and counts the
// frames that come. It measures the cost of the sockets alone.
type limit struct {
	conn      net.Conn
	onMessage func([]byte)

	writing sync.Mutex
	mu      sync.Mutex
	changed sync.Cond
	acked   int // PUBACKs and SUBACKs
	sent    int // packets that want one
	err     error
	lastID  uint16
}

var errNoConnack = errors.New("no CONNACK")

func dialLimit(o peerOptions) (peer, error) {
	conn, err := dialNet(o)
	if err != nil {
		return nil, err
	}
	l := &limit{conn: conn, onMessage: o.onMessage}
	l.changed.L = &l.mu
	body := []byte{0, 4, 'M', 'Q', 'T', 'T', 5, 2, 0, keepAlive, 0}
	if o.receiveMax > 0 {
		body = append(body[:10], 3, 0x21, byte(o.receiveMax>>8), byte(o.receiveMax))
	}
	body = binary.BigEndian.AppendUint16(body, uint16(len(o.clientID)))
	body = append(body, o.clientID...)
	if _, err := conn.Write(append([]byte{0x10, byte(len(body))}, body...)); err != nil {
		return nil, err
	}
	var answer [16]byte
	if n, err := conn.Read(answer[:]); err != nil || n < 4 || answer[0] != 0x20 || answer[3] != 0 {
		return nil, errors.Join(errNoConnack, err)
	}
	go l.read()
	return l, nil
}

func (l *limit) read() {
	buf := make([]byte, 2<<10)
	have := 0
	var acks []byte
	for {
		n, err := l.conn.Read(buf[have:])
		if err != nil {
			l.mu.Lock()
			l.err = err
			l.changed.Broadcast()
			l.mu.Unlock()
			return
		}
		rest := buf[:have+n]
		if len(rest) == len(buf) && len(buf) < sinkBuffer { // busy
			buf = make([]byte, sinkBuffer)
		}
		answered := 0
		acks = acks[:0]
		for {
			size, header := frameSize(rest)
			if size == 0 || size > len(rest) {
				break
			}
			switch rest[0] >> 4 {
			case 3:
				acks = l.message(rest[0], rest[header:size], acks)
			case 4, 9:
				answered++
			}
			rest = rest[size:]
		}
		have = copy(buf, rest)
		if len(acks) > 0 {
			l.write(acks)
		}
		if answered > 0 {
			l.mu.Lock()
			l.acked += answered
			l.changed.Broadcast()
			l.mu.Unlock()
		}
	}
}

func (l *limit) message(first byte, body, acks []byte) []byte {
	at := 2 + int(binary.BigEndian.Uint16(body))
	if first&6 != 0 {
		acks = append(acks, 0x40, 2, body[at], body[at+1])
		at += 2
	}
	l.onMessage(body[at+1:])
	return acks
}

func (l *limit) write(b []byte) error {
	l.writing.Lock()
	defer l.writing.Unlock()
	_, err := l.conn.Write(b)
	return err
}

// await waits until at most open packets are not acknowledged.
func (l *limit) await(open int) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.sent-l.acked > open && l.err == nil {
		l.changed.Wait()
	}
	return l.err
}

func (l *limit) nextID() uint16 {
	if l.lastID++; l.lastID == 0 {
		l.lastID = 1
	}
	return l.lastID
}

// frame is a PUBLISH; with QoS 1 its identifier lies before the last byte of
// the header.
func frame(topic string, payload []byte, qos byte) (b []byte, id int) {
	remaining := 2 + len(topic) + 1 + len(payload)
	if qos > 0 {
		remaining += 2
	}
	b = binary.AppendUvarint([]byte{0x30 | qos<<1}, uint64(remaining))
	b = append(binary.BigEndian.AppendUint16(b, uint16(len(topic))), topic...)
	id = len(b)
	if qos > 0 {
		b = append(b, 0, 0)
	}
	return append(append(b, 0), payload...), id
}

func (l *limit) publishMany(topic string, payload []byte, qos byte, n, window int) error {
	one, id := frame(topic, payload, qos)
	perWrite := max(1, (64<<10)/len(one))
	if qos > 0 {
		perWrite = max(1, min(perWrite, window/2))
	}
	var batch []byte
	for range perWrite {
		batch = append(batch, one...)
	}
	for n > 0 {
		k := min(n, perWrite)
		if qos > 0 {
			if err := l.await(window - k); err != nil {
				return err
			}
			for i := range k {
				binary.BigEndian.PutUint16(batch[i*len(one)+id:], l.nextID())
			}
			l.mu.Lock()
			l.sent += k
			l.mu.Unlock()
		}
		if err := l.write(batch[:k*len(one)]); err != nil {
			return err
		}
		n -= k
	}
	return l.await(0)
}

func (l *limit) publish(topic string, payload []byte, qos byte) error {
	return l.publishMany(topic, payload, qos, 1, 2)
}

func (l *limit) subscribe(filter string, qos byte) error {
	id := l.nextID()
	body := []byte{byte(id >> 8), byte(id), 0}
	body = append(binary.BigEndian.AppendUint16(body, uint16(len(filter))), filter...)
	body = append(body, qos)
	l.mu.Lock()
	l.sent++
	l.mu.Unlock()
	if err := l.write(append([]byte{0x82, byte(len(body))}, body...)); err != nil {
		return err
	}
	return l.await(0)
}

func (l *limit) close() error {
	_ = l.write([]byte{0xe0, 0})
	return l.conn.Close()
}
