// SPDX-License-Identifier: Apache-2.0

package desk_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gocrt/aws-iot-device-sdk-go/iot/iottest"
	"github.com/gocrt/aws-iot-device-sdk-go/iot/iottest/desk"
)

type request struct {
	method, path, body string
	header             map[string]string
	host               string
}

// send sends a request to the control API.
func send(t *testing.T, d *desk.Desk, q request) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), q.method, d.ConsoleURL+q.path, strings.NewReader(q.body))
	if err != nil {
		t.Fatal(err)
	}
	if q.method != http.MethodGet {
		req.Header.Set("Content-Type", "application/json")
	}
	for k, v := range q.header {
		req.Header.Set(k, v)
	}
	if q.host != "" {
		req.Host = q.host
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// What a page of another origin could send is refused, and nothing is changed by GET.
func TestControl_sameOrigin(t *testing.T) {
	d := start(t)
	publish := request{method: "POST", path: "/v1/publish", body: `{"topic":"a","payload":"x","retain":true}`}
	with := func(change func(*request)) request {
		q := publish
		q.header = map[string]string{}
		change(&q)
		return q
	}
	for name, q := range map[string]request{
		"foreign origin": with(func(q *request) { q.header["Origin"] = "http://evil.example" }),
		"https origin":   with(func(q *request) { q.header["Origin"] = strings.Replace(d.ConsoleURL, "http:", "https:", 1) }),
		"null origin":    with(func(q *request) { q.header["Origin"] = "null" }),
		"other port":     with(func(q *request) { q.header["Origin"] = "http://127.0.0.1:1" }),
		"rebound name":   with(func(q *request) { q.host = "evil.example" }),
		"cross site":     with(func(q *request) { q.header["Sec-Fetch-Site"] = "cross-site" }),
		"same site":      with(func(q *request) { q.header["Sec-Fetch-Site"] = "same-site" }),
		"simple request": with(func(q *request) { q.header["Content-Type"] = "text/plain" }),
		"form":           with(func(q *request) { q.header["Content-Type"] = "application/x-www-form-urlencoded" }),
		"read":           {method: "GET", path: "/v1/devices", header: map[string]string{"Origin": "http://evil.example"}},
		"read rebound":   {method: "GET", path: "/v1/events", host: "evil.example:8080"},
		"GET":            {method: "GET", path: "/v1/publish", body: publish.body},
		"GET of a fault": {method: "GET", path: "/v1/faults"},
	} {
		if status, body := send(t, d, q); status < 400 {
			t.Errorf("%s: %d %s", name, status, body)
		}
	}
	if d.Core.Retained("a") != nil {
		t.Error("a refused request had an effect")
	}
	if status, body := send(t, d, with(func(q *request) {
		q.header["Origin"], q.header["Sec-Fetch-Site"] = d.ConsoleURL, "same-origin"
	})); status != 200 || d.Core.Retained("a") == nil {
		t.Errorf("own origin: %d %s", status, body)
	}
	for _, addr := range []string{"0.0.0.0:0", ":0", "192.0.2.1:80"} {
		if _, err := desk.Start(desk.Config{HTTPAddr: addr}, nil); err == nil || !strings.Contains(err.Error(), "loopback") {
			t.Errorf("-http %s: %v", addr, err)
		}
	}
}

func TestControl(t *testing.T) {
	d := start(t)
	device(t, d.Core, "dev/1")
	for _, tc := range []struct {
		method, path, body string
		status             int
		want               string
	}{
		{"GET", "/v1/status", "", 200, `"clients":1`},
		{"GET", "/v1/clients", "", 200, `"clientId":"dev/1"`},
		{"GET", "/v1/sessions", "", 200, `"subscriptions":["a/#"]`},
		{"GET", "/v1/events", "", 200, `"type":"Subscribed"`},
		{"GET", "/v1/events?after=x", "", 400, "number"},
		{"GET", "/v1/nothing", "", 404, ""},
		{"POST", "/v1/devices", `{"name":"new","policies":[{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"iot:*","Resource":"*"}]}],"type":"lamp"}`, 200, "BEGIN EC PRIVATE KEY"},
		{"POST", "/v1/devices", `{"name":"new","policies":[{"Statement":1}]}`, 400, "policy"},
		{"POST", "/v1/devices", `{"name":"new","color":"red"}`, 400, "color"},
		{"PUT", "/v1/devices/new", `{"status":"INACTIVE"}`, 200, ""},
		{"PUT", "/v1/devices/new", `{"status":"ASLEEP"}`, 400, "ACTIVE"},
		{"PUT", "/v1/devices/none", `{}`, 404, "none"},
		{"GET", "/v1/devices", "", 200, `"status":"INACTIVE"`},
		{"DELETE", "/v1/devices/new", `{}`, 200, ""},
		{"DELETE", "/v1/devices/new", `{}`, 404, ""},
		{"POST", "/v1/publish", `{"topic":"a/b","payloadBase64":"AAE=","qos":1,"retain":true,"userProperties":[{"k":"v"}]}`, 200, ""},
		{"GET", "/v1/retained", "", 200, `"payload":"00 01"`},
		{"POST", "/v1/publish", `{"topic":"a/#"}`, 400, "topic name invalid"},
		{"POST", "/v1/publish", `{"topic":"a"} {}`, 400, "more than one"},
		{"PUT", "/v1/shadows?thing=lamp", `{"state":{"desired":{"on":true}}}`, 200, `"version":1`},
		{"PUT", "/v1/shadows?thing=lamp", `{"state":1}`, 400, "State node"},
		{"GET", "/v1/shadows", "", 200, `"desired":{"on":true}`},
		{"GET", "/v1/shadows?thing=lamp", "", 200, `"delta"`},
		{"GET", "/v1/shadows?thing=none", "", 404, "No shadow"},
		{"DELETE", "/v1/shadows?thing=lamp", `{}`, 200, ""},
		{"POST", "/v1/jobs", `{"jobId":"j1","things":["lamp"],"document":{"do":"it"}}`, 200, `"jobId":"j1"`},
		{"GET", "/v1/jobs", "", 200, `"status":"QUEUED"`},
		{"DELETE", "/v1/jobs/j1?force=true", `{}`, 200, ""},
		{"DELETE", "/v1/jobs/none", `{}`, 404, ""},
		{"POST", "/v1/commands", `{"thing":"lamp","payload":{"do":"blink"}}`, 200, "executionId"},
		{"GET", "/v1/commands", "", 200, `"status":"CREATED"`},
		{"PUT", "/v1/provisioning-templates/fleet", `{"thingName":"lamp-${SerialNumber}","parameters":["SerialNumber"],"policies":[{"Version":"2012-10-17","Statement":[]}],"refuse":true}`, 200, ""},
		{"PUT", "/v1/provisioning-templates/a%20b", `{}`, 400, "provisioning template"},
		{"POST", "/v1/claims", `{"template":"fleet","name":"claim"}`, 200, "PRIVATE KEY"},
		{"POST", "/v1/claims", `{"template":"fleet","trustedUser":true}`, 200, "PRIVATE KEY"},
		{"POST", "/v1/claims", `{"template":"fleet"}`, 400, "trustedUser"},
		{"POST", "/v1/claims", `{"template":"none","trustedUser":true}`, 400, "no such provisioning template"},
		{"POST", "/v1/authorities", `{"template":"fleet","device":"new"}`, 200, "PRIVATE KEY"},
		{"POST", "/v1/authorities", `{"template":"none","device":"new"}`, 400, "no such provisioning template"},
		{"POST", "/v1/direct", `{"clientId":"nobody","topic":"a","payload":"x"}`, 404, "not connected"},
		{"POST", "/v1/clock", `{"advance":"1m"}`, 200, "now"},
		{"POST", "/v1/clock", `{"advance":"soon"}`, 400, "duration"},
		{"PUT", "/v1/faults", `{"refuseConnects":136,"times":1}`, 200, ""},
		{"PUT", "/v1/faults", `{"upgradeStatus":1}`, 400, ""},
		{"PUT", "/v1/service-faults", `[{"service":"shadow","lose":true,"times":1}]`, 200, ""},
		{"POST", "/v1/clients", `{"clientId":"dev/1","action":"delay","milliseconds":0}`, 200, ""},
		{"POST", "/v1/clients", `{"clientId":"dev/1","action":"drop","on":true}`, 200, ""},
		{"POST", "/v1/clients", `{"clientId":"dev/1","action":"drop"}`, 200, ""},
		{"POST", "/v1/clients", `{"clientId":"dev/1","action":"holdAcks","on":false}`, 200, ""},
		{"POST", "/v1/clients", `{"clientId":"dev/1","action":"refuse"}`, 400, "reasonCode"},
		{"POST", "/v1/clients", `{"clientId":"dev/1","action":"redeliver"}`, 200, `"messages"`},
		{"POST", "/v1/clients", `{"clientId":"dev/1","action":"dance"}`, 400, "dance"},
		{"POST", "/v1/clients", `{"clientId":"other","action":"cut"}`, 404, "other"},
		{"POST", "/v1/clients", `{"clientId":"dev/1","action":"disconnect","reasonCode":137}`, 200, ""},
		{"GET", "/v1/refusals", "", 200, `server busy`},
		{"PUT", "/v1/listening", `{"on":false}`, 200, ""},
		{"PUT", "/v1/listening", `{"on":true}`, 200, ""},
		{"PUT", "/v1/listening", `{}`, 400, "on"},
	} {
		if status, body := send(t, d, request{method: tc.method, path: tc.path, body: tc.body}); status != tc.status || !strings.Contains(body, tc.want) {
			t.Errorf("%s %s %s: %d %s", tc.method, tc.path, tc.body, status, body)
		}
	}
	if e := waitFor(t, d.Core, iottest.Disconnected, "dev/1"); e.Reason != iottest.ServerBusy {
		t.Errorf("disconnect: %v", e)
	}
}

// Every command that is printed works in a shell.
func TestCommands(t *testing.T) {
	for _, tool := range []string{"bash", "curl", "mosquitto_pub"} {
		requireTool(t, tool)
	}
	d := start(t)
	for _, c := range d.Commands() {
		if strings.HasPrefix(c.Text, "mosquitto_sub") {
			continue // does not end; mosquitto_pub below has the same options
		}
		cmd := exec.CommandContext(t.Context(), "bash", "-c", strings.Replace(c.Text, "curl ", "curl -sS ", 1))
		out, err := cmd.CombinedOutput()
		wrong := strings.Contains(string(out), "rror") && !strings.Contains(c.Text, `"cut"`) // there is no such client
		if err != nil || wrong {
			t.Errorf("%s\n%s\n%v", c.Text, out, err)
		}
	}
	if out, err := exec.CommandContext(t.Context(), "bash", "-c", "source "+d.Material.Env+" && test -r \"$AWS_IOT_KEY\" && echo $AWS_IOT_ENDPOINT").CombinedOutput(); err != nil || string(out) != "localhost\n" {
		t.Errorf("env: %s %v", out, err)
	}
	if st, err := os.Stat(d.Material.Env); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("env: %v %v", st, err)
	}
}

