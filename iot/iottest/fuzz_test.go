// SPDX-License-Identifier: Apache-2.0

package iottest

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"
)

// FuzzServices sends any payload to every device service. Nothing may panic,
// and each answer must be one.
func FuzzServices(f *testing.F) {
	topics := []string{
		"things/a/shadow/get", "things/a/shadow/update", "things/a/shadow/delete", "things/a/shadow/name/n/update",
		"things/a/jobs/get", "things/a/jobs/start-next", "things/a/jobs/j/get", "things/a/jobs/$next/get", "things/a/jobs/j/update",
		"certificates/create/json", "certificates/create/cbor", "certificates/create-from-csr/json", "certificates/create-from-csr/cbor",
		"provisioning-templates/t/provision/json", "provisioning-templates/t/provision/cbor",
		"things/a/defender/metrics/json", "things/a/defender/metrics/cbor",
		"commands/things/a/executions/x/response/json", "commands/things/a/executions/x/response/cbor", "commands/things/a/executions/x/response",
	}
	for _, seed := range []string{
		`{"clientToken":"t"}`, `{"state":{"desired":{"a":[1,{"b":2}],"c":null},"reported":{"a":1}},"version":1}`, `{"state":{"desired":null}}`,
		`{"status":"IN_PROGRESS","statusDetails":{"a":"b"},"expectedVersion":"1","stepTimeoutInMinutes":5}`,
		`{"certificateSigningRequest":"-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----"}`,
		`{"certificateOwnershipToken":"x","parameters":{"a":"b"}}`,
		`{"header":{"report_id":1,"version":"1.0"},"metrics":{"network_stats":{"bytes_in":1}},"custom_metrics":{"a":[{"number":1}]}}`,
		`{"status":"SUCCEEDED","statusReason":{"reasonCode":"A"},"result":{"a":{"bin":"AA=="}}}`,
		strings.Repeat(`{"a":`, 500), strings.Repeat("[", 500), "\x9f\x9f", "\xbf\x01\x02\xff", "\xff",
	} {
		f.Add([]byte(seed))
		var v any
		if json.Unmarshal([]byte(seed), &v) == nil {
			b, err := cbor.Marshal(v)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(b)
		}
	}
	c, err := New(Options{EventCapacity: 64})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = c.Close() })
	if err := c.AddProvisioningTemplate(ProvisioningTemplate{Name: "t"}); err != nil {
		f.Fatal(err)
	}
	if _, err := c.CreateJob(Job{ID: "j", Things: []string{"a"}, Document: "{}"}); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		if len(payload) > 128<<10 {
			return
		}
		for _, topic := range topics {
			answers := make(chan *Message, 8)
			topic = "$aws/" + topic
			cancel := c.Subscribe(topic+"/+", func(m *Message) { answers <- m })
			cancelSuffix := c.Subscribe(strings.TrimSuffix(strings.TrimSuffix(topic, "/json"), "/cbor")+"/+/+", func(m *Message) { answers <- m })
			if err := c.Publish(Message{Topic: topic, Payload: payload}); err != nil {
				t.Fatal(err)
			}
			m := <-answers
			cancel()
			cancelSuffix()
			if strings.HasSuffix(topic, "cbor") {
				var v map[string]any
				if err := cbor.Unmarshal(m.Payload, &v); err != nil {
					t.Fatalf("%s: %v: %x", m.Topic, err, m.Payload)
				}
			} else if !json.Valid(m.Payload) {
				t.Fatalf("%s: %q", m.Topic, m.Payload)
			}
		}
		c.mu.Lock()
		shadow, _ := c.lookupShadow(shadowKey{"a", ""})
		c.mu.Unlock()
		if shadow != nil && shadow.size() > c.device.opts.ShadowMaxBytes {
			t.Fatalf("a shadow of %d bytes", shadow.size())
		}
		c.Advance(2 * time.Hour) // tokens and step timers
	})
}

// FuzzServiceTopics sends to any topic below $aws.
func FuzzServiceTopics(f *testing.F) {
	for _, topic := range []string{"things/a/shadow/get", "things/a/shadow/name/n/update", "things//shadow", "things/a/jobs/j/namespace-x/get",
		"things/a/jobs/namespace-x", "things/a/jobs/notify", "certificates/create/json", "provisioning-templates/t/provision/cbor",
		"things/a/defender/metrics/json", "commands/things/a/executions/x/response/json", "rules/r/a", "rules//", "", "/", "things/a/jobs/"} {
		f.Add(topic, []byte(`{"clientToken":"t"}`))
	}
	c, err := New(Options{EventCapacity: 64})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = c.Close() })
	f.Fuzz(func(t *testing.T, topic string, payload []byte) {
		_ = c.Publish(Message{Topic: "$aws/" + topic, Payload: payload})
	})
}
