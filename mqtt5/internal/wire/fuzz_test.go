// SPDX-License-Identifier: Apache-2.0

package wire_test

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	. "github.com/gocrt/aws-iot-device-sdk-go/mqtt5/internal/wire"
)

// FuzzDecode parses arbitrary bytes. Whatever is accepted has to survive being
// encoded and parsed again.
func FuzzDecode(f *testing.F) {
	for _, g := range goldens {
		f.Add(Unhex(f, g.bytes), !g.fromClient)
	}
	f.Add([]byte{0x30, 0xFF, 0xFF, 0xFF, 0x7F}, true)
	f.Fuzz(func(t *testing.T, b []byte, fromServer bool) {
		frame, need, err := ParseFrame(b, 0)
		switch {
		case err != nil:
			if need != 0 || frame.Size != 0 || err.Reason < 0x80 {
				t.Fatalf("need %d, size %d with %v", need, frame.Size, err)
			}
			return
		case need != 0:
			if need <= len(b) || need > MaxPacketSize {
				t.Fatalf("need %d with %d", need, len(b))
			}
			return
		}
		var packet any
		n := allocated(func() { packet, err = parse(&frame, fromServer) })
		// The fuzzer itself allocates now and then, hence the generous constant.
		if n > uint64(maxGrowth*len(b)+1<<20) && fromServer {
			t.Fatalf("%d bytes allocated for %d", n, len(b))
		}
		if err != nil {
			if err.Reason < 0x80 || err.Packet != frame.Type || err.Text == "" {
				t.Fatalf("%+v", err)
			}
			return
		}
		out := encode(t, frame.Type, packet)
		again := mustFrame(t, out)
		got, err := parse(&again, fromServer)
		if err != nil {
			t.Fatalf("% x is refused after encoding: %v", out, err)
		}
		if diff := cmp.Diff(packet, got); diff != "" {
			t.Fatalf("(-first +second):\n%s", diff)
		}
	})
}

// FuzzRoundTrip encodes packets with random contents and parses them.
func FuzzRoundTrip(f *testing.F) {
	for seed := range uint64(64) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) {
		g := generator{rand.New(rand.NewPCG(seed, 1))}
		typ, want := g.packet()
		b := encode(t, typ, want)
		frame := mustFrame(t, b)
		if frame.Type != typ {
			t.Fatalf("%v became %v", typ, frame.Type)
		}
		fromServer := true
		if d, ok := want.(*Disconnect); ok {
			fromServer = d.SessionExpiryInterval == nil
		}
		got, err := parse(&frame, fromServer)
		if err != nil {
			t.Fatalf("%v: %v\n% x", typ, err, b)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("%v (-want +got):\n%s", typ, diff)
		}
	})
}

// FuzzStream cuts a stream of packets at arbitrary places and checks that the
// packets come out whole, in order, and under a limit that just lets them pass.
func FuzzStream(f *testing.F) {
	for seed := range uint64(32) {
		f.Add(seed, uint8(seed))
	}
	f.Fuzz(func(t *testing.T, seed uint64, chunk uint8) {
		g := generator{rand.New(rand.NewPCG(seed, 2))}
		var packets [][]byte
		for range 1 + g.IntN(12) {
			packets = append(packets, encode2(t, &g))
		}
		limit := 0
		for _, p := range packets {
			limit = max(limit, len(p))
		}
		stream := bytes.Join(packets, nil)
		var buf []byte
		for len(stream) > 0 {
			n := min(1+g.IntN(int(chunk)+1), len(stream))
			buf = append(buf, stream[:n]...)
			stream = stream[n:]
			for {
				frame, need, err := ParseFrame(buf, uint32(limit))
				if err != nil {
					t.Fatal(err)
				}
				if need != 0 {
					if need <= len(buf) || len(packets) > 0 && need > max(len(packets[0]), 2) {
						t.Fatalf("need %d with %d of %d", need, len(buf), len(packets[0]))
					}
					break
				}
				if !bytes.Equal(buf[:frame.Size], packets[0]) {
					t.Fatalf("got % x, want % x", buf[:frame.Size], packets[0])
				}
				buf, packets = buf[frame.Size:], packets[1:]
			}
		}
		if len(buf) != 0 || len(packets) != 0 {
			t.Fatalf("%d bytes and %d packets left over", len(buf), len(packets))
		}
	})
}

func encode2(t *testing.T, g *generator) []byte {
	typ, p := g.packet()
	return encode(t, typ, p)
}