// The folder makes a second run the same as the first; without one nothing is left.
func TestStart_dir(t *testing.T) {
	dir := t.TempDir()
	config := func(c *desk.Config) { c.Dir, c.Things = dir, []string{"one", "two"} }
	d := start(t, config)
	before := []string{d.Core.Endpoint(), string(d.Core.CAPEM()), d.Core.Devices()[1].CertificateID(), d.Material.IdentityPoolID}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	d = start(t, config)
	if after := []string{d.Core.Endpoint(), string(d.Core.CAPEM()), d.Core.Devices()[1].CertificateID(), d.Material.IdentityPoolID}; strings.Join(after, "|") != strings.Join(before, "|") || len(d.Core.Devices()) != 2 {
		t.Error("another core after the restart")
	}
	temporary := start(t)
	where := temporary.Material.Dir
	if err := temporary.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(where); !os.IsNotExist(err) {
		t.Errorf("%s is left: %v", filepath.Base(where), err)
	}
}

func TestStart_portTaken(t *testing.T) {
	d := start(t)
	for flag, change := range map[string]func(*desk.Config){
		"-addr":       func(c *desk.Config) { c.Addr = d.Core.Addr() },
		"-mtls-addr":  func(c *desk.Config) { c.MTLSAddr = d.Core.MTLSAddr() },
		"-tcp-addr":   func(c *desk.Config) { c.TCPAddr = d.Core.TCPAddr() },
		"-http":       func(c *desk.Config) { c.HTTPAddr = strings.TrimPrefix(d.ConsoleURL, "http://") },
		"-proxy-addr": func(c *desk.Config) { c.ProxyAddr = strings.TrimPrefix(d.ProxyURL, "http://") },
	} {
		c := desk.Config{Addr: "127.0.0.1:0", MTLSAddr: "127.0.0.1:0", HTTPAddr: "127.0.0.1:0", ProxyAddr: "127.0.0.1:0"}
		change(&c)
		if _, err := desk.Start(c, nil); err == nil || !strings.Contains(err.Error(), "is taken") || !strings.Contains(err.Error(), "with "+flag+",") {
			t.Errorf("%s: %v", flag, err)
		}
	}
}

