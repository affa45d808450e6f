// SPDX-License-Identifier: Apache-2.0

package commands

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
)

// FuzzCommand reads any message as a command, and any payload as an answer.
func FuzzCommand(f *testing.F) {
	f.Add("$aws/commands/things/t/executions/id/request/json", []byte(`{"command":"x"}`), uint8(0))
	f.Add("$aws/commands/things/t/executions/id/request/cbor", []byte("\xa1\x67command\x61x"), uint8(1))
	f.Add("$aws/commands/things/t/executions/id/request/cbor", []byte{0xbf, 0x9f, 0xff}, uint8(1))
	f.Add("$aws/commands/things/t/executions//request", []byte{0}, uint8(2))
	f.Add("$aws/commands/things/t/executions/../request", []byte(`{"command":{}}`), uint8(0))
	x := &Executor{target: Thing("t"), options: Options{Name: nameOf}}
	f.Fuzz(func(t *testing.T, topic string, payload []byte, format uint8) {
		fm := Format(format % 3)
		c, err := x.newCommand(&mqtt5.Message{PublishPacket: mqtt5.PublishPacket{Topic: topic, Payload: payload}}, fm)
		if err != nil {
			if !errors.Is(err, ErrInvalidPayload) {
				t.Error(err)
			}
			return
		}
		if !executionIDs.MatchString(c.ExecutionID) {
			t.Errorf("execution %q", c.ExecutionID)
		}
		var v any
		if err := c.Decode(&v); err != nil && !errors.Is(err, ErrInvalidPayload) {
			t.Error(err)
		}
		if e := decodeRejection(fm.responseFormat(), c.ExecutionID, payload); e.Code == "" {
			t.Error("a rejection without a code")
		}
	})
}

// FuzzState opens any state file.
func FuzzState(f *testing.F) {
	f.Add([]byte(`{"version":1,"owner":"things/t","records":[{"id":"a","started":true,"final":{"status":"FAILED"}}]}`))
	f.Add([]byte(`{"version":2}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		name := filepath.Join(t.TempDir(), "state")
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := openMemory(name, "things/t", 10); err != nil && !errors.Is(err, ErrState) {
			t.Error(err)
		}
	})
}

// FuzzReason makes reasons from any text: the service accepts all of them.
func FuzzReason(f *testing.F) {
	f.Add("CODE", "text\n\xff")
	f.Add("", "")
	f.Add("no code", "")
	f.Fuzz(func(t *testing.T, code, description string) {
		r := newReason(code, description)
		if r == nil {
			return
		}
		if !reasonCodes.MatchString(r.Code) || len([]rune(r.Description)) > maxDescription {
			t.Errorf("%+v", r)
		}
	})
}
