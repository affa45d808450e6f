// SPDX-License-Identifier: Apache-2.0

package iottest_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/iot/iottest"
)

// serviceClient is a raw client that is connected, with subscriptions.
func serviceClient(t *testing.T, c *iottest.Core, id string, filters ...string) *rawClient {
	t.Helper()
	cl := dialPlain(t, c)
	cl.mustConnect(connectOptions{id: id})
	for len(filters) > 0 {
		n := min(len(filters), 8)
		for i, code := range cl.subscribe(filters[:n]...) {
			if code > 1 {
				t.Fatalf("subscribe %s: %#x", filters[i], code)
			}
		}
		filters = filters[n:]
	}
	return cl
}

// request publishes and consumes the PUBACK.
func (c *rawClient) request(topic, payload string) {
	c.t.Helper()
	c.publish(topic, payload, 1, 1)
	if f := c.expect(tPuback); f.codes[0] != 0 {
		c.t.Fatalf("PUBACK %#x for %s", f.codes[0], topic)
	}
}

var seconds = regexp.MustCompile(`"(timestamp|queuedAt|startedAt|lastUpdatedAt)":\d+`)

// golden replaces times, and sorts the members of JSON objects.
func golden(t *testing.T, payload []byte) string {
	t.Helper()
	var v any
	if err := json.Unmarshal(payload, &v); err != nil {
		t.Fatalf("not JSON: %v: %s", err, payload)
	}
	b, _ := json.Marshal(v)
	return seconds.ReplaceAllString(string(b), `"$1":1`)
}

// expectJSON wants a message with a body, times aside.
func (c *rawClient) expectJSON(topic, body string) *frame {
	c.t.Helper()
	f := c.expect(tPublish)
	if got, want := golden(c.t, f.payload), golden(c.t, []byte(body)); f.topic != topic || got != want {
		c.t.Fatalf("got  %s\n     %s\nwant %s\n     %s", f.topic, got, topic, want)
	}
	if f.qos() == 1 {
		c.puback(f.id)
	}
	return f
}

// nothing wants that no message is on its way.
func (c *rawClient) nothing() {
	c.t.Helper()
	c.ping()
}

const shadowA = "$aws/things/a/shadow/"

func TestShadow_conversation(t *testing.T) {
	t.Parallel()
	for _, prefix := range []string{shadowA, shadowA + "name/config/"} {
		c := iottest.Start(t, plain)
		cl := serviceClient(t, c, "device", prefix+"get/+", prefix+"update/accepted", prefix+"update/rejected",
			prefix+"update/delta", prefix+"update/documents", prefix+"delete/+")
		name := "a"
		if strings.Contains(prefix, "config") {
			name = "config"
		}
		cl.request(prefix+"get", `{"clientToken":"t0"}`)
		cl.expectJSON(prefix+"get/rejected", `{"code":404,"message":"No shadow exists with name: '`+name+`'","timestamp":1,"clientToken":"t0"}`)

		cl.request(prefix+"update", `{"state":{"desired":{"on":true,"led":{"r":1,"g":[1,2]}},"reported":{"on":false}},"clientToken":"t1","other":1}`)
		cl.expectJSON(prefix+"update/accepted", `{"state":{"desired":{"on":true,"led":{"r":1,"g":[1,2]}},"reported":{"on":false}},
			"metadata":{"desired":{"on":{"timestamp":1},"led":{"r":{"timestamp":1},"g":[{"timestamp":1},{"timestamp":1}]}},"reported":{"on":{"timestamp":1}}},
			"version":1,"timestamp":1,"clientToken":"t1"}`)
		cl.expectJSON(prefix+"update/delta", `{"state":{"on":true,"led":{"r":1,"g":[1,2]}},
			"metadata":{"on":{"timestamp":1},"led":{"r":{"timestamp":1},"g":[{"timestamp":1},{"timestamp":1}]}},
			"version":1,"timestamp":1,"clientToken":"t1"}`)
		cl.expectJSON(prefix+"update/documents", `{"previous":{"state":{},"metadata":{}},"current":{
			"state":{"desired":{"on":true,"led":{"r":1,"g":[1,2]}},"reported":{"on":false}},
			"metadata":{"desired":{"on":{"timestamp":1},"led":{"r":{"timestamp":1},"g":[{"timestamp":1},{"timestamp":1}]}},"reported":{"on":{"timestamp":1}}},
			"version":1},"timestamp":1,"clientToken":"t1"}`)

		// An update without a token; the delta has all differences, not only
		// the new ones.
		cl.request(prefix+"update", `{"state":{"reported":{"led":{"r":2,"b":3}}},"version":1}`)
		cl.expectJSON(prefix+"update/accepted", `{"state":{"reported":{"led":{"r":2,"b":3}}},
			"metadata":{"reported":{"led":{"r":{"timestamp":1},"b":{"timestamp":1}}}},"version":2,"timestamp":1}`)
		cl.expectJSON(prefix+"update/delta", `{"state":{"on":true,"led":{"r":1,"g":[1,2]}},
			"metadata":{"on":{"timestamp":1},"led":{"r":{"timestamp":1},"g":[{"timestamp":1},{"timestamp":1}]}},"version":2,"timestamp":1}`)
		cl.expect(tPublish)

		cl.request(prefix+"update", `{"state":{"desired":null,"reported":{"on":null}}}`)
		cl.expectJSON(prefix+"update/accepted", `{"state":{"desired":null,"reported":{"on":null}},"metadata":{"reported":{}},"version":3,"timestamp":1}`)
		cl.expect(tPublish) // documents, and no delta
		cl.request(prefix+"get", "")
		cl.expectJSON(prefix+"get/accepted", `{"state":{"reported":{"led":{"r":2,"b":3}}},
			"metadata":{"reported":{"led":{"r":{"timestamp":1},"b":{"timestamp":1}}}},"version":3,"timestamp":1}`)

		cl.request(prefix+"update", `{"state":{},"version":2,"clientToken":"late"}`)
		cl.expectJSON(prefix+"update/rejected", `{"code":409,"message":"Version conflict","timestamp":1,"clientToken":"late"}`)

		// The version goes on after a deletion, for 48 hours.
		cl.request(prefix+"delete", `{"clientToken":"d"}`)
		cl.expectJSON(prefix+"delete/accepted", `{"version":3,"timestamp":1,"clientToken":"d"}`)
		cl.request(prefix+"delete", "no JSON")
		cl.expectJSON(prefix+"delete/rejected", `{"code":404,"message":"No shadow exists with name: '`+name+`'","timestamp":1}`)
		cl.request(prefix+"update", `{"state":{"desired":{"a":1}}}`)
		if f := cl.expect(tPublish); !strings.Contains(string(f.payload), `"version":4`) {
			t.Errorf("after a deletion: %s", f.payload)
		}
		cl.expect(tPublish)
		cl.expect(tPublish)
		cl.request(prefix+"get", "")
		cl.expectJSON(prefix+"get/accepted", `{"state":{"desired":{"a":1},"delta":{"a":1}},"metadata":{"desired":{"a":{"timestamp":1}}},"version":4,"timestamp":1}`)
		cl.nothing()
	}
}