// A function behind a URL is a custom authorizer.
func TestAuthorizer_url(t *testing.T) {
	requireTool(t, "mosquitto_pub")
	var seen struct {
		ProtocolData struct {
			MQTT struct {
				ClientID, Username string
				Password           []byte
			}
			TLS map[string]string
		}
	}
	server := serveFunction(t, func(w http.ResponseWriter, r *http.Request) {
		if err := json.NewDecoder(r.Body).Decode(&seen); err != nil {
			t.Error(err)
		}
		_, _ = io.WriteString(w, `{"isAuthenticated":true,"principalId":"p","disconnectAfterInSeconds":300,"policyDocuments":[`+iottest.AllowAllPolicy+`]}`)
	})
	d := start(t, func(c *desk.Config) { c.Authorizers = []string{"mine=" + server} })
	_, port, _ := strings.Cut(d.Core.Addr(), ":")
	out, err := exec.CommandContext(t.Context(), "mosquitto_pub", "-V", "mqttv5", "-i", "c1", "-h", "localhost", "-p", port, "--cafile", d.Material.CA,
		"--tls-alpn", "mqtt", "-u", "me?x-amz-customauthorizer-name=mine", "-P", "secret", "-t", "a", "-m", "x", "-q", "1").CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v", out, err)
	}
	if m := seen.ProtocolData.MQTT; m.ClientID != "c1" || string(m.Password) != "secret" || !strings.HasPrefix(m.Username, "me?") || seen.ProtocolData.TLS["serverName"] != "localhost" {
		t.Errorf("the function got %+v", seen)
	}
	for _, bad := range []string{"", "x", "=u:p", "x=nothing"} {
		if _, err := desk.Start(desk.Config{Authorizers: []string{bad}}, nil); err == nil || !strings.Contains(err.Error(), "authorizer") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// Run prints four lines that fit a terminal, and ends with its context.
func TestRun(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() {
		done <- desk.Run(ctx, desk.Config{Addr: "127.0.0.1:0", MTLSAddr: "127.0.0.1:0", HTTPAddr: "127.0.0.1:0", ProxyAddr: "off"}, w)
		_ = w.Close()
	}()
	buf := make([]byte, 4096)
	text := ""
	for strings.Count(text, "\n") < 4 {
		n, err := r.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		text += string(buf[:n])
	}
	cancel()
	rest, _ := io.ReadAll(r)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	text += string(rest)
	if lines := strings.Split(text, "\n"); len(lines) != 6 || !strings.HasPrefix(lines[3], "source ") || lines[4] != "Stopping." {
		t.Errorf("printed:\n%s", text)
	}
}

// TestStart_thing refuses the names that the service would, before a device has one.
func TestStart_thing(t *testing.T) {
	for _, name := range []string{"", "a b", "a/b", strings.Repeat("x", 129)} {
		_, err := desk.Start(desk.Config{Things: []string{name}}, nil)
		if err == nil || !strings.Contains(err.Error(), "-thing") {
			t.Errorf("%q: %v", name, err)
		}
	}
}
