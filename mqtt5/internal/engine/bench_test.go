// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/internal/wire"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/internal/wire/wiretest"
)

// discard is a sink that costs nothing.
type discard struct{ acks uint64 }

func (*discard) Complete(*Operation, Result) {}
func (d *discard) Deliver(m *Message)        { d.acks = m.Ack }
func (*discard) Notify(*Event)               {}
func (*discard) Challenge(*wire.Auth, bool)  {}

// running returns an engine with a connection.
func running(b *testing.B, cfg *Config) (*Engine, *discard) {
	b.Helper()
	sink := new(discard)
	cfg.ConnectTimeout, cfg.ConnackTimeout, cfg.MinDelay, cfg.MaxDelay = time.Minute, time.Minute, time.Second, time.Minute
	cfg.Uniform = func(int64) int64 { return 0 }
	e := New(cfg, sink)
	if err := e.Start(0); err != nil {
		b.Fatal(err)
	}
	e.TransportOpened(0, &wire.Connect{ClientID: "c"})
	e.TakeOutput(0, new(Output))
	e.WriteDone(0)
	e.Receive(0, wiretest.AppendConnack(nil, &wire.Connack{}))
	if e.State() != Connected {
		b.Fatal(e.State())
	}
	return e, sink
}

func submit(b *testing.B, e *Engine, qos uint8, payload []byte) {
	op := e.NewOperation(KindPublish)
	op.Publish = wire.Publish{Topic: "devices/one/data", Payload: payload, QoS: qos}
	if err := e.Submit(1, op); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkPublish is a publish from its submission to its completion, a
// hundred of which share a write, and for QoS 1 a read.
func BenchmarkPublish(b *testing.B) {
	for qos := range uint8(2) {
		b.Run(fmt.Sprintf("QoS%d", qos), func(b *testing.B) {
			var out Output
			buffer := make([]byte, 0, 128<<10)
			e, _ := running(b, &Config{Buffer: func() []byte { return buffer }})
			payload := make([]byte, 256)
			acks := make([]byte, 0, 400)
			b.ReportAllocs()
			for done := 0; b.Loop(); done++ {
				submit(b, e, qos, payload)
				if done%100 != 99 {
					continue
				}
				e.TakeOutput(1, &out)
				e.WriteDone(1)
				if qos == 1 {
					acks = acks[:0]
					for op := e.sent.head; op != nil; op = op.next {
						acks = wire.AppendAck(acks, wire.TypePuback, &wire.Ack{PacketID: op.Publish.PacketID})
					}
					e.Receive(1, acks)
				}
				buffer = out.Release()[:0]
			}
		})
	}
}

// BenchmarkReceive is a message from the bytes of a read with a hundred of
// them to its acknowledgement in the outbound buffer.
func BenchmarkReceive(b *testing.B) {
	for qos := range uint8(2) {
		b.Run(fmt.Sprintf("QoS%d", qos), func(b *testing.B) {
			var out Output
			buffer := make([]byte, 0, 128<<10)
			e, sink := running(b, &Config{Buffer: func() []byte { return buffer }})
			var burst []byte
			for i := range uint16(100) {
				burst = wire.AppendPublish(burst, &wire.Publish{Topic: "devices/one/data", Payload: make([]byte, 256), QoS: qos, PacketID: qosID(qos, i)})
			}
			b.ReportAllocs()
			for done := 0; b.Loop(); done++ {
				if done%100 != 0 {
					continue // counted, as part of a burst
				}
				e.Receive(1, burst)
				if qos == 1 {
					e.AcknowledgeThrough(1, sink.acks)
					e.TakeOutput(1, &out)
					e.WriteDone(1)
					buffer = out.Release()[:0]
				}
			}
		})
	}
}

func qosID(qos uint8, i uint16) uint16 {
	if qos == 0 {
		return 0
	}
	return i + 1
}

// BenchmarkQueue submits and withdraws a publish behind others that wait: the
// cost must not depend on how many.
func BenchmarkQueue(b *testing.B) {
	for _, waiting := range []int{10, 1_000, 100_000, 1_000_000} {
		b.Run(fmt.Sprint(waiting), func(b *testing.B) {
			e := New(&Config{Uniform: func(int64) int64 { return 0 }}, new(discard))
			payload := make([]byte, 256)
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			for range waiting {
				submit(b, e, 1, payload)
			}
			runtime.GC()
			runtime.ReadMemStats(&after)
			for b.Loop() {
				submit(b, e, 1, payload)
				e.Cancel(1, e.publishes.tail, ErrStopRequested)
			}
			// The payload is the caller's own, shared by all.
			b.ReportMetric(float64(int64(after.HeapAlloc)-int64(before.HeapAlloc))/float64(waiting), "B/queued")
			runtime.KeepAlive(e)
		})
	}
}
