// SPDX-License-Identifier: Apache-2.0

package desk_test

import (
	"flag"
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/gocrt/aws-iot-device-sdk-go/iot/iottest"
	"github.com/gocrt/aws-iot-device-sdk-go/iot/iottest/desk"
)

var screenshots = flag.String("screenshots", "", "`folder` for pictures of the console")

func start(t *testing.T, change ...func(*desk.Config)) *desk.Desk {
	t.Helper()
	c := desk.Config{Addr: "127.0.0.1:0", MTLSAddr: "127.0.0.1:0", TCPAddr: "127.0.0.1:0", HTTPAddr: "127.0.0.1:0", ProxyAddr: "127.0.0.1:0"}
	for _, f := range change {
		f(&c)
	}
	d, err := desk.Start(c, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

// device connects by MQTT 3.1.1 without TLS and subscribes to a/#.
func device(t *testing.T, core *iottest.Core, id string) net.Conn {
	t.Helper()
	nc, err := net.Dial("tcp", core.TCPAddr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = nc.Close() })
	connect := append([]byte{0x10, byte(12 + len(id)), 0, 4, 'M', 'Q', 'T', 'T', 4, 2, 0, 60, 0, byte(len(id))}, id...)
	if _, err := nc.Write(append(connect, 0x82, 8, 0, 1, 0, 3, 'a', '/', '#', 0)); err != nil {
		t.Fatal(err)
	}
	waitFor(t, core, iottest.Subscribed, id)
	return nc
}

func waitFor(t *testing.T, core *iottest.Core, typ iottest.EventType, id string) iottest.Event {
	t.Helper()
	e, err := core.WaitFor(t.Context(), func(e iottest.Event) bool { return e.Type == typ && e.ClientID == id })
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// The console in a real browser: what happens is shown, thousands of messages
// do not freeze it, and its buttons work.
func TestConsole(t *testing.T) {
	d := start(t)
	core := d.Core
	device(t, core, "lamp-1")
	b := startBrowser(t, d.ConsoleURL)
	publish := func(topic, payload string, retain bool) {
		t.Helper()
		if err := core.Publish(iottest.Message{Topic: topic, Payload: []byte(payload), Retain: retain}); err != nil {
			t.Fatal(err)
		}
	}
	b.until(`$('link').textContent === 'connected' && $('endpoint').textContent`)

	// A burst: the page answers all the while, and what it keeps and shows is bounded.
	for i := range 20_000 {
		publish("a/temperature", fmt.Sprintf(`{"n":%d}`, i), false)
	}
	publish("a/last", `<img src=x onerror="window.hacked=1">`, false)
	b.until(`$('live').innerText.includes('a/last')`)
	var counts struct{ Rows, Kept, Hacked int }
	b.eval(`({Rows: $('live').children.length, Kept: events.length, Hacked: window.hacked || 0})`, &counts)
	if counts.Rows > 200 || counts.Kept > 10_000 || counts.Hacked != 0 {
		t.Errorf("after the burst: %+v", counts)
	}
	b.screenshot(*screenshots, "live")

	// Filter and pause.
	b.eval(`$('filter').value = 'a/+'; $('filter').dispatchEvent(new Event('input'))`, nil)
	publish("other/topic", "not seen", false)
	publish("a/seen", "seen", false)
	b.until(`$('live').innerText.includes('a/seen') && !$('live').innerText.includes('other/topic')`)
	b.eval(`$('pause').click()`, nil)
	publish("a/paused", "x", false)
	b.until(`events.length && arrived >= 0 && !$('live').innerText.includes('a/paused')`)
	b.eval(`$('pause').click()`, nil)
	publish("a/again", "x", false)
	b.until(`$('live').innerText.includes('a/again')`)

	// Lists, and what their buttons do.
	publish("state/lamp", "on", true)
	if _, err := core.UpdateShadow("lamp", "", []byte(`{"state":{"desired":{"on":true}}}`)); err != nil {
		t.Fatal(err)
	}
	if _, err := core.CreateJob(iottest.Job{ID: "reboot-1", Document: `{"operation":"reboot"}`, Things: []string{"lamp"}}); err != nil {
		t.Fatal(err)
	}
	for tab, text := range map[string]string{"sessions": "a/#", "retained": "state/lamp", "shadows": `"on": true`, "jobs": "reboot-1", "devices": "desk-device", "commands": "No command"} {
		b.eval(fmt.Sprintf(`document.querySelector('[data-tab=%s]').click()`, tab), nil)
		b.until(fmt.Sprintf(`$('main').innerText.includes(%q)`, text))
		b.screenshot(*screenshots, tab)
	}
	b.eval(`document.querySelector('[data-tab=clients]').click()`, nil)
	b.until(`$('main').innerText.includes('lamp-1')`)
	b.screenshot(*screenshots, "clients")
	b.eval(`[...document.querySelectorAll('button.small')].find(e => e.textContent === 'cut').click()`, nil)
	if e := waitFor(t, core, iottest.Disconnected, "lamp-1"); e.DisconnectReason != iottest.ReasonConnectionLost {
		t.Errorf("cut: %v", e)
	}
	b.until(`$('main').innerText.includes('No client is connected')`)

	// A refusal with its reason, and the forms.
	if nc, err := net.Dial("tcp", core.MTLSAddr()); err == nil {
		_, _ = nc.Write([]byte("\x10\x0c\x00\x04MQTT"))
		defer nc.Close()
	}
	b.eval(`document.querySelector('[data-tab=refusals]').click()`, nil)
	b.until(`$('main').innerText.includes('HandshakeFailed')`)
	b.screenshot(*screenshots, "refusals")
	b.eval(`document.querySelector('[data-tab=controls]').click()`, nil)
	b.screenshot(*screenshots, "controls")
	before := core.Now()
	b.eval(`[...document.querySelectorAll('form')].find(f => f.innerText.includes('Advance the clock')).requestSubmit()`, nil)
	b.until(`$('note').textContent === 'Done'`)
	if core.Now().Sub(before).Minutes() < 59 {
		t.Error("the clock did not move")
	}

	// Dark.
	var light, dark string
	b.eval(`getComputedStyle(document.body).backgroundColor`, &light)
	b.call("Emulation.setEmulatedMedia", map[string]any{"features": []map[string]string{{"name": "prefers-color-scheme", "value": "dark"}}}, nil)
	b.eval(`getComputedStyle(document.body).backgroundColor`, &dark)
	if light == dark {
		t.Errorf("background %s in both schemes", light)
	}
	b.eval(`document.querySelector('[data-tab=live]').click()`, nil)
	b.until(`$('live').children.length > 0`)
	b.screenshot(*screenshots, "dark")

	b.mu.Lock()
	defer b.mu.Unlock()
	for _, e := range b.errors {
		if !strings.Contains(e, "favicon") {
			t.Errorf("the page reports %s", e)
		}
	}
}
