// SPDX-License-Identifier: Apache-2.0

package iottest_test

import (
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/iot/iottest"
)

func TestHTTPSPublish_properties(t *testing.T) {
	c := iottest.Start(t)
	got := make(chan *iottest.Message, 1)
	defer c.Subscribe("a", func(m *iottest.Message) { got <- m })()
	client := webClient(c, c.Device(t, "d"), iottest.ALPNHTTPCA)
	users := base64.StdEncoding.EncodeToString([]byte(`[{"k":"v"},{"k":"w"}]`))
	corr := base64.StdEncoding.EncodeToString([]byte("corr"))
	base := "https://" + c.Endpoint() + "/topics/a?qos=1"
	for _, tc := range []struct {
		query  string
		header []string
	}{
		{"&contentType=text%2Fplain&responseTopic=r%2Ft&messageExpiry=60", []string{"x-amz-mqtt5-payload-format-indicator", "UTF8_DATA",
			"x-amz-mqtt5-correlation-data", corr, "x-amz-mqtt5-user-properties", users}},
		{"&payloadFormatIndicator=UTF8_DATA&correlationData=" + corr + "&userProperties=" + users, []string{"x-amz-mqtt5-content-type", "text/plain",
			"x-amz-mqtt5-response-topic", "r/t", "x-amz-mqtt5-message-expiry", "60"}},
	} {
		if status, body := do(t, client, "POST", base+tc.query, "x", tc.header...); status != 200 || !strings.Contains(body, `"OK"`) {
			t.Fatalf("%d %s", status, body)
		}
		m := <-got
		if m.ContentType != "text/plain" || m.ResponseTopic != "r/t" || m.Expiry != time.Minute || !m.PayloadIsUTF8 ||
			string(m.CorrelationData) != "corr" || fmt.Sprint(m.UserProperties) != "[{k v} {k w}]" || m.QoS != 1 || string(m.Payload) != "x" {
			t.Errorf("%+v", m)
		}
	}
	for _, bad := range []string{"&qos=2", "&retain=maybe", "&messageExpiry=soon", "&payloadFormatIndicator=1", "&correlationData=%21", "&userProperties=e30%3D", "&responseTopic=a%2F%23"} {
		if status, body := do(t, client, "POST", "https://"+c.Endpoint()+"/topics/a?x"+bad, "x"); status != 400 {
			t.Errorf("%s: %d %s", bad, status, body)
		}
	}
}

func TestHTTPS_refusals(t *testing.T) {
	c := iottest.Start(t)
	d := c.Device(t, "d", iottest.WithPolicy(statement("Allow", "iot:Publish", "topic/ok")))
	client := webClient(c, d, iottest.ALPNHTTPCA)
	for _, tc := range []struct {
		method, path, body string
		status             int
		kind               string
	}{
		{"GET", "/topics/ok", "", 405, "MethodNotAllowedException"},
		{"HEAD", "/topics/ok", "", 405, "MethodNotAllowedException"},
		{"PUT", "/topics/ok", "", 405, "MethodNotAllowedException"},
		{"DELETE", "/topics/ok", "", 405, "MethodNotAllowedException"},
		{"POST", "/topics/no", "", 403, "ForbiddenException"},
		{"POST", "/topics/a%2F%23", "", 400, "InvalidRequestException"},
		{"POST", "/topics/", "", 400, "InvalidRequestException"},
		{"POST", "/topics/ok", strings.Repeat("x", 140<<10), 413, "RequestEntityTooLargeException"},
		{"POST", "/topics/ok", strings.Repeat("x", 1<<20), 413, "RequestEntityTooLargeException"},
		{"POST", "/retainedMessage/ok", "", 405, "MethodNotAllowedException"},
		{"GET", "/retainedMessage/ok", "", 403, "ForbiddenException"},
		{"GET", "/nothing", "", 403, "ForbiddenException"},
		{"DELETE", "/connections/d", "", 403, "ForbiddenException"},
	} {
		req, err := http.NewRequestWithContext(t.Context(), tc.method, "https://"+c.Endpoint()+tc.path, strings.NewReader(tc.body))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Errorf("%s %s: %v", tc.method, tc.path, err)
			continue
		}
		_ = resp.Body.Close()
		if kind := resp.Header.Get("x-amzn-ErrorType"); resp.StatusCode != tc.status || kind != tc.kind {
			t.Errorf("%s %s: %d %s, want %d %s", tc.method, tc.path, resp.StatusCode, kind, tc.status, tc.kind)
		}
	}
}

