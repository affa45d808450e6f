// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"context"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/gocrt/aws-iot-device-sdk-go/iot/iottest"
	"github.com/gocrt/aws-iot-device-sdk-go/iot/iottest/desk"
)

// Clients that others wrote against the embedded core, as one runs it on a
// desk, in each way to connect.

func startDesk(t *testing.T) *desk.Desk {
	t.Helper()
	free := "127.0.0.1:0"
	d, err := desk.Start(desk.Config{Addr: free, MTLSAddr: free, TCPAddr: free, HTTPAddr: "off", ProxyAddr: free, Dir: t.TempDir()}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			for _, e := range d.Core.Events() {
				t.Log(e)
			}
		}
	})
	return d
}

// arguments are what all clients of a desk need.
func deskArguments(t *testing.T, d *desk.Desk) object {
	t.Helper()
	m := d.Material
	host, port := splitAddr(t, strings.TrimPrefix(d.ProxyURL, "http://"))
	identity, err := d.Core.CreateIdentity(m.IdentityPoolID)
	if err != nil {
		t.Fatal(err)
	}
	return object{"endpoint": d.Core.Endpoint(), "credentialsEndpoint": d.Core.CredentialsEndpoint(), "region": d.Core.Region(),
		"ca": m.CA, "cert": m.Cert, "key": m.Files.Key, "thing": m.Thing, "proxyHost": host, "proxyPort": port,
		"accessKeyId": m.Key.AccessKeyID, "secretAccessKey": m.Key.SecretAccessKey, "sessionToken": m.Key.SessionToken,
		"identity": identity, "roleAlias": m.RoleAlias, "topic": "interop/topic", "payload": "hello"}
}

func splitAddr(t *testing.T, addr string) (string, int) {
	t.Helper()
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	return host, n
}

// with joins two objects.
func with(all, more object) object {
	out := object{}
	for _, m := range []object{all, more} {
		for k, v := range m {
			out[k] = v
		}
	}
	return out
}

// The native client of AWS connects by the names of the service, through the
// proxy of the desk.
func TestClients_native(t *testing.T) {
	d := startDesk(t)
	m, all := d.Material, deskArguments(t, d)
	password := object{"authorizer": m.Authorizer, "username": m.Username, "password": m.Password}
	token := object{"authorizer": m.SignedAuthorizer, "tokenKeyName": m.TokenKeyName, "token": m.Token, "signature": m.Signature, "username": "", "password": ""}
	n := startNode(t, "connect.js", "aws-iot-device-sdk-v2")
	for _, version := range []string{"crt5", "crt3"} {
		for name, more := range map[string]object{
			"certificate on 443":                   {"method": "certificate", "port": 443},
			"certificate on 8883":                  {"method": "certificate", "port": 8883},
			"SigV4":                                {"method": "sigv4"},
			"Cognito":                              {"method": "sigv4", "credentials": "cognito"},
			"role alias":                           {"method": "sigv4", "credentials": "role-alias"},
			"custom authorizer":                    with(password, object{"method": "custom"}),
			"custom authorizer, signed":            with(token, object{"method": "custom"}),
			"custom authorizer, WebSocket":         with(password, object{"method": "custom-websocket"}),
			"custom authorizer, signed, WebSocket": with(token, object{"method": "custom-websocket"}),
		} {
			t.Run(version+"/"+name, func(t *testing.T) {
				var got struct{ Payload, ContentType string }
				if err := n.call(version, with(all, with(more, object{"clientId": "native"})), &got); err != nil {
					t.Fatal(err)
				}
				if got.Payload != "hello" || version == "crt5" && got.ContentType != "text/plain" {
					t.Errorf("got %+v", got)
				}
			})
		}
	}
}

func TestClients_mqttJS(t *testing.T) {
	d := startDesk(t)
	m, all := d.Material, deskArguments(t, d)
	web, mtls := "localhost:"+strconv.Itoa(d.Core.Port()), "localhost:"+strconv.Itoa(d.Core.MTLSPort())
	user := m.Username + "?x-amz-customauthorizer-name=" + m.Authorizer
	n := startNode(t, "connect.js", "mqtt")
	for _, version := range []int{5, 4} {
		for name, more := range map[string]object{
			"certificate on 8883":          {"url": "mqtts://" + mtls},
			"certificate on 443":           {"url": "mqtts://" + web, "alpn": []string{iottest.ALPNMQTTCA}},
			"custom authorizer":            {"url": "mqtts://" + web, "alpn": []string{iottest.ALPNMQTT}, "cert": nil, "username": user, "password": m.Password},
			"custom authorizer, WebSocket": {"url": "wss://" + web + "/mqtt", "cert": nil, "username": user, "password": m.Password},
			"no TLS":                       {"url": "mqtt://" + d.Core.TCPAddr(), "cert": nil},
		} {
			t.Run(strconv.Itoa(version)+"/"+name, func(t *testing.T) {
				var got struct{ Payload string }
				if err := n.call("mqttJS", with(all, with(more, object{"version": version, "clientId": "mqttjs"})), &got); err != nil || got.Payload != "hello" {
					t.Errorf("got %+v, %v", got, err)
				}
			})
		}
	}
}

