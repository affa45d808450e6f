// SPDX-License-Identifier: Apache-2.0

package wire

import "encoding/binary"

// reader takes the body of a packet apart, field by field. After the first
// error all reads return zero values and err stays. It is for packets that are
// rare; PUBLISH and the acknowledgements are read without it.
type reader struct {
	rest []byte
	err  *Error
	t    Type
}

func newReader(f *Frame) reader { return reader{rest: f.Body, t: f.Type} }

func (r *reader) fail(err *Error) {
	if r.err == nil {
		r.err, r.rest = err, nil
	}
}

// take returns the next n bytes. what names the field.
func (r *reader) take(n int, what string) []byte {
	if n > len(r.rest) {
		r.fail(malformed(r.t, "2.1.4", what+" runs past the end of the packet"))
		return nil
	}
	b := r.rest[:n]
	r.rest = r.rest[n:]
	return b
}

func (r *reader) byte(what string) uint8 {
	if b := r.take(1, what); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) uint16(what string) uint16 {
	if b := r.take(2, what); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

// packetID reads a packet identifier, which is never 0 (section 2.2.1).
func (r *reader) packetID() uint16 {
	id := r.uint16("packet identifier")
	if r.err == nil && id == 0 {
		r.fail(errPacketIDZero(r.t))
	}
	return id
}

// properties reads a property list and returns a walk over it.
func (r *reader) properties(at place) properties {
	if r.err != nil {
		return properties{}
	}
	list, rest, err := splitProperties(r.t, r.rest)
	if err != nil {
		r.fail(err)
		return properties{}
	}
	r.rest = rest
	return properties{rest: list, place: at}
}

// next advances ps and reports whether there is a property.
func (r *reader) next(ps *properties, p *property) bool {
	if r.err != nil || len(ps.rest) == 0 {
		return false
	}
	if err := ps.next(p); err != nil {
		r.fail(err)
		return false
	}
	return true
}

// end demands that nothing is left over and returns the error, if any.
func (r *reader) end() *Error {
	if r.err == nil && len(r.rest) != 0 {
		return malformed(r.t, "2.1.4", "bytes are left over at the end of the packet")
	}
	return r.err
}

func errPacketIDZero(t Type) *Error {
	rule := "2.2.1"
	if t == TypePublish {
		rule = "MQTT-2.2.1-4"
	}
	return protocolError(t, rule, "packet identifier is 0")
}
