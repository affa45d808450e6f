// SPDX-License-Identifier: Apache-2.0

package mqtttest

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// EventKind says what an [Event] of the journal is.
type EventKind byte

// The kinds of events.
const (
	Opened   EventKind = iota + 1 // a connection was made
	Refused                       // a connection was refused, or given up by who dialed
	Received                      // a packet, or bytes that are none, came from the client
	Sent                          // a packet, or bytes that are none, went to the client
	Closed                        // the client closed the connection, or the server did; Err says which
)

// String returns the kind's name.
func (k EventKind) String() string {
	switch k {
	case Opened:
		return "opened"
	case Refused:
		return "refused"
	case Received:
		return "received"
	case Sent:
		return "sent"
	case Closed:
		return "closed"
	}
	return fmt.Sprintf("EventKind(%d)", byte(k))
}

// Event is one line of the journal of a [Server].
type Event struct {
	Time time.Time
	Conn int // number of the connection, counted from 1 in the order they were made; 0 for a refused one
	Kind EventKind
	// Packet is what was sent or received; nil when the bytes received are not a packet.
	Packet Packet
	// Bytes is the wire form of Packet, or what there was of it.
	Bytes []byte
	// Err says why bytes are not a packet, why a connection was refused, or how it ended.
	Err error
}

// String describes the event in a line.
func (e Event) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s #%d %v", e.Time.Format("15:04:05.000000"), e.Conn, e.Kind)
	if e.Packet != nil {
		b.WriteByte(' ')
		b.WriteString(Describe(e.Packet))
	} else if len(e.Bytes) > 0 {
		fmt.Fprintf(&b, " % x", e.Bytes[:min(len(e.Bytes), 64)])
	}
	if e.Err != nil {
		fmt.Fprintf(&b, " (%v)", e.Err)
	}
	return b.String()
}

// PacketsOf returns the packets of type T among events, in order. With T
// [Packet] it returns all of them.
//
//	published := mqtttest.PacketsOf[mqtttest.Publish](srv.Journal())
func PacketsOf[T Packet](events []Event) []T {
	var list []T
	for _, e := range events {
		if p, ok := e.Packet.(T); ok {
			list = append(list, p)
		}
	}
	return list
}

// Journal returns all that has happened so far, in order. See [JournalLimit]
// for the limit.
func (s *Server) Journal() []Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.journal)
}

// Received returns the packets that clients have sent so far, on all
// connections and in the order they were read.
func (s *Server) Received() []Packet {
	var list []Packet
	for _, e := range s.Journal() {
		if e.Kind == Received && e.Packet != nil {
			list = append(list, e.Packet)
		}
	}
	return list
}

func (s *Server) record(e Event) {
	e.Time = time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := s.opts.journalLimit; n > 0 && len(s.journal) >= 2*n {
		s.journal = append([]Event(nil), s.journal[len(s.journal)-n+1:]...)
	}
	s.journal = append(s.journal, e)
	s.notify()
}

// WaitFor waits until cond, called with the journal each time it has grown,
// returns true. It reports a failure of the test and returns false when that
// takes longer than the timeout of the server.
func (s *Server) WaitFor(what string, cond func([]Event) bool) bool {
	s.tb.Helper()
	ok := s.wait(func() bool {
		events := s.journal
		s.mu.Unlock()
		defer s.mu.Lock()
		return cond(events[:len(events):len(events)])
	})
	if !ok {
		s.fail("mqtttest: still waiting for %s after %v", what, s.opts.timeout)
	}
	return ok
}

// wait calls cond under the lock whenever something has changed, until it is
// true or the timeout is over.
func (s *Server) wait(cond func() bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	expired := false
	if s.opts.timeout > 0 {
		t := time.AfterFunc(s.opts.timeout, func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			expired = true
			s.notify()
		})
		defer t.Stop()
	}
	for {
		before := s.version
		if cond() {
			return true
		}
		if expired {
			return false
		}
		// cond may have let go of the lock: look again instead of waiting when
		// something happened meanwhile.
		if s.version == before {
			s.changed.Wait()
		}
	}
}