func TestShadow_forgetsAfterTwoDays(t *testing.T) {
	t.Parallel()
	c := iottest.Start(t)
	update := func(want string) {
		t.Helper()
		b, err := c.UpdateShadow("a", "", []byte(`{"state":{"reported":{"x":1}}}`))
		if err != nil || !strings.Contains(string(b), want) {
			t.Errorf("%s, %v; want %s", b, err, want)
		}
	}
	for range 2 {
		update(`"version":1`)
		if _, err := c.DeleteShadow("a", ""); err != nil {
			t.Fatal(err)
		}
		c.Advance(48 * time.Hour)
	}
}

func TestShadow_rejections(t *testing.T) {
	t.Parallel()
	c := iottest.Start(t, plain)
	cl := serviceClient(t, c, "device", shadowA+"update/rejected")
	deep := strings.Repeat(`{"a":`, 8) + "1" + strings.Repeat("}", 8)
	for _, tc := range []struct {
		payload, message string
		code             int
	}{
		{`{`, "Invalid JSON", 400},
		{`[]`, "Invalid JSON", 400},
		{``, "Invalid JSON", 400},
		{`{"state":{}} x`, "Invalid JSON", 400},
		{"{\"state\":{\"desired\":{\"a\":\"\xff\"}}}", "Unsupported documented encoding; supported encoding is UTF-8", 415},
		{`{"clientToken":"` + strings.Repeat("x", 65) + `","state":{}}`, "Invalid clientToken", 400},
		{`{"clientToken":5,"state":{}}`, "Invalid clientToken", 400},
		{`{}`, "Missing required node: state", 400},
		{`{"state":null}`, "State node must be an object", 400},
		{`{"state":{"desired":1}}`, "Desired node must be an object", 400},
		{`{"state":{"reported":[]}}`, "Reported node must be an object", 400},
		{`{"state":{},"version":"x"}`, "Invalid version", 400},
		{`{"state":{},"version":1.5}`, "Invalid version", 400},
		{`{"state":{"desired":{"a":` + deep + `}}}`, "JSON contains too many levels of nesting; maximum is 8", 400},
		{`{"state":{"desired":{"a":[{"b":null}]}}}`, "State contains an invalid node", 400},
		{`{"state":{"desired":{"a":"` + strings.Repeat("x", 8192) + `"}}}`, "The payload exceeds the maximum size allowed", 413},
		{`{"state":{},"version":7}`, "Version conflict", 409},
	} {
		cl.request(shadowA+"update", tc.payload)
		cl.expectJSON(shadowA+"update/rejected", fmt.Sprintf(`{"code":%d,"message":%q,"timestamp":1}`, tc.code, tc.message))
	}
	if len(c.ListNamedShadows("a")) != 0 {
		t.Error("a rejected update made a shadow")
	}
	if _, err := c.GetShadow("a", ""); err == nil {
		t.Error("a rejected update made a shadow")
	}
}

