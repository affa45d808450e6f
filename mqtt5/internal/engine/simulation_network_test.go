// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"errors"
	"io"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/internal/wire"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/internal/wire/wiretest"
)

// link is the network: a transport, and the bytes on their way.
type link struct {
	state   linkState
	dead    bool // cut, but the client has not noticed
	number  int  // of the connection
	writing bool
	taken   int // bytes handed over to the transport
	moved   int // of those, how many have left
	up      []packet
	down    []byte // not consumed by the client
	arrived int    // of down, how many can be read
	base    int    // stream position of down
	queue   []packet
	never   bool // the dial is never answered
	sticky  bool // closing is never confirmed
	budget  int  // bytes until the cut; negative: none
}

type linkState uint8

const (
	linkNone linkState = iota
	linkDialing
	linkOpen
	linkClosing
)

// packet is a packet on its way, in either direction.
type packet struct {
	end     int // stream position of its end
	t       wire.Type
	qos     uint8
	dup     bool
	flag    bool // CONNACK: session present; AUTH: success
	id      uint16
	reason  wire.ReasonCode
	serial  uint64 // of the operation, or of the server's message
	topic   string
	codes   []wire.ReasonCode
	connect *wire.Connect
	connack *wire.Connack
}

// settle does what the engine asks for.
func (s *simulation) settle() {
	l := &s.link
	todo := s.e.Todo(s.now)
	if todo.Close {
		if l.state != linkDialing && l.state != linkOpen {
			s.fail("nothing to close")
		}
		s.hangUp()
		l.state = linkClosing
		l.sticky = s.fault(8)
	}
	if todo.Dial {
		s.expireAcks()
		if l.state == linkClosing {
			l.state = linkNone // given up: its end does not matter any more
		}
		if l.state != linkNone {
			s.fail("a second transport")
		}
		*l = link{state: linkDialing, number: l.number, never: s.fault(10), budget: -1}
		if s.fault(4) {
			l.budget = s.n(1 << s.n(12))
		}
	}
}

// transport moves the transport on.
func (s *simulation) transport() {
	l := &s.link
	switch l.state {
	case linkDialing:
		switch {
		case s.one(2):
			s.e.DialStarted(s.now)
		case l.never:
		case s.fault(6):
			l.state = linkNone
			s.e.TransportFailed(s.now, errors.New("no route"))
		default:
			l.state = linkOpen
			s.expireAcks()
			s.tap.begin(s, l.number)
			l.number++
			s.srv.begin()
			s.challenge, s.confirm, s.paused = 0, false, false
			hello := s.hello
			s.e.TransportOpened(s.now, &hello)
		}
	case linkOpen:
		if l.dead && s.one(2) {
			if s.one(2) {
				s.e.TransportError(s.now, pick(s, io.EOF, errors.New("reset")))
			} else {
				s.hangUp()
				l.state = linkNone
				s.e.TransportClosed(s.now)
			}
		}
	case linkClosing:
		if !l.sticky {
			l.state = linkNone
			s.e.TransportClosed(s.now)
		}
	}
}

// cut ends the connection somewhere on the way.
func (s *simulation) cut() {
	if s.link.dead || s.link.state != linkOpen {
		return
	}
	s.tally.cuts++
	s.hangUp()
}

// hangUp informs the server that the connection is over. What has arrived there
// may or may not be handled.
func (s *simulation) hangUp() {
	l := &s.link
	if l.state != linkOpen || l.dead {
		return
	}
	if s.tracing {
		s.trace("connection %d ends", l.number)
	}
	if s.one(2) {
		s.srv.handleAll()
	}
	l.dead = true
	s.srv.end()
}

// write moves bytes to the server.
func (s *simulation) write() {
	l := &s.link
	if l.state != linkOpen {
		return
	}
	if !l.writing {
		if s.e.canWrite(s.now) {
			s.take()
		}
		return
	}
	if s.srv.mute && !s.one(8) {
		return // stuck
	}
	k := l.taken - l.moved
	if !s.one(2) {
		k = 1 + s.n(k)
	}
	if l.budget >= 0 && !l.dead {
		if k >= l.budget {
			l.moved += l.budget
			s.cut()
			return
		}
		l.budget -= k
	}
	l.moved += k
	if l.moved == l.taken {
		l.writing = false
		s.tap.lastSent = s.now
		s.e.WriteDone(s.now)
	}
}

// take takes the engine's output.
func (s *simulation) take() {
	l := &s.link
	var out Output
	if !s.e.TakeOutput(s.now, &out) {
		return
	}
	b, whole := out.Bytes()
	if !whole {
		b = nil
		for _, part := range out.Segments(nil) {
			b = append(b, part...)
		}
	}
	if len(b) != out.Len() {
		s.fail("output of %d bytes says that it has %d", len(b), out.Len())
	}
	l.writing = true
	base := l.taken
	l.taken += len(b)
	for rest := b; len(rest) > 0; {
		f, need, err := wiretest.ParseFrame(rest, 0)
		if err != nil || need > 0 {
			s.fail("output is not a packet: %v, need %d of %d", err, need, len(rest))
		}
		rest = rest[f.Size:]
		p := s.tap.packet(s, &f)
		p.end = base + len(b) - len(rest)
		if !l.dead {
			l.up = append(l.up, p)
		}
	}
	s.tap.lastSent = s.now
}

// read lets bytes arrive at the client.
func (s *simulation) read() {
	l := &s.link
	if l.state != linkOpen || s.paused || s.confirm || len(l.down) == 0 || l.dead && s.one(4) {
		return
	}
	if l.arrived < len(l.down) {
		if s.one(2) {
			l.arrived = len(l.down)
		} else {
			l.arrived += 1 + s.n(len(l.down)-l.arrived)
		}
	}
	counts := s.e.state == Handshake || s.e.state == Connected
	authenticates := s.e.state == Handshake && s.hello.AuthenticationMethod != nil
	for len(l.queue) > 0 && l.queue[0].end <= l.base+l.arrived {
		p := l.queue[0]
		if counts {
			s.inbox.packet(s, &p)
		}
		l.queue = l.queue[1:]
		if authenticates && p.t == wire.TypeConnack {
			break // what follows waits until the server has convinced us
		}
	}
	consumed, need := s.e.Receive(s.now, l.down[:l.arrived])
	if consumed > l.arrived || need != 0 && need <= l.arrived-consumed {
		s.fail("consumed %d of %d, need %d", consumed, l.arrived, need)
	}
	if s.srv.hostile && len(l.queue) == 0 && s.e.state == Connected {
		s.fail("the engine puts up with a breach of the rules")
	}
	if counts && len(s.inbox.expected) > 0 {
		s.fail("%d messages were not delivered", len(s.inbox.expected))
	}
	rest := copy(l.down, l.down[consumed:])
	l.down = l.down[:rest]
	l.base += consumed
	l.arrived -= consumed
}