// HTTPS knows who calls by certificate, by signature or by custom authorizer.
func TestHTTPS_authentication(t *testing.T) {
	c := iottest.Start(t)
	target := "https://" + c.Endpoint() + "/topics/a?qos=1"
	if status, _ := do(t, webClient(c, nil), "POST", target, ""); status != 403 {
		t.Errorf("nobody: %d", status)
	}
	if status, body := do(t, webClient(c, c.Device(t, "d")), "POST", target, ""); status != 200 {
		t.Errorf("certificate without ALPN: %d %s", status, body)
	}
	addAuthorizer(t, c, iottest.Authorizer{Name: "x", SigningDisabled: true, TokenKeyName: "tok", Handler: allow})
	if status, body := do(t, webClient(c, nil), "POST", target, "", "x-amz-customauthorizer-name", "x", "tok", "1"); status != 200 {
		t.Errorf("authorizer: %d %s", status, body)
	}
	if status, _ := do(t, webClient(c, nil), "POST", target, "", "x-amz-customauthorizer-name", "other"); status != 403 {
		t.Errorf("unknown authorizer: %d", status)
	}
}

func TestHTTPS_retained(t *testing.T) {
	c := iottest.Start(t)
	client := webClient(c, c.Device(t, "d"), iottest.ALPNHTTPCA)
	base := "https://" + c.Endpoint()
	for _, topic := range []string{"b", "a", "site/1"} {
		if status, body := do(t, client, "POST", base+"/topics/"+topic+"?qos=1&retain=true", "on "+topic); status != 200 {
			t.Fatalf("%d %s", status, body)
		}
	}
	var one struct {
		Topic            string
		Payload          []byte
		QoS              int
		LastModifiedTime int64
	}
	_, body := do(t, client, "GET", base+"/retainedMessage/site%2F1", "")
	if err := json.Unmarshal([]byte(body), &one); err != nil || one.Topic != "site/1" || string(one.Payload) != "on site/1" || one.QoS != 1 || one.LastModifiedTime == 0 {
		t.Errorf("%s %v", body, err)
	}
	if status, _ := do(t, client, "GET", base+"/retainedMessage/none", ""); status != 404 {
		t.Errorf("none: %d", status)
	}
	var topics []string
	for token := "first"; token != ""; {
		var page struct {
			RetainedTopics []struct {
				Topic       string
				PayloadSize int
			}
			NextToken string
		}
		query := "?maxResults=2"
		if token != "first" {
			query += "&nextToken=" + token
		}
		_, body := do(t, client, "GET", base+"/retainedMessage"+query, "")
		if err := json.Unmarshal([]byte(body), &page); err != nil || len(page.RetainedTopics) > 2 {
			t.Fatalf("%s %v", body, err)
		}
		for _, s := range page.RetainedTopics {
			topics = append(topics, fmt.Sprint(s.Topic, s.PayloadSize))
		}
		token = page.NextToken
	}
	if got := strings.Join(topics, " "); got != "a4 b4 site/19" {
		t.Errorf("retained topics %q", got)
	}
	if status, _ := do(t, client, "POST", base+"/topics/a?retain=true", ""); status != 200 || c.Retained("a") != nil {
		t.Errorf("an empty payload left the retained message, %d", status)
	}
	if status, _ := do(t, client, "GET", base+"/retainedMessage?maxResults=201", ""); status != 400 {
		t.Errorf("maxResults 201: %d", status)
	}
}

