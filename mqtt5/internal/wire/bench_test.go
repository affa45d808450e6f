// SPDX-License-Identifier: Apache-2.0

package wire_test

import (
	"bytes"
	"testing"

	. "github.com/gocrt/aws-iot-device-sdk-go/mqtt5/internal/wire"
)

// benchPublish is the message that all the numbers are about: 256 bytes, QoS 1,
// no properties, a topic of usual length.
func benchPublish() *Publish {
	return &Publish{
		Topic: "fleet/vehicle-0042/telemetry", Payload: bytes.Repeat([]byte{'x'}, 256), QoS: 1, PacketID: 4711,
	}
}

func propertiesForBench() *PublishProperties {
	return &PublishProperties{
		PayloadFormat: ptr(uint8(1)), ContentType: ptr("application/json"), ResponseTopic: ptr("replies/7"),
		CorrelationData: []byte("0123456789abcdef"), UserProperties: []UserProperty{{"a", "b"}, {"trace", "00-11-22"}},
	}
}

func BenchmarkParsePublish(b *testing.B) {
	p := benchPublish()
	plain := AppendPublish(nil, p)
	p.Properties = propertiesForBench()
	full := AppendPublish(nil, p)
	for _, c := range []struct {
		name string
		in   []byte
	}{{"plain", plain}, {"properties", full}} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			var f Frame
			var v PublishView
			for b.Loop() {
				if _, err := f.Parse(c.in, 1<<20); err != nil {
					b.Fatal(err)
				}
				if err := ParsePublish(&f, &v); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkParseFrame(b *testing.B) {
	in := AppendPublish(nil, benchPublish())
	for b.Loop() {
		if _, _, err := ParseFrame(in, 1<<20); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecodeProperties(b *testing.B) {
	p := benchPublish()
	p.Properties = propertiesForBench()
	v := mustPublish(b, AppendPublish(nil, p))
	b.ReportAllocs()
	var out PublishProperties
	for b.Loop() {
		v.Decode(&out)
	}
}

func BenchmarkAppendPublish(b *testing.B) {
	plain, full := benchPublish(), benchPublish()
	full.Properties = propertiesForBench()
	for _, c := range []struct {
		name string
		p    *Publish
	}{{"plain", plain}, {"properties", full}} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			dst := make([]byte, 0, 4096)
			for b.Loop() {
				dst = AppendPublish(dst[:0], c.p)
			}
		})
	}
}

func BenchmarkCheckPublish(b *testing.B) {
	p := benchPublish()
	b.ReportAllocs()
	for b.Loop() {
		if CheckPublish(p) != nil {
			b.Fatal("violation")
		}
	}
}

func BenchmarkParseAck(b *testing.B) {
	in := AppendAck(nil, TypePuback, &Ack{PacketID: 4711})
	b.Run("with frame", func(b *testing.B) {
		b.ReportAllocs()
		var f Frame
		var a Ack
		for b.Loop() {
			if _, err := f.Parse(in, 1<<20); err != nil {
				b.Fatal(err)
			}
			if err := ParseAck(&f, &a); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("body", func(b *testing.B) {
		f, _, _ := ParseFrame(in, 1<<20)
		var a Ack
		for b.Loop() {
			if err := ParseAck(&f, &a); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkAppendAck(b *testing.B) {
	b.ReportAllocs()
	dst := make([]byte, 0, 64)
	a := Ack{PacketID: 4711}
	for b.Loop() {
		dst = AppendAck(dst[:0], TypePuback, &a)
	}
}

func BenchmarkValidUTF8(b *testing.B) {
	for _, c := range []struct{ name, s string }{
		{"ascii 28", "fleet/vehicle-0042/telemetry"},
		{"ascii 5", "a/b/c"},
		{"umlauts", "flotte/fahrzeug-0042/f\u00fcllstand"},
	} {
		b.Run(c.name, func(b *testing.B) {
			in := []byte(c.s)
			for b.Loop() {
				if !ValidUTF8(in) {
					b.Fatal(c.s)
				}
			}
		})
	}
}