// HTTP clients and tests change shadows by methods, and devices see it.
func TestShadow_methods(t *testing.T) {
	t.Parallel()
	c := iottest.Start(t, plain)
	cl := serviceClient(t, c, "device", shadowA+"name/n/update/delta")
	if _, err := c.UpdateShadow("a", "n", []byte(`{"state":{"desired":{"x":1.0}}}`)); err != nil {
		t.Fatal(err)
	}
	cl.expectJSON(shadowA+"name/n/update/delta", `{"state":{"x":1.0},"metadata":{"x":{"timestamp":1}},"version":1,"timestamp":1}`)
	if _, err := c.UpdateShadow("a", "n", []byte(`{"state":{"reported":{"x":1}}}`)); err != nil {
		t.Fatal(err)
	}
	cl.nothing() // 1 and 1.0 are the same
	if _, err := c.UpdateShadow("a", "m", []byte(`{"state":{"reported":{"x":1}}}`)); err != nil {
		t.Fatal(err)
	}
	if names := fmt.Sprint(c.ListNamedShadows("a")); names != "[m n]" {
		t.Errorf("shadows %s", names)
	}
	_, err := c.DeleteShadow("a", "")
	var rejected *iottest.ServiceError
	if !errors.As(err, &rejected) || rejected.Status != 404 || rejected.ErrorType() != "ResourceNotFoundException" {
		t.Errorf("delete: %v", err)
	}
	if _, err := c.UpdateShadow("a/b", "", nil); err == nil {
		t.Error("a thing with a slash")
	}
}

func TestServiceFaults(t *testing.T) {
	t.Parallel()
	c := iottest.Start(t, plain)
	cl := serviceClient(t, c, "device", shadowA+"get/+", shadowA+"update/+")
	update := func(n int) {
		t.Helper()
		cl.request(shadowA+"update", fmt.Sprintf(`{"state":{"desired":{"n":%d}}}`, n))
	}
	next := func(topic string) {
		t.Helper()
		f := cl.expect(tPublish)
		cl.puback(f.id)
		if got := strings.TrimPrefix(f.topic, shadowA); got != topic {
			t.Fatalf("message on %s, want %s", got, topic)
		}
	}
	c.SetServiceFaults(iottest.ServiceFault{Service: iottest.ServiceShadow, Operation: "update", Ignore: true, Times: 1},
		iottest.ServiceFault{Operation: "delta", Duplicate: true, Times: 1},
		iottest.ServiceFault{Operation: "delta", Lose: true, Times: 1},
		iottest.ServiceFault{Operation: "documents", Lose: true})
	update(1)
	cl.nothing()
	update(2)
	next("update/accepted")
	next("update/delta")
	next("update/delta")
	update(3)
	next("update/accepted")
	cl.nothing()

	c.SetServiceFaults(iottest.ServiceFault{Thing: "a", Reorder: 3})
	update(4)
	next("update/documents")
	next("update/delta")
	next("update/accepted")
	c.SetServiceFaults(iottest.ServiceFault{Operation: "update", Reorder: 3}, iottest.ServiceFault{Thing: "other", Lose: true})
	update(5)
	next("update/delta")
	next("update/documents")
	c.SetServiceFaults(iottest.ServiceFault{Operation: "update", Reject: &iottest.ServiceError{Status: 500, Message: "Internal service failure"}, Times: 1})
	next("update/accepted")
	update(6)
	cl.expectJSON(shadowA+"update/rejected", `{"code":500,"message":"Internal service failure","timestamp":1}`)

	// Late answers come on the core's clock. Eleven requests in flight are one too many.
	c.SetServiceFaults(iottest.ServiceFault{Operation: "get", Delay: time.Minute, Times: 10})
	for range 10 {
		cl.request(shadowA+"get", "")
	}
	cl.request(shadowA+"get", `{"clientToken":"11"}`)
	cl.expectJSON(shadowA+"get/rejected", `{"code":429,"message":"Too many requests","timestamp":1,"clientToken":"11"}`)
	c.Advance(59 * time.Second)
	cl.nothing()
	c.Advance(2 * time.Second)
	for range 10 {
		next("get/accepted")
	}
	cl.request(shadowA+"get", "")
	next("get/accepted")

	disturbed := 0
	for _, e := range c.Events() {
		if e.Type == iottest.ServiceDisturbed {
			disturbed++
		}
	}
	if disturbed != 1+1+1+2+3+1+1+10 {
		t.Errorf("%d events of disturbances", disturbed)
	}
}

