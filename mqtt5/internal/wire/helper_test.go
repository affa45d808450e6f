// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"encoding/hex"
	"strings"
	"testing"
)

func ptr[T any](v T) *T { return &v }

// unhex turns a golden vector into bytes. Blanks and line ends are for reading;
// what stands between '#' and the end of a line is a comment, and what stands in
// 'quotes' is text.
func unhex(t testing.TB, s string) []byte {
	t.Helper()
	var out []byte
	for line := range strings.Lines(s) {
		for i, part := range strings.Split(strings.TrimSpace(line), "'") {
			if i%2 == 1 {
				out = append(out, part...)
				continue
			}
			digits, _, comment := strings.Cut(part, "#")
			b, err := hex.DecodeString(strings.Join(strings.Fields(digits), ""))
			if err != nil {
				t.Fatalf("bad vector %q: %v", line, err)
			}
			out = append(out, b...)
			if comment {
				break
			}
		}
	}
	return out
}

// mustFrame cuts the one packet out of b and demands that nothing is left.
func mustFrame(t testing.TB, b []byte) Frame {
	t.Helper()
	f, need, err := ParseFrame(b, 0)
	if err != nil || need != 0 || f.Size != len(b) {
		t.Fatalf("ParseFrame(% x) = size %d, need %d, %v", b, f.Size, need, err)
	}
	return f
}

func mustPublish(t testing.TB, b []byte) PublishView {
	t.Helper()
	f := mustFrame(t, b)
	var v PublishView
	if err := ParsePublish(&f, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// parse reads the packet of a frame and returns it in the form that its encoder
// takes. A PUBLISH becomes a Publish with decoded properties.
func parse(f *Frame, fromServer bool) (any, *Error) {
	switch f.Type {
	case TypeConnect:
		p := new(Connect)
		return p, ParseConnect(f, p)
	case TypeConnack:
		p := new(Connack)
		return p, ParseConnack(f, p)
	case TypePublish:
		var v PublishView
		if err := ParsePublish(f, &v); err != nil {
			return nil, err
		}
		return publishOf(&v), nil
	case TypePuback, TypePubrec, TypePubrel, TypePubcomp:
		p := new(Ack)
		return p, ParseAck(f, p)
	case TypeSubscribe:
		p := new(Subscribe)
		return p, ParseSubscribe(f, p)
	case TypeSuback, TypeUnsuback:
		p := new(SubscribeAck)
		return p, ParseSubscribeAck(f, p)
	case TypeUnsubscribe:
		p := new(Unsubscribe)
		return p, ParseUnsubscribe(f, p)
	case TypeDisconnect:
		p := new(Disconnect)
		return p, ParseDisconnect(f, p, fromServer)
	case TypeAuth:
		p := new(Auth)
		return p, ParseAuth(f, p)
	}
	return nil, ParseEmpty(f)
}

func publishOf(v *PublishView) *Publish {
	p := &Publish{
		Topic: string(v.Topic), Payload: append([]byte{}, v.Payload...), PacketID: v.PacketID,
		TopicAlias: v.TopicAlias, QoS: v.QoS, Retain: v.Retain, Dup: v.Dup,
	}
	if len(v.Properties) != 0 {
		p.Properties = new(PublishProperties)
		v.Decode(p.Properties)
	}
	return p
}

// encode is the counterpart of parse. It checks that the size was announced right.
func encode(t testing.TB, typ Type, packet any) []byte {
	t.Helper()
	var b []byte
	var size int
	switch p := packet.(type) {
	case *Connect:
		b, size = AppendConnect(nil, p), ConnectSize(p)
	case *Connack:
		b, size = AppendConnack(nil, p), ConnackSize(p)
	case *Publish:
		b, size = AppendPublish(nil, p), PublishSize(p)
	case *Ack:
		b, size = AppendAck(nil, typ, p), AckSize(p)
	case *Subscribe:
		b, size = AppendSubscribe(nil, p), SubscribeSize(p)
	case *SubscribeAck:
		b, size = AppendSubscribeAck(nil, typ, p), SubscribeAckSize(p)
	case *Unsubscribe:
		b, size = AppendUnsubscribe(nil, p), UnsubscribeSize(p)
	case *Disconnect:
		b, size = AppendDisconnect(nil, p), DisconnectSize(p)
	case *Auth:
		b, size = AppendAuth(nil, p), AuthSize(p)
	case nil:
		size = PingSize
		if b = AppendPingreq(nil); typ == TypePingresp {
			b = AppendPingresp(nil)
		}
	default:
		t.Fatalf("no encoder for %T", packet)
	}
	if len(b) != size {
		t.Errorf("%v: encoded %d bytes, announced %d", typ, len(b), size)
	}
	return b
}
