// SPDX-License-Identifier: Apache-2.0

package mqtt5

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/internal/engine"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/internal/wire"
)

// Records begin with the version of their encoding and end with a CRC-32C of
// what is before it, whatever the store itself checks.
//
//	publish = version expiry(8, Unix ms, 0: none) PUBLISH(as MQTT 5 has it, packet identifier 1, no alias) sum(4)
//	state   = version stage packet identifier(2) order(varint)        of a publish; empty: queued
//	filters = version (filter string, options, identifier(varint), count(varint) (name string, value string)...)... sum(4)
//	session = version address length(varint) address client identifier sum(4)
const recordVersion = 1

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// errRecord reports a record that only damage, or a program that
// is not ours, could have made.
var errRecord = errors.New("not a record of this kind")

func seal(b []byte) []byte {
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// unseal checks a record and returns its content, between version and checksum.
func unseal(b []byte) ([]byte, error) {
	if len(b) < 5 {
		return nil, errRecord
	}
	end := len(b) - 4
	if crc32.Checksum(b[:end], castagnoli) != binary.LittleEndian.Uint32(b[end:]) {
		return nil, errors.New("wrong checksum")
	}
	if b[0] != recordVersion {
		return nil, fmt.Errorf("%w: version %d", ErrStoreVersion, b[0])
	}
	return b[1:end], nil
}

// encodePublish returns the record of a publish. Topic aliases belong to a
// connection and are left out.
func encodePublish(p *wire.Publish, expires time.Time) []byte {
	own := *p
	own.PacketID, own.TopicAlias, own.Dup = 1, 0, false
	b := make([]byte, 0, 1+8+wire.PublishSize(&own)+4)
	b = append(b, recordVersion)
	var ms int64
	if !expires.IsZero() {
		ms = expires.UnixMilli()
	}
	b = binary.LittleEndian.AppendUint64(b, uint64(ms))
	return seal(wire.AppendPublish(b, &own))
}

// decodePublish reads what encodePublish made. The publish refers to b.
func decodePublish(b []byte) (p wire.Publish, expires time.Time, err error) {
	if b, err = unseal(b); err != nil {
		return p, expires, err
	}
	if len(b) < 8 {
		return p, expires, errRecord
	}
	if ms := int64(binary.LittleEndian.Uint64(b)); ms != 0 {
		expires = time.UnixMilli(ms)
	}
	var f wire.Frame
	need, e := f.Parse(b[8:], wire.MaxPacketSize)
	if e != nil || need > 0 || int(f.Size) != len(b)-8 || f.Type != wire.TypePublish {
		return p, expires, errRecord
	}
	var v wire.PublishView
	if e := wire.ParsePublish(&f, &v); e != nil || v.QoS == 0 || v.TopicAlias != 0 {
		return p, expires, errRecord
	}
	p = wire.Publish{Topic: string(v.Topic), Payload: v.Payload, QoS: v.QoS, Retain: v.Retain}
	if len(v.Properties) > 0 {
		p.Properties = new(wire.PublishProperties)
		v.Decode(p.Properties)
	}
	return p, expires, nil
}

func encodeState(s engine.KeptState) []byte {
	if s.Stage == engine.KeptQueued {
		return nil
	}
	b := []byte{recordVersion, byte(s.Stage)}
	b = binary.LittleEndian.AppendUint16(b, s.PacketID)
	return binary.AppendUvarint(b, s.Order)
}

func decodeState(b []byte) (s engine.KeptState, err error) {
	if len(b) == 0 {
		return s, nil
	}
	if len(b) < 5 || b[0] != recordVersion || b[1] > byte(engine.KeptReleased) {
		return s, errRecord
	}
	order, n := binary.Uvarint(b[4:])
	if n <= 0 || n != len(b)-4 {
		return s, errRecord
	}
	return engine.KeptState{Stage: engine.KeptStage(b[1]), PacketID: binary.LittleEndian.Uint16(b[2:]), Order: order}, nil
}

// storedSession says whose session a store has.
type storedSession struct{ address, clientID string }

func (s storedSession) encode() []byte {
	b := []byte{recordVersion}
	b = binary.AppendUvarint(b, uint64(len(s.address)))
	b = append(b, s.address...)
	return seal(append(b, s.clientID...))
}

func decodeSession(b []byte) (s storedSession, err error) {
	if b, err = unseal(b); err != nil {
		return s, err
	}
	n, used := binary.Uvarint(b)
	if used <= 0 || n > uint64(len(b)-used) {
		return s, errRecord
	}
	b = b[used:]
	return storedSession{address: string(b[:n]), clientID: string(b[n:])}, nil
}

// connectedState is the state of the session record: when the last connection
// was known to be up, and for how long the server keeps its session after that.
type connectedState struct {
	at     time.Time
	expiry uint32 // seconds; the largest value: for ever
}

func (s connectedState) encode() []byte {
	b := binary.LittleEndian.AppendUint64([]byte{recordVersion}, uint64(s.at.UnixMilli()))
	return binary.LittleEndian.AppendUint32(b, s.expiry)
}

func decodeConnected(b []byte) (s connectedState, ok bool) {
	if len(b) != 13 || b[0] != recordVersion {
		return s, false
	}
	return connectedState{time.UnixMilli(int64(binary.LittleEndian.Uint64(b[1:]))), binary.LittleEndian.Uint32(b[9:])}, true
}

// expired reports whether the server cannot have the session any more.
func (s connectedState) expired(now time.Time) bool {
	return s.expiry != 1<<32-1 && now.Sub(s.at) > time.Duration(s.expiry)*time.Second
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// The bits of the options of a filter, as in SUBSCRIBE.
const (
	optionNoLocal           = 1 << 2
	optionRetainAsPublished = 1 << 3
)

func encodeFilters(list []engine.Filter) []byte {
	b := []byte{recordVersion}
	for i := range list {
		f := &list[i]
		b = appendString(b, f.TopicFilter)
		options := f.QoS | f.RetainHandling<<4
		if f.NoLocal {
			options |= optionNoLocal
		}
		if f.RetainAsPublished {
			options |= optionRetainAsPublished
		}
		b = append(b, options)
		var id uint32
		if f.ID != nil {
			id = *f.ID
		}
		b = binary.AppendUvarint(b, uint64(id))
		b = binary.AppendUvarint(b, uint64(len(f.Properties)))
		for _, p := range f.Properties {
			b = appendString(appendString(b, p.Name), p.Value)
		}
	}
	return seal(b)
}

func decodeFilters(b []byte) (list []engine.Filter, err error) {
	if b, err = unseal(b); err != nil {
		return nil, err
	}
	r := recordReader{rest: b}
	for len(r.rest) > 0 && !r.failed {
		var f engine.Filter
		f.TopicFilter = r.string()
		options := r.byte()
		f.QoS, f.RetainHandling = options&3, options>>4
		f.NoLocal, f.RetainAsPublished = options&optionNoLocal != 0, options&optionRetainAsPublished != 0
		if id := uint32(r.number()); id != 0 {
			f.ID = &id
		}
		for n := r.number(); n > 0 && !r.failed; n-- {
			f.Properties = append(f.Properties, wire.UserProperty{Name: r.string(), Value: r.string()})
		}
		list = append(list, f)
	}
	if r.failed {
		return nil, errRecord
	}
	return list, nil
}

// recordReader reads the fields of a record. What is not there makes it fail.
type recordReader struct {
	rest   []byte
	failed bool
}

func (r *recordReader) take(n uint64) []byte {
	if r.failed || n > uint64(len(r.rest)) {
		r.failed = true
		return nil
	}
	b := r.rest[:n]
	r.rest = r.rest[n:]
	return b
}

func (r *recordReader) byte() byte {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *recordReader) number() uint64 {
	n, used := binary.Uvarint(r.rest)
	if used <= 0 {
		r.failed = true
		return 0
	}
	r.rest = r.rest[used:]
	return n
}

func (r *recordReader) string() string { return string(r.take(r.number())) }