func TestServices_disabled(t *testing.T) {
	t.Parallel()
	c := iottest.Start(t, plain, func(o *iottest.Options) { o.Services.Disabled = true })
	cl := serviceClient(t, c, "device", shadowA+"get/+")
	cl.request(shadowA+"get", "")
	cl.nothing()
}

func TestShadow_options(t *testing.T) {
	t.Parallel()
	c := iottest.Start(t, plain, func(o *iottest.Options) {
		o.Services.ShadowMaxDepth = 1
		o.Services.DeltaBeforeAccepted = true
	})
	cl := serviceClient(t, c, "device", shadowA+"update/+")
	cl.request(shadowA+"update", `{"state":{"desired":{"a":{}}}}`)
	cl.expectJSON(shadowA+"update/rejected", `{"code":400,"message":"JSON contains too many levels of nesting; maximum is 1","timestamp":1}`)
	cl.request(shadowA+"update", `{"state":{"desired":{"a":1}}}`)
	for _, topic := range []string{"update/delta", "update/accepted", "update/documents"} {
		if f := cl.expect(tPublish); f.topic != shadowA+topic {
			t.Errorf("message on %s, want %s", f.topic, topic)
		}
	}
}

// A will on a topic of a service is a message like others: the service does not see it.
func TestServices_ignoreWills(t *testing.T) {
	t.Parallel()
	c := iottest.Start(t, plain)
	watcher := serviceClient(t, c, "watcher", shadowA+"#")
	cl := dialPlain(t, c)
	cl.mustConnect(connectOptions{id: "device", will: shadowA + "update", willPayload: `{"state":{"reported":null}}`})
	c.Cut("device")
	watcher.expectMessage(shadowA+"update", `{"state":{"reported":null}}`)
	watcher.nothing()
	if _, err := c.GetShadow("a", ""); err == nil {
		t.Error("the will made a shadow")
	}
}

// Every service words a rejection in its own way.
func TestServiceFaults_reject(t *testing.T) {
	t.Parallel()
	c := iottest.Start(t, plain)
	const command = "$aws/commands/things/a/executions/x/response"
	certificates := "$aws/certificates/create/json"
	cl := serviceClient(t, c, "device", shadowA+"get/rejected", jobsA+"get/rejected", certificates+"/rejected",
		"$aws/things/a/defender/metrics/json/rejected", command+"/rejected/json")
	for _, tc := range []struct{ service, topic, rejected, body string }{
		{iottest.ServiceShadow, shadowA + "get", shadowA + "get/rejected", `{"code":429,"message":"no","timestamp":1}`},
		{iottest.ServiceJobs, jobsA + "get", jobsA + "get/rejected", `{"code":"Slow","message":"no","timestamp":1}`},
		{iottest.ServiceProvisioning, certificates, certificates + "/rejected", `{"statusCode":429,"errorCode":"Slow","errorMessage":"no"}`},
		{iottest.ServiceDefender, "$aws/things/a/defender/metrics/json", "$aws/things/a/defender/metrics/json/rejected",
			`{"thingName":"a","status":"REJECTED","statusDetails":{"ErrorCode":"Slow","ErrorMessage":"no"},"timestamp":1}`},
		{iottest.ServiceCommands, command + "/json", command + "/rejected/json", `{"executionId":"x","error":"Slow","errorMessage":"no"}`},
	} {
		c.SetServiceFaults(iottest.ServiceFault{Service: tc.service, Reject: &iottest.ServiceError{Status: 429, Code: "Slow", Message: "no"}, Times: 1},
			iottest.ServiceFault{Delay: time.Second})
		cl.request(tc.topic, "{}")
		cl.nothing() // it comes late, too
		c.Advance(2 * time.Second)
		cl.expectJSON(tc.rejected, tc.body)
		c.SetServiceFaults(iottest.ServiceFault{Service: tc.service, Ignore: true})
		cl.request(tc.topic, "{}")
		cl.nothing()
	}
	// Calls over HTTPS fail as well.
	if _, err := c.GetShadow("a", ""); err != nil && !strings.Contains(err.Error(), "404") {
		t.Errorf("a service without a fault: %v", err)
	}
	c.SetServiceFaults(iottest.ServiceFault{Ignore: true})
	for _, call := range []func() ([]byte, error){
		func() ([]byte, error) { return c.GetShadow("a", "") }, func() ([]byte, error) { return c.GetPendingJobExecutions("a") },
	} {
		var rejected *iottest.ServiceError
		if _, err := call(); !errors.As(err, &rejected) || rejected.Status != 500 {
			t.Errorf("an ignored call: %v", err)
		}
	}
}