// FuzzChunks gives arbitrary bytes to the parser whole and in chunks: packets
// and the error at the end, if there is one, have to be the same.
func FuzzChunks(f *testing.F) {
	var all []byte
	for _, g := range goldens {
		all = append(all, Unhex(f, g.bytes)...)
	}
	f.Add(all, uint16(0), uint8(1))
	f.Add(append(all[:len(all):len(all)], 0x36, 0x00), uint16(0), uint8(3))
	f.Add(append(all[:len(all):len(all)], 0xD0, 0x05), uint16(120), uint8(200))
	f.Fuzz(func(t *testing.T, stream []byte, limit uint16, chunk uint8) {
		whole, errWhole := receive(stream, len(stream), uint32(limit))
		parts, errParts := receive(stream, 1+int(chunk), uint32(limit))
		if diff := cmp.Diff(whole, parts); diff != "" {
			t.Fatalf("(-whole +chunks):\n%s", diff)
		}
		if diff := cmp.Diff(errWhole, errParts); diff != "" {
			t.Fatalf("(-whole +chunks):\n%s", diff)
		}
	})
}

// receive reads packets from a stream that arrives in chunks, up to the first
// error, and returns their bytes.
func receive(stream []byte, chunk int, limit uint32) (packets []string, err *Error) {
	end := 0
	for {
		f, need, err := ParseFrame(stream[:end], limit)
		if err != nil {
			return packets, err
		}
		if need != 0 {
			if end == len(stream) {
				return packets, nil
			}
			end = min(end+max(chunk, 1), len(stream))
			continue
		}
		if _, err := parse(&f, true); err != nil {
			return packets, err
		}
		packets = append(packets, string(stream[:f.Size]))
		stream, end = stream[f.Size:], end-f.Size
	}
}

// generator makes valid packets.
type generator struct{ *rand.Rand }

func maybe[T any](g generator, f func() T) *T {
	if g.IntN(2) == 0 {
		return nil
	}
	v := f()
	return &v
}

func (g generator) flag() bool { return g.IntN(2) == 0 }
func (g generator) u16() uint16 {
	return uint16(g.Uint32())
}
func (g generator) id() uint16 { return uint16(1 + g.IntN(65_535)) }

// length is mostly small and sometimes around the border of a length encoding.
func (g generator) length() int {
	switch g.IntN(8) {
	case 0:
		return 0
	case 1:
		return 120 + g.IntN(20)
	case 2:
		return 16_370 + g.IntN(30)
	case 3:
		if g.IntN(8) == 0 {
			return 65_535
		}
	}
	return g.IntN(24)
}

func (g generator) text() string {
	const letters = "abc/ $0\u00e4\u20ac\U0001F600\u0001\ufeff"
	runes := []rune(letters)
	var out []byte
	n := g.length()
	for len(out) < n {
		out = append(out, string(runes[g.IntN(len(runes))])...)
	}
	for len(out) > 65_535 {
		return string(bytes.Repeat([]byte{'x'}, 65_535))
	}
	return string(out)
}

func (g generator) topic() string {
	if s := g.text(); s != "" {
		return s
	}
	return "t"
}

func (g generator) filter() string {
	return [...]string{"#", "+", "a/+/#", "$share/g/a", "/", "b/c"}[g.IntN(6)]
}

func (g generator) data() []byte {
	b := make([]byte, g.length())
	for i := range b {
		b[i] = byte(g.Uint32())
	}
	return b
}

func (g generator) maybeData() []byte {
	if g.flag() {
		return nil
	}
	return g.data()
}

func (g generator) user() []UserProperty {
	if g.flag() {
		return nil
	}
	list := make([]UserProperty, 1+g.IntN(3))
	for i := range list {
		list[i] = UserProperty{g.text(), g.text()}
	}
	return list
}

func (g generator) properties(subscriptionIDs bool) *PublishProperties {
	p := &PublishProperties{
		PayloadFormat:         maybe(g, func() uint8 { return uint8(g.IntN(2)) }),
		MessageExpiryInterval: maybe(g, g.Uint32),
		ResponseTopic:         maybe(g, g.topic),
		CorrelationData:       g.maybeData(),
		ContentType:           maybe(g, g.text),
		UserProperties:        g.user(),
	}
	if subscriptionIDs && g.flag() {
		for range 1 + g.IntN(3) {
			p.SubscriptionIDs = append(p.SubscriptionIDs, 1+g.Uint32N(MaxRemainingLength))
		}
	}
	if cmp.Equal(p, &PublishProperties{}) {
		return nil
	}
	return p
}

func (g generator) codes() []ReasonCode {
	list := make([]ReasonCode, 1+g.IntN(200))
	for i := range list {
		list[i] = ReasonCode(g.Uint32())
	}
	return list
}

