// SPDX-License-Identifier: Apache-2.0

package request_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/request"
)

// shadowAnswer is an answer as the Device Shadow service writes it.
const shadowAnswer = `{"state":{"desired":{"mode":"heat","setpoint":21.5},"reported":{"mode":"off","setpoint":19,"firmware":"4.2.0"},"delta":{"mode":"heat","setpoint":21.5}},` +
	`"metadata":{"desired":{"mode":{"timestamp":1790000000},"setpoint":{"timestamp":1790000000}},"reported":{"mode":{"timestamp":1790000000}}},` +
	`"version":42,"timestamp":1790000001,"clientToken":"7QK3ZT5N2M4WXA6BVCDRJHPE2Y"}`

func BenchmarkJSONField(b *testing.B) {
	m := &mqtt5.Message{PublishPacket: mqtt5.PublishPacket{Payload: []byte(shadowAnswer)}}
	b.ReportAllocs()
	b.SetBytes(int64(len(shadowAnswer)))
	for b.Loop() {
		if token, found := request.JSONField("clientToken").Token(m); !found || len(token) != 26 {
			b.Fatal(token, found)
		}
	}
}

// Reading a token costs the token, whatever else is in the answer.
func TestJSONField_allocations(t *testing.T) {
	m := &mqtt5.Message{PublishPacket: mqtt5.PublishPacket{Payload: []byte(shadowAnswer)}}
	if n := testing.AllocsPerRun(100, func() { request.JSONField("clientToken").Token(m) }); n > 1 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzJSONField compares the tokens of valid payloads with what package json
// finds.
func FuzzJSONField(f *testing.F) {
	for _, seed := range []string{`{"clientToken":"t"}`, `{"clientToken":null}`, `{"clientToken":5}`, `[]`, ``, `{"clientToken":"t"`, shadowAnswer,
		`{"x":[{"clientToken":"no"},"}"],"clientToken":"\u0074\"","clientToken" : "last"}`, `{"client\u0054oken":"t","clientToken\u0000":"no"}`} {
		f.Add([]byte(seed), "clientToken")
	}
	f.Add([]byte(`{"a":{"b":"t"}}`), "a.b")
	f.Add([]byte(` { "a" : { "b" : "\\" , "c":1 } , "":"" } `), "")
	f.Add([]byte(`{"a":{"":{"b":"t"}},"a":{"":{"b":"u"},"":7}}`), "a..b")
	f.Add([]byte("{\"gr\\u00f6\u00dfe\":\"t\",\"\xff\":\"u\"}"), "gr\u00f6\u00dfe")
	f.Fuzz(func(t *testing.T, payload []byte, field string) {
		m := &mqtt5.Message{PublishPacket: mqtt5.PublishPacket{Payload: payload}}
		got, found := request.JSONField(field).Token(m)
		if !json.Valid(payload) {
			return
		}
		if want, expected := tokenByJSON(payload, field); found != expected || got != want {
			t.Errorf("%q in %s: %q %v, want %q %v", field, payload, got, found, want, expected)
		}
	})
}

func tokenByJSON(data []byte, field string) (token string, found bool) {
	for name := range strings.SplitSeq(field, ".") {
		var object map[string]json.RawMessage
		if json.Unmarshal(data, &object) != nil {
			return "", false
		}
		if data, found = object[name]; !found {
			return "", false
		}
	}
	var text *string
	if json.Unmarshal(data, &text) != nil || text == nil {
		return "", false
	}
	return *text, true
}