// The AWS SDK for JavaScript on the data plane, by signature and by certificate.
func TestClients_dataPlane(t *testing.T) {
	d := startDesk(t)
	all := deskArguments(t, d)
	n := startNode(t, "connect.js", "@aws-sdk/client-iot-data-plane")
	got := make(chan *iottest.Message, 10)
	defer d.Core.Subscribe("a/b", func(m *iottest.Message) { got <- m })()
	if _, err := d.Core.CreateJob(iottest.Job{ID: "job-1", Document: `{"do":"it"}`, Things: []string{"lamp"}}); err != nil {
		t.Fatal(err)
	}
	commands := []object{
		{"service": "data", "command": "Publish", "input": object{"topic": "a/b", "qos": 1, "payload": "hello", "retain": true, "contentType": "text/plain",
			"responseTopic": "r", "messageExpiry": 60, "payloadFormatIndicator": "UTF8_DATA", "correlationData": "Y29ycg==", "userProperties": `[{"k":"v"}]`}},
		{"service": "data", "command": "GetRetainedMessage", "input": object{"topic": "a/b"}},
		{"service": "data", "command": "ListRetainedMessages", "input": object{"maxResults": 5}},
		{"service": "data", "command": "GetThingShadow", "input": object{"thingName": "lamp"}},
		{"service": "data", "command": "UpdateThingShadow", "input": object{"thingName": "lamp", "shadowName": "s", "payload": `{"state":{"desired":{"on":true}}}`}},
		{"service": "data", "command": "GetThingShadow", "input": object{"thingName": "lamp", "shadowName": "s"}},
		{"service": "data", "command": "ListNamedShadowsForThing", "input": object{"thingName": "lamp"}},
		{"service": "data", "command": "DeleteThingShadow", "input": object{"thingName": "lamp", "shadowName": "s"}},
		{"service": "data", "command": "DeleteConnection", "input": object{"clientId": "nobody"}},
		{"service": "data", "command": "Publish", "input": object{"topic": "a/#"}},
		{"service": "jobs", "command": "GetPendingJobExecutions", "input": object{"thingName": "lamp"}},
		{"service": "jobs", "command": "StartNextPendingJobExecution", "input": object{"thingName": "lamp"}},
		{"service": "jobs", "command": "DescribeJobExecution", "input": object{"thingName": "lamp", "jobId": "job-1", "includeJobDocument": true}},
		{"service": "jobs", "command": "UpdateJobExecution", "input": object{"thingName": "lamp", "jobId": "job-1", "status": "SUCCEEDED"}},
		{"service": "jobs", "command": "UpdateJobExecution", "input": object{"thingName": "lamp", "jobId": "job-1", "status": "FAILED"}},
		{"service": "jobs", "command": "DescribeJobExecution", "input": object{"thingName": "lamp", "jobId": "none"}},
	}
	var answers []map[string]any
	n.must("dataPlane", with(all, object{"url": "https://localhost:" + strconv.Itoa(d.Core.Port()), "cert": nil, "commands": commands}), &answers)
	for i, want := range []string{"", "hello", "a/b", "ResourceNotFoundException", `"version":1`, `"on":true`, `s`, `"version"`, "ResourceNotFoundException",
		"InvalidRequestException", "job-1", "IN_PROGRESS", `{"do":"it"}`, "", "InvalidStateTransitionException", "ResourceNotFoundException"} {
		text := flatten(answers[i])
		failed := answers[i]["error"] != nil
		if !strings.Contains(text, want) || failed != strings.HasSuffix(want, "Exception") {
			t.Errorf("%v: %s, want %s", commands[i]["command"], text, want)
		}
	}
	m := <-got
	if string(m.Payload) != "hello" || m.ContentType != "text/plain" || m.ResponseTopic != "r" || m.Expiry.Seconds() != 60 || !m.PayloadIsUTF8 ||
		string(m.CorrelationData) != "corr" || len(m.UserProperties) != 1 || m.UserProperties[0].Value != "v" {
		t.Errorf("published %+v", m)
	}
}