// Shadows and jobs are there over HTTPS, as over MQTT.
func TestHTTPS_shadowsAndJobs(t *testing.T) {
	c := iottest.Start(t)
	client := webClient(c, c.Device(t, "lamp", iottest.WithPolicy(statement("Allow", "iot:*", "thing/lamp thing/lamp/*"))), iottest.ALPNHTTPCA)
	base := "https://" + c.Endpoint()
	call := func(method, path, body string, status int, contains ...string) {
		t.Helper()
		got, answer := do(t, client, method, base+path, body)
		for _, s := range append(contains, "") {
			if got != status || !strings.Contains(answer, s) {
				t.Errorf("%s %s: %d %s, want %d with %q", method, path, got, answer, status, s)
			}
		}
	}
	delta := make(chan *iottest.Message, 1)
	defer c.Subscribe("$aws/things/lamp/shadow/update/delta", func(m *iottest.Message) { delta <- m })()
	call("GET", "/things/lamp/shadow", "", 404, "No shadow exists")
	call("POST", "/things/lamp/shadow", `{"state":{"desired":{"on":true}}}`, 200, `"version":1`)
	<-delta
	call("GET", "/things/lamp/shadow", "", 200, `"on":true`)
	call("POST", "/things/lamp/shadow", `{"version":7,"state":{"desired":{"on":true}}}`, 409)
	for _, name := range []string{"b", "a"} {
		call("POST", "/things/lamp/shadow?name="+name, `{"state":{"reported":{"x":1}}}`, 200)
	}
	call("GET", "/api/things/shadow/ListNamedShadowsForThing/lamp?pageSize=1", "", 200, `"results":["a"]`, `"nextToken":"a"`)
	call("GET", "/api/things/shadow/ListNamedShadowsForThing/lamp?nextToken=a", "", 200, `"results":["b"]`)
	call("DELETE", "/things/lamp/shadow?name=a", "", 200)
	call("GET", "/things/lamp/shadow?name=a", "", 404)
	call("GET", "/things/other/shadow", "", 403)
	call("PATCH", "/things/lamp/shadow", "", 405)

	if _, err := c.CreateJob(iottest.Job{ID: "update-1", Document: `{"do":"it"}`, Things: []string{"lamp"}}); err != nil {
		t.Fatal(err)
	}
	call("GET", "/things/lamp/jobs", "", 200, `"jobId":"update-1"`)
	call("GET", "/things/lamp/jobs/update-1?includeJobDocument=true", "", 200, `"jobDocument":"{`)
	call("PUT", "/things/lamp/jobs/$next", `{}`, 200, `"IN_PROGRESS"`)
	call("POST", "/things/lamp/jobs/update-1", `{"status":"SUCCEEDED"}`, 200)
	call("POST", "/things/lamp/jobs/update-1", `{"status":"FAILED"}`, 409)
	call("GET", "/things/lamp/jobs/none", "", 404)
	call("GET", "/things/other/jobs", "", 403)
}

// A client that goes silent within a request, or between two, is not waited for.
func TestHTTPS_deadlines(t *testing.T) {
	c := iottest.Start(t, func(o *iottest.Options) { o.ConnectTimeout = 200 * time.Millisecond })
	d := c.Device(t, "d")
	for name, request := range map[string]string{
		"nothing": "", "header": "POST /topics/a HTTP/1.1\r\nHost: x\r\n", "body": "POST /topics/a HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc",
	} {
		nc, err := tls.Dial("tcp", c.Addr(), d.TLSConfig(iottest.ALPNHTTPCA))
		if err != nil {
			t.Fatal(err)
		}
		_ = nc.SetReadDeadline(time.Now().Add(30 * time.Second)) // against hanging tests only
		if _, err := nc.Write([]byte(request)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, nc); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: the connection stays open", name)
		}
		_ = nc.Close()
	}
}
