// SPDX-License-Identifier: Apache-2.0

package wire_test

import (
	"testing"

	. "github.com/gocrt/aws-iot-device-sdk-go/mqtt5/internal/wire"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/internal/wire/wiretest"
)

func ptr[T any](v T) *T { return &v }

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
		return p, wiretest.ParseConnect(f, p)
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
		return p, wiretest.ParseSubscribe(f, p)
	case TypeSuback, TypeUnsuback:
		p := new(SubscribeAck)
		return p, ParseSubscribeAck(f, p)
	case TypeUnsubscribe:
		p := new(Unsubscribe)
		return p, wiretest.ParseUnsubscribe(f, p)
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
		b = wiretest.AppendConnack(nil, p)
		size = len(b)
	case *Publish:
		b, size = AppendPublish(nil, p), PublishSize(p)
	case *Ack:
		b, size = AppendAck(nil, typ, p), AckSize(p)
	case *Subscribe:
		b, size = AppendSubscribe(nil, p), SubscribeSize(p)
	case *SubscribeAck:
		b = wiretest.AppendSubscribeAck(nil, typ, p)
		size = len(b)
	case *Unsubscribe:
		b, size = AppendUnsubscribe(nil, p), UnsubscribeSize(p)
	case *Disconnect:
		b, size = AppendDisconnect(nil, p), DisconnectSize(p)
	case *Auth:
		b, size = AppendAuth(nil, p), AuthSize(p)
	case nil:
		size = PingSize
		if b = AppendPingreq(nil); typ == TypePingresp {
			b = wiretest.AppendPingresp(nil)
		}
	default:
		t.Fatalf("no encoder for %T", packet)
	}
	if len(b) != size {
		t.Errorf("%v: encoded %d bytes, announced %d", typ, len(b), size)
	}
	return b
}
