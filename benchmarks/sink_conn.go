// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"regexp"
	"strconv"
	"sync"
)

// sinkBuffer is how large the read buffer of a busy connection gets.
const sinkBuffer = 256 << 10

// sinkConn is one connection of a sink. Its goroutine reads and answers; a
// source, if there is one, sends on another.
type sinkConn struct {
	sink *sink
	conn net.Conn

	writing sync.Mutex // one write at a time

	mu      sync.Mutex
	credits sync.Cond // changes of credit and closed
	credit  int       // messages of QoS 1 that the source may still send
	owed    int       // messages of the source without PUBACK
	fences  []uint16  // PUBLISHes to be acknowledged when owed is 0
	closed  bool
}

var (
	errPacket    = errors.New("not a packet that a client sends")
	receiveMaxID = regexp.MustCompile(`-rm(\d+)-`)
	sourceFilter = regexp.MustCompile(`^source/([01])/(\d+)/(\d+)$`)
	pingresp     = []byte{0xd0, 0}
)

func (c *sinkConn) serve() {
	defer c.end()
	buf := make([]byte, 2<<10) // an idle connection needs no more
	have := 0
	var out []byte
	for {
		n, err := c.conn.Read(buf[have:])
		if err != nil {
			return
		}
		have += n
		full := have == len(buf)
		rest := buf[:have]
		out = out[:0]
		acks, need := 0, 0
		for {
			size, header := frameSize(rest)
			if size == 0 || size > len(rest) {
				need = size
				break
			}
			if out, err = c.packet(rest[0], rest[header:size], out, &acks); err != nil {
				return
			}
			rest = rest[size:]
		}
		if full && len(buf) < sinkBuffer {
			need = max(need, min(2*len(buf), sinkBuffer))
		}
		into := buf
		if need > len(buf) {
			into = make([]byte, need)
		}
		have = copy(into, rest)
		buf = into
		if acks > 0 {
			out = c.acknowledged(acks, out)
		}
		if len(out) > 0 && c.write(out) != nil {
			return
		}
	}
}

func (c *sinkConn) write(b []byte) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	_, err := c.conn.Write(b)
	return err
}

func (c *sinkConn) end() {
	c.conn.Close()
	c.sink.mu.Lock()
	delete(c.sink.conns, c)
	c.sink.mu.Unlock()
	c.mu.Lock()
	c.closed = true
	c.credits.Broadcast()
	c.mu.Unlock()
}

// frameSize returns the size of the first packet and of its fixed header; 0 if
// that is not known yet.
func frameSize(b []byte) (size, header int) {
	length, shift := 0, 0
	for i := 1; i < len(b) && i < 5; i++ {
		length |= int(b[i]&0x7f) << shift
		if b[i] < 0x80 {
			return length + i + 1, i + 1
		}
		shift += 7
	}
	return 0, 0
}

// packet handles one packet and appends the answer to out.
func (c *sinkConn) packet(first byte, body, out []byte, acks *int) ([]byte, error) {
	switch first >> 4 {
	case 1:
		return c.connect(body, out)
	case 3:
		if first&6 == 0 && !bytes.HasPrefix(body[2:], []byte("cut")) {
			return out, nil
		}
		return c.publish(first>>1&3, body, out)
	case 4:
		*acks++
		return out, nil
	case 6: // PUBREL
		return append(out, 0x70, 2, body[0], body[1]), nil
	case 8:
		return c.subscribe(body, out)
	case 12:
		return append(out, pingresp...), nil
	}
	return out, errPacket
}

