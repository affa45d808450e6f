// SPDX-License-Identifier: Apache-2.0

package iottest_test

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/iot/iottest"
)

func send(t *testing.T, c *iottest.Core, cmd iottest.Command) string {
	t.Helper()
	id, err := c.SendCommand(cmd)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// Each kind of payload has its topic; everything else is in properties.
func TestCommands_requests(t *testing.T) {
	t.Parallel()
	c := iottest.Start(t, plain)
	cl := serviceClient(t, c, "device", "$aws/commands/things/a/executions/+/request", "$aws/commands/things/a/executions/+/request/+",
		"$aws/commands/clients/device/executions/+/request/+")
	for _, tc := range []struct {
		cmd                  iottest.Command
		target, suffix, mime string
		payload              string
	}{
		{iottest.Command{Thing: "a", Payload: []byte(`{"x":"${aws:iot:commandexecution::parameter:P}","t":${aws:iot:commandexecution::executionTimeoutSec}}`),
			Parameters: map[string]string{"P": `q"`}}, "things/a", "/request/json", "application/json", `{"x":"q\"","t":10}`},
		{iottest.Command{Thing: "a", Payload: []byte("\xa0"), ContentType: "application/cbor"}, "things/a", "/request/cbor", "application/cbor", "\xa0"},
		{iottest.Command{Thing: "a", Payload: []byte("hello"), ContentType: "text/plain", Timeout: time.Minute}, "things/a", "/request", "text/plain", "hello"},
		{iottest.Command{ClientID: "device", Payload: []byte("{}")}, "clients/device", "/request/json", "application/json", "{}"},
	} {
		id := send(t, c, tc.cmd)
		f := cl.expectMessage("$aws/commands/"+tc.target+"/executions/"+id+tc.suffix, tc.payload)
		limit := int(max(tc.cmd.Timeout, 10*time.Second) / time.Second)
		if got := f.num(pExpiry); string(f.props[pContentType]) != tc.mime || got < limit-1 || got > limit {
			t.Errorf("content type %q, expiry %d", f.props[pContentType], got)
		}
	}
	for _, cmd := range []iottest.Command{{}, {Thing: "a", ClientID: "b"}, {Thing: "a b"}, {ClientID: "a/b"}, {Thing: "a", ID: "a b"},
		{Thing: "a", Payload: []byte("{")}, {Thing: "a", Timeout: 13 * time.Hour}, {Thing: "a", Payload: []byte("{}"), Token: strings.Repeat("x", 65)},
		{Thing: "a", Payload: []byte(`{"x":"${aws:iot:commandexecution::parameter:P}"}`)}} {
		if _, err := c.SendCommand(cmd); err == nil {
			t.Errorf("sent %+v", cmd)
		}
	}
	// A token makes the call idempotent.
	cmd := iottest.Command{Thing: "a", Payload: []byte("{}"), Token: "t"}
	id := send(t, c, cmd)
	if again := send(t, c, cmd); again != id {
		t.Error("sent twice with one token")
	}
	cmd.Timeout = time.Minute
	if _, err := c.SendCommand(cmd); err == nil {
		t.Error("another command with the same token")
	}
}

func TestCommands_responses(t *testing.T) {
	t.Parallel()
	for _, format := range wireFormats {
		c := iottest.Start(t, plain)
		const events = "$aws/events/commandExecution/reboot/"
		cl := serviceClient(t, c, "device", "$aws/commands/things/a/executions/+/response/accepted/+",
			"$aws/commands/things/a/executions/+/response/rejected/+")
		watcher := serviceClient(t, c, "watcher", events+"+")
		id := send(t, c, iottest.Command{ID: "reboot", Thing: "a", Payload: []byte("{}")})
		answer := func(body any, want string) map[string]any {
			t.Helper()
			b, err := format.marshal(body)
			if err != nil {
				t.Fatal(err)
			}
			prefix := "$aws/commands/things/a/executions/" + id + "/response/"
			cl.request(prefix+format.name, string(b))
			f := cl.expect(tPublish)
			cl.puback(f.id)
			var got map[string]any
			if err := format.unmarshal(f.payload, &got); err != nil {
				t.Fatal(err)
			}
			if f.topic != prefix+want+"/"+format.name || got["executionId"] != id {
				t.Fatalf("answer to %v on %s: %v", body, f.topic, got)
			}
			return got
		}
		reject := func(body any, code string) {
			t.Helper()
			if got := answer(body, "rejected"); got["error"] != code || got["errorMessage"] == "" || len(got) != 3 {
				t.Errorf("%v: %v, want %s", body, got, code)
			}
		}
		event := func(status string) {
			t.Helper()
			f := watcher.expect(tPublish)
			watcher.puback(f.id)
			if f.topic != events+status || !strings.Contains(string(f.payload), `"targetArn":"arn:aws:iot:us-east-1:123456789012:thing/a"`) {
				t.Errorf("event %s %s, want %s", f.topic, f.payload, status)
			}
		}
		type m = map[string]any
		event("CREATED")
		if got := answer(m{"status": "IN_PROGRESS"}, "accepted"); len(got) != 1 {
			t.Errorf("answer %v", got)
		}
		event("IN_PROGRESS")
		reject(m{}, "InvalidRequest")
		reject(m{"status": "CREATED"}, "InvalidRequest")
		reject(m{"status": "FAILED", "statusReason": m{"reasonCode": "lower"}}, "InvalidRequest")
		reject(m{"status": "FAILED", "statusReason": m{"reasonCode": "A", "reasonDescription": "a\nb"}}, "InvalidRequest")
		reject(m{"status": "SUCCEEDED", "result": m{}}, "InvalidRequest")
		reject(m{"status": "SUCCEEDED", "result": m{"k": "bare"}}, "InvalidRequest")
		reject(m{"status": "SUCCEEDED", "result": m{"k": m{"S": "upper"}}}, "InvalidRequest")
		reject(m{"status": "SUCCEEDED", "result": m{"k": m{"b": "text"}}}, "InvalidRequest")

		// The service's time-out is not the last word.
		c.Advance(11 * time.Second)
		event("TIMED_OUT")
		if x, ok := c.CommandExecution(id); !ok || x.Status != iottest.CommandTimedOut || x.ReasonCode != "$NO_RESPONSE_FROM_DEVICE" {
			t.Errorf("execution %+v", x)
		}
		reject(m{"status": "IN_PROGRESS"}, "InvalidStateTransition")
		var raw any = []byte{1, 2}
		if format.name == "json" {
			raw = base64.StdEncoding.EncodeToString([]byte{1, 2})
		}
		answer(m{"status": "SUCCEEDED", "statusReason": m{"reasonCode": "DONE", "reasonDescription": "at last"},
			"result": m{"text": m{"s": "x"}, "flag": m{"b": true}, "raw": m{"bin": raw}}}, "accepted")
		event("SUCCEEDED")
		x, _ := c.CommandExecution(id)
		if got := fmt.Sprintf("%s %s %s %v", x.Status, x.ReasonCode, x.ReasonText, x.Result); got != "SUCCEEDED DONE at last map[flag:{b  true []} raw:{bin  false [1 2]} text:{s x false []}]" {
			t.Errorf("execution %s", got)
		}
		reject(m{"status": "FAILED"}, "TerminalStateReached")
		id = "unknown"
		reject(m{"status": "FAILED"}, "ResourceNotFound")
		cl.request("$aws/commands/things/a/executions/unknown/response/"+format.name, "\x9f{")
		if f := cl.expect(tPublish); !strings.Contains(f.topic, "/rejected/") {
			t.Errorf("garbage: %s", f.topic)
		}
	}
}

// Without a format in the topic, the answers have none, too. A response for
// another target does not count.
func TestCommands_withoutFormat(t *testing.T) {
	t.Parallel()
	c := iottest.Start(t, plain)
	id := send(t, c, iottest.Command{ClientID: "device", Payload: []byte("x"), ContentType: "text/plain"})
	prefix := "$aws/commands/clients/device/executions/" + id + "/response"
	other := "$aws/commands/things/device/executions/" + id + "/response"
	cl := serviceClient(t, c, "device", prefix+"/accepted", other+"/rejected")
	cl.request(other, `{"status":"REJECTED"}`)
	f := cl.expect(tPublish)
	cl.puback(f.id)
	if f.topic != other+"/rejected" || !strings.Contains(string(f.payload), "ResourceNotFound") {
		t.Errorf("%s %s", f.topic, f.payload)
	}
	cl.request(prefix, `{"status":"TIMED_OUT","statusReason":{"reasonCode":"SLOW"}}`)
	cl.expectMessage(prefix+"/accepted", `{"executionId":"`+id+`"}`)
	c.Advance(time.Minute)
	if x, _ := c.CommandExecution(id); x.Status != iottest.CommandTimedOut || x.ReasonCode != "SLOW" {
		t.Errorf("execution %+v", x)
	}
}