func flatten(v any) string {
	switch v := v.(type) {
	case map[string]any:
		var b strings.Builder
		for k, x := range v {
			b.WriteString(k + ":" + flatten(x) + " ")
		}
		return b.String()
	case []any:
		var b strings.Builder
		for _, x := range v {
			b.WriteString(flatten(x) + " ")
		}
		return b.String()
	case string:
		return v
	}
	return ""
}

// mosquitto's tools, MQTT 5 and 3.1.1.
func TestClients_mosquitto(t *testing.T) {
	d := startDesk(t)
	path := tool(t, "mosquitto_rr")
	m := d.Material
	cert := []string{"--cert", m.Cert, "--key", m.Files.Key}
	user := []string{"-u", m.Username + "?x-amz-customauthorizer-name=" + m.Authorizer, "-P", m.Password, "--tls-alpn", "mqtt"}
	token := []string{"-u", "?x-amz-customauthorizer-name=" + m.SignedAuthorizer + "&token=" + m.Token + "&x-amz-customauthorizer-signature=" + url.QueryEscape(m.Signature), "-P", "", "--tls-alpn", "mqtt"}
	defer d.Core.Subscribe("ask", func(*iottest.Message) {
		if err := d.Core.Publish(iottest.Message{Topic: "answer", Payload: []byte("hello"), QoS: 1}); err != nil {
			t.Error(err)
		}
	})()
	for name, c := range map[string]struct {
		port int
		more []string
	}{
		"certificate on 8883":       {d.Core.MTLSPort(), cert},
		"certificate on 443":        {d.Core.Port(), append([]string{"--tls-alpn", "x-amzn-mqtt-ca"}, cert...)},
		"custom authorizer":         {d.Core.Port(), user},
		"custom authorizer, signed": {d.Core.Port(), token},
	} {
		for _, version := range []string{"mqttv5", "mqttv311"} {
			t.Run(version+"/"+name, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				defer cancel()
				arguments := append([]string{"-V", version, "-h", "localhost", "-p", strconv.Itoa(c.port), "--cafile", m.CA, "-q", "1", "-t", "ask", "-e", "answer", "-m", "x"}, c.more...)
				out, err := exec.CommandContext(ctx, path, arguments...).CombinedOutput()
				if err != nil || strings.TrimSpace(string(out)) != "hello" {
					t.Errorf("%s %v", out, err)
				}
			})
		}
	}
}

// pythonWithPaho finds an interpreter that has paho: the first one in PATH need
// not be the one of the system.
func pythonWithPaho(t *testing.T) string {
	t.Helper()
	for _, path := range []string{tool(t, "python3"), "/usr/bin/python3"} {
		if exec.Command(path, "-c", "import paho.mqtt.client").Run() == nil {
			return path
		}
	}
	missing(t, "Debian package python3-paho-mqtt")
	return ""
}

// paho's client in Python, MQTT 5 and 3.1.1.
func TestClients_pahoPython(t *testing.T) {
	d := startDesk(t)
	path := pythonWithPaho(t)
	m := d.Material
	for name, c := range map[string][]string{
		"certificate on 8883":          {strconv.Itoa(d.Core.MTLSPort()), "tcp", "", m.Cert, m.Files.Key, "", ""},
		"certificate on 443":           {strconv.Itoa(d.Core.Port()), "tcp", iottest.ALPNMQTTCA, m.Cert, m.Files.Key, "", ""},
		"custom authorizer":            {strconv.Itoa(d.Core.Port()), "tcp", iottest.ALPNMQTT, "", "", m.Username + "?x-amz-customauthorizer-name=" + m.Authorizer, m.Password},
		"custom authorizer, WebSocket": {strconv.Itoa(d.Core.Port()), "websockets", "", "", "", m.Username + "?x-amz-customauthorizer-name=" + m.Authorizer, m.Password},
	} {
		for _, version := range []string{"5", "4"} {
			t.Run(version+"/"+name, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				defer cancel()
				cmd := exec.CommandContext(ctx, path, append([]string{filepath.Join("testdata", "paho_client.py"), version, m.CA}, c...)...)
				cmd.Env = append(os.Environ(), "PYTHONDONTWRITEBYTECODE=1")
				out, err := cmd.CombinedOutput()
				if err != nil || strings.TrimSpace(string(out)) != "hello" {
					t.Errorf("%s %v", out, err)
				}
			})
		}
	}
}
