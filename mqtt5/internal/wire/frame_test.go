// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"bytes"
	"fmt"
	"testing"
)

func TestParseFrame_lengths(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		header string // of a PUBLISH
		length int
	}{
		{"30 00", 0},
		{"30 7f", 127},
		{"30 80 01", 128},
		{"30 ff 7f", 16_383},
		{"30 80 80 01", 16_384},
		{"30 ff ff 7f", 2_097_151},
		{"30 80 80 80 01", 2_097_152},
		{"30 ff ff ff 7f", 268_435_455},
	} {
		t.Run(fmt.Sprintf("MQTT-1.5.5-1 remaining length %d", c.length), func(t *testing.T) {
			t.Parallel()
			header := Unhex(t, c.header)
			if _, need, err := ParseFrame(header, 0); c.length > 0 && (need != len(header)+c.length || err != nil) {
				t.Errorf("header alone: need %d, %v", need, err)
			}
			for n := range len(header) {
				if _, need, err := ParseFrame(header[:n], 0); need <= n || need > len(header)+c.length || err != nil {
					t.Errorf("%d bytes of the header: need %d, %v", n, need, err)
				}
			}
			if c.length > 3_000_000 {
				return
			}
			b := append(header, make([]byte, c.length+3)...) // the next packet has begun
			f, need, err := ParseFrame(b, 0)
			if err != nil || need != 0 || f.Size != len(header)+c.length || len(f.Body) != c.length || cap(f.Body) != c.length {
				t.Errorf("got size %d, body %d, need %d, %v", f.Size, len(f.Body), need, err)
			}
			if got := appendVarint(header[:1:1], uint32(c.length)); !bytes.Equal(got, header) {
				t.Errorf("written as % x", got)
			}
			if packetSize(c.length) != f.Size {
				t.Errorf("packetSize = %d", packetSize(c.length))
			}
		})
	}
}

func TestParseFrame_refused(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		in     string
		limit  uint32
		reason ReasonCode
		rule   string
	}{
		{"type 0", "00", 0, 0x81, "2.1.2"},
		{"type 0 with its length", "00 00", 0, 0x81, "2.1.2"},
		{"MQTT-2.1.3-1 CONNECT flags", "11", 0, 0x81, "MQTT-2.1.3-1"},
		{"MQTT-2.1.3-1 CONNACK flags", "28", 0, 0x81, "MQTT-2.1.3-1"},
		{"MQTT-2.1.3-1 PUBACK flags", "42 02 00 01", 0, 0x81, "MQTT-2.1.3-1"},
		{"MQTT-2.1.3-1 PUBREC flags", "51", 0, 0x81, "MQTT-2.1.3-1"},
		{"MQTT-3.6.1-1 PUBREL flags are not 0010", "60 02 00 01", 0, 0x81, "MQTT-3.6.1-1"},
		{"MQTT-3.6.1-1 PUBREL flags have DUP", "6a", 0, 0x81, "MQTT-3.6.1-1"},
		{"MQTT-2.1.3-1 PUBCOMP flags", "72", 0, 0x81, "MQTT-2.1.3-1"},
		{"MQTT-3.8.1-1 SUBSCRIBE flags", "80", 0, 0x81, "MQTT-3.8.1-1"},
		{"MQTT-2.1.3-1 SUBACK flags", "92", 0, 0x81, "MQTT-2.1.3-1"},
		{"MQTT-3.10.1-1 UNSUBSCRIBE flags", "a3", 0, 0x81, "MQTT-3.10.1-1"},
		{"MQTT-2.1.3-1 UNSUBACK flags", "b2", 0, 0x81, "MQTT-2.1.3-1"},
		{"MQTT-2.1.3-1 PINGREQ flags", "c1", 0, 0x81, "MQTT-2.1.3-1"},
		{"MQTT-2.1.3-1 PINGRESP flags", "d4 00", 0, 0x81, "MQTT-2.1.3-1"},
		{"MQTT-3.14.1-1 DISCONNECT flags", "e1 00", 0, 0x81, "MQTT-3.14.1-1"},
		{"MQTT-3.15.1-1 AUTH flags", "f2", 0, 0x81, "MQTT-3.15.1-1"},
		{"MQTT-3.3.1-4 PUBLISH with QoS 3", "36", 0, 0x81, "MQTT-3.3.1-4"},
		{"MQTT-3.3.1-4 PUBLISH with QoS 3, whole", "3e 06 0001'a' 0001 00", 0, 0x81, "MQTT-3.3.1-4"},
		{"MQTT-3.3.1-2 PUBLISH with DUP and QoS 0", "38 04 0001'a' 00", 0, 0x81, "MQTT-3.3.1-2"},
		{"MQTT-1.5.5-1 length 0 in two bytes", "30 80 00", 0, 0x81, "MQTT-1.5.5-1"},
		{"MQTT-1.5.5-1 length 1 in three bytes", "30 81 80 00", 0, 0x81, "MQTT-1.5.5-1"},
		{"MQTT-1.5.5-1 length 2 in four bytes", "30 82 80 80 00", 0, 0x81, "MQTT-1.5.5-1"},
		{"length in five bytes", "30 ff ff ff ff", 0, 0x81, "MQTT-1.5.5-1"},
		{"length in five bytes, the fifth there", "30 80 80 80 80 01", 0, 0x81, "MQTT-1.5.5-1"},
		{"MQTT-3.1.2-24 one byte above the limit", "30 7f", 128, 0x95, "MQTT-3.1.2-24"},
		{"MQTT-3.1.2-24 256 MiB announced", "30 ff ff ff 7f", 1 << 20, 0x95, "MQTT-3.1.2-24"},
		{"MQTT-3.1.2-24 above the limit and all there", "30 04 0001'a' 00", 5, 0x95, "MQTT-3.1.2-24"},
		{"MQTT-3.1.2-24 above the limit of 1", "d0 00", 1, 0x95, "MQTT-3.1.2-24"},
		{"PINGRESP that announces a body", "d0 01", 0, 0x81, "3.13.1"},
		{"PINGREQ that announces a body", "c0 ff ff ff 7f", 0, 0x81, "3.12.1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f, need, err := ParseFrame(Unhex(t, c.in), c.limit)
			if err == nil || err.Reason != c.reason || err.Rule != c.rule || need != 0 || f.Size != 0 {
				t.Errorf("got %+v, need %d, %v", f, need, err)
			}
		})
	}
}

