// SPDX-License-Identifier: Apache-2.0

package conn

import (
	"fmt"
	"io"
	"net"
	"testing"
)

// sizes of packets: small ones, ones with a payload that is not copied, large ones.
var benchSizes = []int{256, 16 * kib, 64 * kib, 1024 * kib}

func benchRead(b *testing.B, detach, lasting bool) {
	for _, size := range benchSizes {
		packet := packetOf(size)
		run := func(b *testing.B, r *Reader) {
			b.ReportAllocs()
			b.SetBytes(int64(size))
			for b.Loop() {
				readPacket(b, r, detach, lasting)
			}
			r.Close()
		}
		b.Run(fmt.Sprintf("layered/%d", size), func(b *testing.B) {
			run(b, NewReader(&endless{packet: packet}))
		})
		b.Run(fmt.Sprintf("socket/%d", size), func(b *testing.B) {
			near, far := loopback(b, false)
			go func() {
				for {
					if _, err := near.Write(packet); err != nil {
						return
					}
				}
			}()
			run(b, NewReader(far))
		})
	}
}

func BenchmarkConsume(b *testing.B) { benchRead(b, false, false) }

func BenchmarkDetach(b *testing.B) { benchRead(b, true, false) }

func BenchmarkDetach_lasting(b *testing.B) { benchRead(b, true, true) }

func BenchmarkWrite(b *testing.B) {
	for _, size := range benchSizes {
		payload := pattern(size)
		b.Run(fmt.Sprintf("socket/%d", size), func(b *testing.B) {
			near, far := loopback(b, false)
			go io.Copy(io.Discard, far)
			w := NewWriter(near)
			segments := make([][]byte, 2)
			b.ReportAllocs()
			b.SetBytes(int64(30 + size))
			for b.Loop() {
				segments[0], segments[1] = payload[:30], payload
				if err := w.Write(segments); err != nil {
					b.Fatal(err)
				}
			}
		})
		// What package net does with segments, to compare.
		b.Run(fmt.Sprintf("net.Buffers/%d", size), func(b *testing.B) {
			near, far := loopback(b, false)
			go io.Copy(io.Discard, far)
			segments := make([][]byte, 2)
			var vector net.Buffers
			b.SetBytes(int64(30 + size))
			for b.Loop() {
				segments[0], segments[1] = payload[:30], payload
				vector = segments
				if _, err := vector.WriteTo(near); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprintf("layered/%d", size), func(b *testing.B) {
			w := NewWriter(&chunks{})
			segments := make([][]byte, 2)
			b.ReportAllocs()
			b.SetBytes(int64(30 + size))
			for b.Loop() {
				segments[0], segments[1] = payload[:30], payload
				if err := w.Write(segments); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkTryWrite(b *testing.B) {
	near, far := loopback(b, false)
	go io.Copy(io.Discard, far)
	w := NewWriter(near)
	packet := packetOf(256)
	b.ReportAllocs()
	for b.Loop() {
		w.TryWrite(packet)
	}
}

func BenchmarkDeparted(b *testing.B) {
	near, _ := loopback(b, false)
	w := NewWriter(near)
	b.ReportAllocs()
	for b.Loop() {
		w.Departed()
	}
}
