// SPDX-License-Identifier: Apache-2.0

package jsonobject

import (
	"encoding/json"
	"testing"
)

func TestDecode(t *testing.T) {
	for name, decode := range map[string]func([]byte, any) error{"Decode": Decode, "DecodeNumbers": DecodeNumbers} {
		for _, text := range []string{"", "null", " null\n", "true", "7", `"{}"`, "[]", "{", `{}{}`, `{} x`, `{"a":"x"}`} {
			var v struct{ A int }
			if err := decode([]byte(text), &v); err == nil {
				t.Errorf("%s read %q as %+v", name, text, v)
			}
		}
		var v struct{ A any }
		if err := decode([]byte("\r\n\t {\"a\":1e400,\"b\":2} "), &v); (err == nil) != (name == "DecodeNumbers") {
			t.Errorf("%s: a number that no float64 holds: %v", name, err)
		}
		if err := decode([]byte(`{"a":1,"b":2}`), &v); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	var v map[string]any
	if err := DecodeNumbers([]byte(`{"a":10000000000000000001}`), &v); err != nil || v["a"] != json.Number("10000000000000000001") {
		t.Error(v, err)
	}
	// A map is no exception.
	if err := DecodeNumbers([]byte("null"), &v); err == nil {
		t.Error("null was read as a map")
	}
}