func TestParseFrame_limitIsInclusive(t *testing.T) {
	t.Parallel()
	b := Unhex(t, "30 04 0001'a' 00")
	for _, limit := range []uint32{0, 6, 7, 1<<32 - 1} {
		if f, need, err := ParseFrame(b, limit); f.Size != 6 || need != 0 || err != nil {
			t.Errorf("limit %d: size %d, need %d, %v", limit, f.Size, need, err)
		}
	}
}

// TestParseFrame_shortcut compares the shortcut for common packets with the
// code that it cuts short, for every first byte and all shapes of a length.
func TestParseFrame_shortcut(t *testing.T) {
	t.Parallel()
	var buf [400]byte
	for first := range 256 {
		for _, head := range [][]byte{
			{}, {0}, {1}, {2}, {0x7F}, {0x80}, {0x80, 0}, {0x80, 1}, {0x81, 1}, {0xFF, 2}, {0x80, 2},
			{0x80, 0x80}, {0x80, 0x80, 1}, {0x80, 0x80, 0}, {0xFF, 0xFF}, {0x80, 0xFF, 0},
		} {
			b := append(append(buf[:0], byte(first)), head...)
			for _, n := range []int{0, 1, 2, 3, 4, 5, 129, 130, 131, 132, 258, 259, 260, 385, 386, 387, 400} {
				for _, limit := range []uint32{0, 1, 2, 3, 130, 131, 132, 386, 387, 1 << 20} {
					in := b[:min(n, len(b))]
					if n > len(b) {
						in = buf[:n]
					}
					var fast, slow Frame
					needFast, errFast := fast.Parse(in, limit)
					needSlow, errSlow := slow.parseSlow(in, limit)
					if errSlow != nil && errSlow.Rule == "3.13.1" || errSlow != nil && errSlow.Rule == "3.12.1" {
						if errFast == nil { // the shortcut leaves this to ParseEmpty
							errFast = ParseEmpty(&fast)
							fast = Frame{}
						}
					}
					same := needFast == needSlow && fast.Type == slow.Type && fast.Flags == slow.Flags &&
						fast.Size == slow.Size && bytes.Equal(fast.Body, slow.Body)
					if same && errFast != nil && errSlow != nil {
						same = *errFast == *errSlow
					} else if errFast != errSlow {
						same = false
					}
					if !same {
						t.Fatalf("% x limit %d: %+v %d %v, want %+v %d %v", in[:min(8, len(in))], limit,
							fast, needFast, errFast, slow, needSlow, errSlow)
					}
				}
			}
		}
	}
}

func TestParseEmpty(t *testing.T) {
	t.Parallel()
	for _, typ := range []Type{TypePingreq, TypePingresp} {
		if err := ParseEmpty(&Frame{Type: typ}); err != nil {
			t.Error(err)
		}
		if err := ParseEmpty(&Frame{Type: typ, Body: []byte{0}}); err == nil || err.Reason != MalformedPacket {
			t.Error(typ, err)
		}
	}
}

func TestVarint(t *testing.T) {
	t.Parallel()
	for v := uint32(0); v <= MaxRemainingLength; v += 1 + v/7 {
		b := appendVarint(nil, v)
		if got, n := varint(append(b, 0x55)); got != v || n != len(b) || varintSize(v) != n {
			t.Fatalf("%d: % x is read as %d in %d bytes", v, b, got, n)
		}
	}
	if b := appendVarint(nil, MaxRemainingLength); !bytes.Equal(b, []byte{0xFF, 0xFF, 0xFF, 0x7F}) {
		t.Errorf("largest value: % x", b)
	}
}