func (g generator) packet() (Type, any) {
	switch typ := Type(1 + g.IntN(15)); typ {
	case TypeConnect:
		return typ, g.connect()
	case TypeConnack:
		return typ, g.connack()
	case TypePublish:
		p := &Publish{
			Topic: g.topic(), Payload: g.data(), Properties: g.properties(true), QoS: uint8(g.IntN(3)), Retain: g.flag(),
		}
		if p.QoS > 0 {
			p.PacketID, p.Dup = g.id(), g.flag()
		}
		if g.IntN(4) == 0 {
			p.TopicAlias = g.id()
			if g.flag() {
				p.Topic = ""
			}
		}
		return typ, p
	case TypeSubscribe:
		p := &Subscribe{
			PacketID: g.id(), UserProperties: g.user(),
			SubscriptionID: maybe(g, func() uint32 { return 1 + g.Uint32N(MaxRemainingLength) }),
		}
		for range 1 + g.IntN(9) {
			s := Subscription{
				TopicFilter: g.filter(), QoS: uint8(g.IntN(3)), RetainAsPublished: g.flag(), RetainHandling: uint8(g.IntN(3)),
			}
			s.NoLocal = g.flag() && !strings.HasPrefix(s.TopicFilter, SharedPrefix)
			p.Subscriptions = append(p.Subscriptions, s)
		}
		return typ, p
	case TypeUnsubscribe:
		p := &Unsubscribe{PacketID: g.id(), UserProperties: g.user()}
		for range 1 + g.IntN(9) {
			p.TopicFilters = append(p.TopicFilters, g.filter())
		}
		return typ, p
	case TypeSuback, TypeUnsuback:
		return typ, &SubscribeAck{PacketID: g.id(), ReasonCodes: g.codes(), ReasonString: maybe(g, g.text), UserProperties: g.user()}
	case TypeDisconnect:
		p := &Disconnect{ReasonCode: ReasonCode(g.IntN(256)), ReasonString: maybe(g, g.text), UserProperties: g.user()}
		if g.flag() {
			p.SessionExpiryInterval = maybe(g, g.Uint32)
		} else {
			p.ServerReference = maybe(g, g.text)
		}
		return typ, p
	case TypeAuth:
		return typ, &Auth{
			ReasonCode: ReasonCode(g.IntN(256)), AuthenticationMethod: ptr(g.text()), AuthenticationData: g.maybeData(),
			ReasonString: maybe(g, g.text), UserProperties: g.user(),
		}
	case TypePingreq, TypePingresp:
		return typ, nil
	default:
		return typ, &Ack{
			PacketID: g.id(), ReasonCode: ReasonCode(g.IntN(2) * g.IntN(256)), ReasonString: maybe(g, g.text), UserProperties: g.user(),
		}
	}
}

func (g generator) connect() *Connect {
	p := &Connect{
		ClientID: g.text(), CleanStart: g.flag(), KeepAlive: g.u16(), Username: maybe(g, g.text), Password: g.maybeData(),
		SessionExpiryInterval: maybe(g, g.Uint32), ReceiveMaximum: maybe(g, g.id),
		MaximumPacketSize: maybe(g, func() uint32 { return 1 + g.Uint32N(1<<31) }), TopicAliasMaximum: maybe(g, g.u16),
		RequestResponseInformation: maybe(g, g.flag), RequestProblemInformation: maybe(g, g.flag),
		AuthenticationMethod: maybe(g, g.text), UserProperties: g.user(),
	}
	if p.AuthenticationMethod != nil {
		p.AuthenticationData = g.maybeData()
	}
	if g.flag() {
		p.Will = &Will{
			Topic: g.topic(), Payload: g.data(), QoS: uint8(g.IntN(3)), Retain: g.flag(),
			DelayInterval: maybe(g, g.Uint32), Properties: g.properties(false),
		}
	}
	return p
}

func (g generator) connack() *Connack {
	p := &Connack{
		SessionExpiryInterval: maybe(g, g.Uint32), ReceiveMaximum: maybe(g, g.id),
		MaximumQoS: maybe(g, func() uint8 { return uint8(g.IntN(2)) }), RetainAvailable: maybe(g, g.flag),
		MaximumPacketSize: maybe(g, func() uint32 { return 1 + g.Uint32N(1<<31) }), AssignedClientID: maybe(g, g.text),
		TopicAliasMaximum: maybe(g, g.u16), ReasonString: maybe(g, g.text),
		WildcardSubscriptionsAvailable: maybe(g, g.flag), SubscriptionIDsAvailable: maybe(g, g.flag),
		SharedSubscriptionsAvailable: maybe(g, g.flag), ServerKeepAlive: maybe(g, g.u16),
		ResponseInformation: maybe(g, g.text), ServerReference: maybe(g, g.text),
		AuthenticationMethod: maybe(g, g.text), UserProperties: g.user(),
	}
	if p.AuthenticationMethod != nil {
		p.AuthenticationData = g.maybeData()
	}
	if g.flag() {
		p.ReasonCode = ReasonCode(g.IntN(256))
	} else {
		p.SessionPresent = g.flag()
	}
	return p
}

// TestRoundTrip runs the round trip and the stream over more seeds than the
// fuzz targets start with.
func TestRoundTrip(t *testing.T) {
	t.Parallel()
	for seed := range uint64(400) {
		g := generator{rand.New(rand.NewPCG(seed, 3))}
		typ, want := g.packet()
		b := encode(t, typ, want)
		f := mustFrame(t, b)
		d, ok := want.(*Disconnect)
		got, err := parse(&f, !ok || d.SessionExpiryInterval == nil)
		if err != nil || !cmp.Equal(want, got) {
			t.Fatalf("seed %d: %v, %v\n%s", seed, typ, err, cmp.Diff(want, got))
		}
	}
}
