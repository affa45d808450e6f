// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/internal/wire"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/internal/wire/wiretest"
)

// FuzzServerBytes feeds an engine with whatever a server might send, cut in
// any way.
func FuzzServerBytes(f *testing.F) {
	var all []byte
	all = wire.AppendPublish(all, &wire.Publish{Topic: "a", QoS: 1, PacketID: 1, TopicAlias: 1})
	all = wire.AppendPublish(all, &wire.Publish{QoS: 2, PacketID: 1, TopicAlias: 1, Payload: []byte("x")})
	for _, t := range []wire.Type{wire.TypePuback, wire.TypePubrec, wire.TypePubcomp, wire.TypePubrel} {
		for id := range uint16(4) {
			one := wire.AppendAck(nil, t, &wire.Ack{PacketID: id + 1})
			f.Add(one, uint8(1), false)
			all = append(all, one...)
		}
	}
	all = wiretest.AppendSubscribeAck(all, wire.TypeSuback, &wire.SubscribeAck{PacketID: 3, ReasonCodes: []wire.ReasonCode{0}})
	all = wiretest.AppendPingresp(all)
	f.Add(all, uint8(3), false)
	f.Add(wiretest.AppendConnack(nil, &wire.Connack{}), uint8(2), true)
	f.Add(wire.AppendDisconnect(nil, &wire.Disconnect{ReasonCode: wire.ServerBusy}), uint8(0), false)
	f.Add([]byte{0xFF, 0xFF}, uint8(0), false)
	f.Fuzz(func(t *testing.T, data []byte, chunk uint8, handshake bool) {
		r := newRig(t, &Config{InAliasMax: 2, AckTimeout: time.Minute})
		if handshake {
			r.dial(&wire.Connect{ClientID: "c"})
		} else {
			r.connect(&wire.Connack{})
			r.publish("a", 1)
			r.publish("b", 2)
			r.subscribe("c")
			r.flush()
		}
		size := int(chunk) + 1
		var inbox []byte
		for rest := data; len(rest) > 0; {
			n := min(size, len(rest))
			inbox = append(inbox, rest[:n]...)
			rest = rest[n:]
			consumed, need := r.e.Receive(r.now, inbox)
			if consumed > len(inbox) || need != 0 && need <= len(inbox)-consumed {
				t.Fatalf("consumed %d of %d, need %d", consumed, len(inbox), need)
			}
			inbox = inbox[consumed:]
			if held := len(r.e.control) + 64*len(r.e.acks.records); held > 1024+64*len(data) {
				t.Fatalf("%d bytes held after %d", held, len(data))
			}
		}
		switch r.e.State() {
		case Handshake, Connected, Closing:
		case Disconnecting:
			packets := r.flush()
			if len(packets) == 0 || packets[len(packets)-1].Type != wire.TypeDisconnect || packets[len(packets)-1].Body[0] < 0x80 {
				t.Fatalf("disconnecting without a DISCONNECT: %v", packets)
			}
			if r.e.State() != Closing {
				t.Fatalf("%v after DISCONNECT was written", r.e.State())
			}
		default:
			t.Fatalf("state %v", r.e.State())
		}
		r.e.Close(r.now)
		r.e.TransportClosed(r.now)
		if r.e.State() != Closed || r.e.Stats().Incomplete != 0 {
			t.Fatalf("%v, %+v", r.e.State(), r.e.Stats())
		}
	})
}

// FuzzEvents plays the simulation with an order of events that is not drawn
// but given.
func FuzzEvents(f *testing.F) {
	f.Add([]byte("0123456789abcdefghijklmnopqrstuvwxyz"))
	f.Add([]byte{1, 0, 0, 0, 0, 0, 0, 0, 44, 60, 60, 60, 0, 0, 12, 24, 36, 36, 0, 0, 12, 24, 52, 52})
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) < 8 || len(data) > 4096 {
			return
		}
		s := newSimulation(t, binary.LittleEndian.Uint64(data)|1)
		for _, d := range data[8:] {
			s.do(int(d) & 63)
			s.checkStructure()
			if s.e.state == Closed {
				break
			}
		}
		if s.e.state != Closed {
			s.finish()
		}
		s.checkRest()
	})
}
