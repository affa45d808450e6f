// SPDX-License-Identifier: Apache-2.0

package codec

import (
	"bytes"
	"testing"
)

type document struct {
	B    int    `json:"b"`
	A    string `json:"a,omitempty"`
	Data []byte `json:"data,omitempty"`
}

func TestCodec(t *testing.T) {
	for _, inCBOR := range []bool{false, true} {
		want := document{B: 7, A: "x", Data: []byte{0, 255}}
		data, err := Encode(inCBOR, want)
		if err != nil {
			t.Fatal(err)
		}
		var got document
		if err := Decode(inCBOR, data, &got); err != nil || got.B != want.B || got.A != want.A || !bytes.Equal(got.Data, want.Data) {
			t.Errorf("CBOR %t: %+v, %v", inCBOR, got, err)
		}
		more, err := Encode(inCBOR, map[string]any{"b": 7, "unknown": []int{1}})
		if err != nil {
			t.Fatal(err)
		}
		if err := Decode(inCBOR, more, &document{}); err != nil {
			t.Errorf("CBOR %t: an unknown field: %v", inCBOR, err)
		}
		if err := Decode(inCBOR, data[:len(data)-1], &document{}); err == nil {
			t.Errorf("CBOR %t: a part of a document was read", inCBOR)
		}
	}
	// In CBOR, too, the same map has the same bytes each time.
	first, _ := Encode(true, map[string]int{"a": 1, "b": 2, "c": 3})
	for range 20 {
		if again, _ := Encode(true, map[string]int{"c": 3, "b": 2, "a": 1}); !bytes.Equal(first, again) {
			t.Fatalf("%x and %x", first, again)
		}
	}
	for _, data := range []string{"null", " null", "[]", "", "{}{}"} {
		if err := DecodeObject(false, []byte(data), &document{}); err == nil {
			t.Errorf("%q was read as an object", data)
		}
	}
	for _, data := range []string{"\xf6", "\xf7", "\xc1\xf6", "\x80", "", "\xa0\xa0"} {
		if err := DecodeObject(true, []byte(data), &document{}); err == nil {
			t.Errorf("%x was read as a map", data)
		}
	}
	for inCBOR, data := range map[bool]string{false: ` {"b":7} `, true: "\xbf\x61b\x07\xff"} {
		var got document
		if err := DecodeObject(inCBOR, []byte(data), &got); err != nil || got.B != 7 {
			t.Errorf("%q: %+v, %v", data, got, err)
		}
	}
	var v any
	if err := Decode(true, bytes.Repeat([]byte{0x81}, 1000), &v); err == nil {
		t.Error("1,000 levels were read")
	}
	if err := Decode(true, []byte{0x9b, 0, 0, 0, 1, 0, 0, 0, 0}, &v); err == nil {
		t.Error("an array of 4 billion elements was read")
	}
}
