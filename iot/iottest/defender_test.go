// SPDX-License-Identifier: Apache-2.0

package iottest_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/iot/iottest"
)

const defenderA = "$aws/things/a/defender/metrics/"

func TestDefender(t *testing.T) {
	t.Parallel()
	type m = map[string]any
	type l = []any
	long := m{"header": m{"report_id": 1, "version": "1.0"}, "metrics": m{
		"listening_tcp_ports": m{"ports": l{m{"port": 22, "interface": "eth0"}}, "total": 1},
		"listening_udp_ports": m{"ports": l{}, "total": 0},
		"network_stats":       m{"bytes_in": 1, "bytes_out": 2, "packets_in": 3, "packets_out": 4},
		"tcp_connections": m{"established_connections": m{"connections": l{m{"remote_addr": "1.2.3.4:5", "local_port": 1, "local_interface": "eth0"}},
			"total": 1}}}}
	short := m{"hed": m{"rid": 2, "v": "1.0"}, "met": m{"ns": m{"bi": 1, "bo": 2}, "tp": m{"pts": l{m{"pt": 22, "if": "eth0"}}, "t": 1}},
		"cmet": m{"v": l{m{"number": 1.5}}, "n": l{m{"number_list": l{1, 2}}}, "s": l{m{"string_list": l{"a"}}}, "i": l{m{"ip_list": l{"1.2.3.4"}}}}}
	header := m{"report_id": 3, "version": "1.0"}
	for _, format := range wireFormats {
		c := iottest.Start(t, plain, func(o *iottest.Options) { o.Services.DefenderPeriod = 5 * time.Minute })
		cl := serviceClient(t, c, "device", defenderA+format.name+"/+")
		for i, report := range []m{long, short} {
			got := format.call(cl, defenderA, report, "accepted")
			if fmt.Sprint(got["thingName"], got["status"], got["reportId"]) != fmt.Sprint("a", "ACCEPTED", i+1) {
				t.Errorf("answer %v", got)
			}
			if i == 0 {
				c.Advance(5*time.Minute + time.Second)
				cl = serviceClient(t, c, "device", defenderA+format.name+"/+")
			}
		}
		reports := c.DefenderReports("a")
		if len(reports) != 2 || reports[1].ID != 2 || fmt.Sprint(reports[1].Metrics["network_stats"]) != "map[bytes_in:1 bytes_out:2]" || len(reports[1].CustomMetrics) != 4 {
			t.Errorf("reports %+v", reports)
		}
		reject := func(report any, code string) {
			t.Helper()
			got := format.call(cl, defenderA, report, "rejected")
			if details := stringMap(got["statusDetails"]); got["thingName"] != "a" || details["ErrorCode"] != code || details["ErrorMessage"] == "" {
				t.Errorf("%v: %v, want %s", report, got, code)
			}
		}
		reject(m{"header": header, "metrics": m{}}, "Throttled")
		reject("text", "InvalidPayload")
		reject(m{"metrics": m{}}, "MissingHeader")
		reject(m{"header": m{"report_id": "x", "version": "1.0"}, "metrics": m{}}, "InvalidPayload")
		reject(m{"header": m{"report_id": 1, "version": "2.0"}, "metrics": m{}}, "InvalidPayload")
		reject(m{"header": header}, "InvalidPayload")
		reject(m{"header": header, "metrics": 1}, "InvalidPayload")
		for _, metrics := range []m{
			{"network_stats": 1}, {"network_stats": m{"bytes_in": -1}}, {"network_stats": m{"bytes_in": 1.5}},
			{"listening_tcp_ports": m{"ports": 1}}, {"listening_tcp_ports": m{"ports": l{m{"port": 70000}}}}, {"listening_tcp_ports": m{"total": "x"}},
			{"tcp_connections": m{}}, {"tcp_connections": m{"established_connections": m{"connections": l{m{}}}}},
		} {
			reject(m{"header": header, "metrics": metrics}, "InvalidPayload")
		}
		for _, custom := range []m{
			{"a": 1}, {"a": l{}}, {"a": l{m{"number": 1}, m{"number": 1}}}, {"a": l{m{"number": "1"}}}, {"a": l{m{"other": 1}}}, {"a b": l{m{"number": 1}}},
			{"a": l{m{"number_list": l{"x"}}}}, {"a": l{m{"ip_list": l{1}}}},
		} {
			reject(m{"header": header, "custom_metrics": custom}, "InvalidPayload")
		}
	}
}

// Basic ingest reaches the rule, and nobody else.
func TestAddRule(t *testing.T) {
	t.Parallel()
	c := iottest.Start(t, plain)
	got := make(chan string, 1)
	remove, err := c.AddRule("r", func(m *iottest.Message) { got <- m.Topic + " " + string(m.Payload) })
	if err != nil {
		t.Fatal(err)
	}
	cl := serviceClient(t, c, "device", "a/b")
	cl.request("$aws/rules/r/a/b", "p")
	if m := <-got; m != "a/b p" {
		t.Errorf("the rule got %q", m)
	}
	remove()
	cl.request("$aws/rules/r/a/b", "p")
	cl.nothing()
	if _, err := c.WaitFor(t.Context(), func(e iottest.Event) bool {
		return e.Type == iottest.ServiceRequest && e.Service.Key == "r" && e.Err != nil
	}); err != nil {
		t.Error(err)
	}
	if _, err := c.AddRule("a/b", func(*iottest.Message) {}); err == nil {
		t.Error("a rule with a slash")
	}
	if _, err := c.AddRule("r", nil); err == nil {
		t.Error("a rule without a function")
	}
}