func (c *sinkConn) connect(body, out []byte) ([]byte, error) {
	if len(body) < 13 {
		return out, errPacket
	}
	properties, n := binary.Uvarint(body[10:])
	rest := body[10+n:]
	c.credit = 65535
	for p := rest[:properties]; len(p) > 0; {
		switch p[0] {
		case 0x21:
			c.credit = int(binary.BigEndian.Uint16(p[1:]))
			p = p[3:]
		case 0x22: // Topic Alias Maximum
			p = p[3:]
		case 0x11, 0x27: // Session Expiry Interval, Maximum Packet Size
			p = p[5:]
		case 0x17, 0x19:
			p = p[2:]
		default:
			return out, fmt.Errorf("%w: property %#x", errPacket, p[0])
		}
	}
	rest = rest[properties:]
	id := rest[2 : 2+int(binary.BigEndian.Uint16(rest))]
	if m := receiveMaxID.FindSubmatch(id); m != nil {
		maximum, _ := strconv.Atoi(string(m[1]))
		return append(out, 0x20, 6, 0, 0, 3, 0x21, byte(maximum>>8), byte(maximum)), nil
	}
	return append(out, 0x20, 3, 0, 0, 0), nil
}

func (c *sinkConn) publish(qos byte, body, out []byte) ([]byte, error) {
	length := int(binary.BigEndian.Uint16(body))
	topic := body[2 : 2+length]
	if bytes.Equal(topic, []byte("cut")) {
		c.sink.cut(c)
	}
	switch qos {
	case 1:
		id := binary.BigEndian.Uint16(body[2+length:])
		if bytes.Equal(topic, []byte("fence")) {
			c.mu.Lock()
			defer c.mu.Unlock()
			if c.owed > 0 {
				c.fences = append(c.fences, id)
				return out, nil
			}
		}
		return append(out, 0x40, 2, byte(id>>8), byte(id)), nil
	case 2:
		return append(out, 0x50, 2, body[2+length], body[3+length]), nil
	}
	return out, nil
}

func (c *sinkConn) subscribe(body, out []byte) ([]byte, error) {
	properties, n := binary.Uvarint(body[2:])
	rest := body[2+n+int(properties):]
	filter := rest[2 : 2+int(binary.BigEndian.Uint16(rest))]
	out = append(out, 0x90, 4, body[0], body[1], 0, 0)
	if m := sourceFilter.FindSubmatch(filter); m != nil {
		qos, size, count := int(m[1][0]-'0'), atoi(m[2]), atoi(m[3])
		if err := c.write(out); err != nil {
			return out, err
		}
		out = out[:0]
		go c.source(qos, size, count)
	}
	return out, nil
}

func atoi(b []byte) int {
	n, _ := strconv.Atoi(string(b))
	return n
}

// acknowledged notes PUBACKs for the source, and appends the answers that
// waited for them.
func (c *sinkConn) acknowledged(n int, out []byte) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.credit += n
	c.owed -= n
	c.credits.Signal()
	if c.owed <= 0 {
		for _, id := range c.fences {
			out = append(out, 0x40, 2, byte(id>>8), byte(id))
		}
		c.fences = nil
	}
	return out
}

// source sends count messages, many with one write.
func (c *sinkConn) source(qos, size, count int) {
	one := sourceMessage(qos, size)
	perWrite := max(1, (64<<10)/len(one))
	batch := bytes.Repeat(one, perWrite)
	id := uint16(0)
	if qos == 1 {
		c.mu.Lock()
		c.owed += count
		c.mu.Unlock()
	}
	for count > 0 {
		n := min(count, perWrite)
		if qos == 1 {
			c.mu.Lock()
			for c.credit == 0 && !c.closed {
				c.credits.Wait()
			}
			n = min(n, c.credit)
			c.credit -= n
			closed := c.closed
			c.mu.Unlock()
			if closed {
				return
			}
			for i := range n {
				if id++; id == 0 {
					id = 1
				}
				binary.BigEndian.PutUint16(batch[(i+1)*len(one)-size-3:], id)
			}
		}
		if c.write(batch[:n*len(one)]) != nil {
			return
		}
		count -= n
	}
}

// sourceMessage is a PUBLISH to the topic "source". With QoS 1 its identifier
// lies three bytes before the payload.
func sourceMessage(qos, size int) []byte {
	const topic = "source"
	remaining := 2 + len(topic) + 2*qos + 1 + size
	b := binary.AppendUvarint([]byte{0x30 | byte(qos<<1)}, uint64(remaining))
	b = append(binary.BigEndian.AppendUint16(b, uint16(len(topic))), topic...)
	b = append(b, make([]byte, 2*qos+1+size)...)
	return b
}
