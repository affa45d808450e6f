// SPDX-License-Identifier: Apache-2.0

package defender_test

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"math"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gocrt/aws-iot-device-sdk-go/iot/defender"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/request"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/request/requesttest"
)

// service accepts reports, or answers with what reject returns for the n-th.
type service struct {
	*requesttest.Conn
	reject  func(n int) (suffix, payload string)
	reports []mqtt5.PublishPacket
}

func newReporter(t *testing.T, o defender.Options) (*defender.Reporter, *service) {
	t.Helper()
	s := &service{Conn: requesttest.New()}
	t.Cleanup(func() { _ = s.Close() })
	s.OnPublish(func(p *mqtt5.PublishPacket) error {
		s.reports = append(s.reports, *p)
		suffix, payload := "/accepted", `{}`
		if s.reject != nil {
			suffix, payload = s.reject(len(s.reports))
		}
		if suffix != "" {
			s.Deliver(p.Topic+suffix, []byte(payload))
		}
		return nil
	})
	requests, err := request.New(s, request.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = requests.Close(context.Background()) })
	r, err := defender.New(requests, "thermostat", o)
	if err != nil {
		t.Fatal(err)
	}
	return r, s
}

func bubble(t *testing.T, name string, test func(t *testing.T)) {
	t.Helper()
	t.Run(name, func(t *testing.T) { synctest.Test(t, test) })
}

// full are metrics with every field.
func full() *defender.Metrics {
	return &defender.Metrics{
		TCPPorts:    &defender.Ports{Ports: []defender.Port{{Number: 22, Interface: "eth0"}, {Number: 8080}}},
		UDPPorts:    &defender.Ports{Ports: []defender.Port{}, Total: 3},
		Traffic:     &defender.Traffic{BytesIn: 1000, BytesOut: 500, PacketsIn: 10, PacketsOut: 5},
		Connections: &defender.Connections{Connections: []defender.Connection{{Remote: netip.MustParseAddrPort("192.0.2.1:443"), LocalPort: 40000, LocalInterface: "eth0"}, {Remote: netip.MustParseAddrPort("[2001:db8::1]:80")}}},
	}
}

func custom(context.Context) (map[string]defender.Custom, error) {
	return map[string]defender.Custom{
		"celsius": defender.Number(21.5), "zero": defender.Number(0), "loads": {Numbers: []float64{1, 2}},
		"apps": {Strings: []string{"a"}}, "peers": {IPs: []netip.Addr{netip.MustParseAddr("192.0.2.7")}},
	}, nil
}

// TestReport_json compares the second report, which has traffic, with a golden
// one.
func TestReport_json(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, s := newReporter(t, defender.Options{Read: func() (*defender.Metrics, error) { return full(), nil }, Custom: custom})
		for range 2 {
			if _, err := r.Report(context.Background()); err != nil {
				t.Fatal(err)
			}
			time.Sleep(defender.MinInterval)
		}
		if strings.Contains(string(s.reports[0].Payload), "network_stats") {
			t.Errorf("the first report has traffic: %s", s.reports[0].Payload)
		}
		const want = `{
			"header": {"report_id": 946684800, "version": "1.0"},
			"metrics": {
				"listening_tcp_ports": {"ports": [{"port": 22, "interface": "eth0"}, {"port": 8080}], "total": 2},
				"listening_udp_ports": {"ports": [], "total": 3},
				"network_stats": {"bytes_in": 0, "bytes_out": 0, "packets_in": 0, "packets_out": 0},
				"tcp_connections": {"established_connections": {"connections": [
					{"remote_addr": "192.0.2.1:443", "local_port": 40000, "local_interface": "eth0"}, {"remote_addr": "[2001:db8::1]:80"}], "total": 2}}
			},
			"custom_metrics": {
				"celsius": [{"number": 21.5}], "zero": [{"number": 0}], "loads": [{"number_list": [1, 2]}],
				"apps": [{"string_list": ["a"]}], "peers": [{"ip_list": ["192.0.2.7"]}]
			}
		}`
		var w, g map[string]any
		if err := errors.Join(json.Unmarshal([]byte(want), &w), json.Unmarshal(s.reports[1].Payload, &g)); err != nil {
			t.Fatal(err)
		}
		w["header"].(map[string]any)["report_id"] = float64(946684800 + 300)
		if d := cmp.Diff(w, g); d != "" {
			t.Error(d)
		}
		if s.reports[1].Topic != "$aws/things/thermostat/defender/metrics/json" {
			t.Error(s.reports[1].Topic)
		}
		if want := []string{"$aws/things/thermostat/defender/metrics/json/accepted", "$aws/things/thermostat/defender/metrics/json/rejected"}; !slices.Equal(s.Filters(), want) {
			t.Error(s.Filters())
		}
	})
}

// TestReport_cbor compares bytes: short names, in the order of RFC 8949.
func TestReport_cbor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, s := newReporter(t, defender.Options{Format: defender.CBOR, Read: func() (*defender.Metrics, error) {
			return &defender.Metrics{TCPPorts: &defender.Ports{Ports: []defender.Port{{Number: 22}}}}, nil
		}})
		if _, err := r.Report(context.Background()); err != nil {
			t.Fatal(err)
		}
		// {"hed": {"v": "1.0", "rid": 946684800}, "met": {"tp": {"t": 1, "pts":
		// [{"pt": 22}]}}}
		const want = "a2" + "63686564" + "a2" + "6176" + "63312e30" + "63726964" + "1a386d4380" +
			"636d6574" + "a1" + "627470" + "a2" + "6174" + "01" + "63707473" + "81" + "a1" + "627074" + "16"
		if got := hex.EncodeToString(s.reports[0].Payload); got != want || s.reports[0].Topic != "$aws/things/thermostat/defender/metrics/cbor" {
			t.Errorf("%s on %s", got, s.reports[0].Topic)
		}
	})
}

func TestReport_traffic(t *testing.T) {
	const interval = defender.MinInterval
	synctest.Test(t, func(t *testing.T) {
		now := defender.Traffic{BytesIn: 100}
		r, s := newReporter(t, defender.Options{Read: func() (*defender.Metrics, error) { c := now; return &defender.Metrics{Traffic: &c}, nil }})
		wait := func(bytes uint64, want string, err bool) {
			t.Helper()
			now.BytesIn += bytes
			if _, e := r.Report(context.Background()); (e != nil) != err {
				t.Error(e)
			}
			last := s.reports[len(s.reports)-1]
			if !strings.Contains(string(last.Payload), `"bytes_in":`+want+`,`) {
				t.Errorf("%s, want %s", last.Payload, want)
			}
			time.Sleep(interval)
		}
		wait(0, "0", false)
		wait(5, "5", false)
		s.reject = func(int) (string, string) { return "/rejected", `{"statusDetails":{"ErrorCode":"Throttled"}}` }
		wait(7, "7", true)
		s.reject = nil
		wait(3, "10", false) // that of the rejected one, too
		s.reject = func(int) (string, string) { return "", "" }
		wait(2, "2", true) // acknowledged, without an answer
		s.reject = nil
		wait(1, "1", false)
		s.reject = func(int) (string, string) { return "", "" }
		s.Hold("PUBLISH")
		wait(6, "6", true) // not even acknowledged
		s.Release("PUBLISH")
		s.reject = nil
		wait(1, "7", false)
		now.BytesIn = 4 // the system started again
		wait(0, "4", false)
	})
}

func TestReport_interval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, s := newReporter(t, defender.Options{Read: func() (*defender.Metrics, error) { return full(), nil }})
		first, err := r.Report(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			time.Sleep(time.Minute)
			if _, err := r.Report(context.Background()); !errors.Is(err, defender.ErrTooSoon) {
				t.Error(err)
			}
		}
		time.Sleep(2 * time.Minute)
		second, err := r.Report(context.Background())
		if err != nil || second <= first || len(s.reports) != 2 {
			t.Errorf("reports %d and %d, %v", first, second, err)
		}
	})
	bubble(t, "not sent does not count", func(t *testing.T) {
		r, s := newReporter(t, defender.Options{Read: func() (*defender.Metrics, error) { return full(), nil }})
		s.Disconnect(mqtt5.ErrConnectionLost)
		if _, err := r.Report(context.Background()); !errors.Is(err, mqtt5.ErrNotSent) {
			t.Fatal(err)
		}
		s.Connect(false)
		if _, err := r.Report(context.Background()); err != nil {
			t.Error(err)
		}
	})
}

// with are the options of a reporter of one custom metric.
func with(c defender.Custom) defender.Options {
	return defender.Options{Format: defender.CBOR, Read: defender.CustomOnly, Custom: func(context.Context) (map[string]defender.Custom, error) {
		return map[string]defender.Custom{"metric": c}, nil
	}}
}

func TestReport_errors(t *testing.T) {
	broken := errors.New("broken")
	for name, tt := range map[string]struct {
		options defender.Options
		want    error
	}{
		"metrics": {defender.Options{Read: func() (*defender.Metrics, error) { return nil, broken }}, broken},
		"nil":     {defender.Options{Read: func() (*defender.Metrics, error) { return nil, nil }}, defender.ErrMetrics},
		"nothing": {defender.Options{Read: defender.CustomOnly}, defender.ErrMetrics},
		"custom":  {defender.Options{Read: defender.CustomOnly, Custom: func(context.Context) (map[string]defender.Custom, error) { return nil, broken }}, broken},
		"no value": {defender.Options{Read: defender.CustomOnly, Custom: func(context.Context) (map[string]defender.Custom, error) {
			return map[string]defender.Custom{"a": {}}, nil
		}}, defender.ErrInvalidArgument},
		"custom name": {defender.Options{Read: defender.CustomOnly, Custom: func(context.Context) (map[string]defender.Custom, error) {
			return map[string]defender.Custom{"a b": defender.Number(1)}, nil
		}}, defender.ErrInvalidArgument},
		"no address": {with(defender.Custom{IPs: []netip.Addr{{}}}), defender.ErrInvalidArgument},
		"no number":  {with(defender.Number(math.NaN())), defender.ErrInvalidArgument},
		"no numbers": {with(defender.Custom{Numbers: []float64{1, math.Inf(1)}}), defender.ErrInvalidArgument},
		"no text":    {with(defender.Custom{Strings: []string{"\xff"}}), defender.ErrInvalidArgument},
	} {
		t.Run(name, func(t *testing.T) {
			r, s := newReporter(t, tt.options)
			if _, err := r.Report(context.Background()); !errors.Is(err, tt.want) || len(s.reports) > 0 {
				t.Error(err)
			}
		})
	}
	for payload, want := range map[string]string{
		`{"thingName":"t","reportId":1,"statusDetails":{"ErrorCode":"InvalidPayload","ErrorMessage":"no such metric"}}`: "rejected: InvalidPayload: no such metric (custom metrics have to be defined in the account with the same type)",
		`{"statusDetails":{"ErrorCode":"Throttled"}}`:                                                                   "rejected: Throttled (another process reports for this thing, or a report was sent by hand)",
		`{"errorCode":"X","errorMessage":"y"}`:                                                                          "rejected: X: y",
		`x`:                                                                                                             "rejected: unknown: the answer cannot be read",
		`{}`:                                                                                                            "rejected: unknown",
	} {
		r, s := newReporter(t, defender.Options{Read: func() (*defender.Metrics, error) { return full(), nil }})
		s.reject = func(int) (string, string) { return "/rejected", payload }
		_, err := r.Report(context.Background())
		var rejected *defender.RejectedError
		if !errors.As(err, &rejected) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	conn := requesttest.New()
	defer conn.Close()
	requests, err := request.New(conn, request.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{
		func() error { _, err := defender.New(nil, "t", defender.Options{}); return err }(),
		func() error { _, err := defender.New(requests, "a/b", defender.Options{}); return err }(),
		func() error { _, err := defender.New(requests, "t", defender.Options{Format: 9}); return err }(),
		func() error {
			_, err := defender.New(requests, "t", defender.Options{Interval: time.Minute})
			return err
		}(),
		func() error { _, err := defender.New(requests, "t", defender.Options{Timeout: -1}); return err }(),
	} {
		if !errors.Is(err, defender.ErrInvalidArgument) {
			t.Error(err)
		}
	}
}

func TestRun(t *testing.T) {
	bubble(t, "the connection is closed", func(t *testing.T) {
		r, s := newReporter(t, defender.Options{Read: func() (*defender.Metrics, error) { return full(), nil }})
		time.AfterFunc(time.Hour, func() { _ = s.Close() })
		if err := r.Run(context.Background()); !errors.Is(err, mqtt5.ErrClosed) {
			t.Error(err)
		}
	})
	bubble(t, "the connection is stopped, and closed then", func(t *testing.T) {
		r, s := newReporter(t, defender.Options{Read: func() (*defender.Metrics, error) { return full(), nil }})
		time.AfterFunc(time.Hour-time.Minute, s.Stop)
		time.AfterFunc(time.Hour, func() { _ = s.Close() })
		begin := time.Now()
		if err := r.Run(context.Background()); !errors.Is(err, mqtt5.ErrClosed) || time.Since(begin) > 2*time.Hour {
			t.Error(time.Since(begin), err)
		}
	})
	bubble(t, "a day", func(t *testing.T) {
		var ids []int64
		r, s := newReporter(t, defender.Options{Read: func() (*defender.Metrics, error) { return full(), nil }, Interval: time.Hour, OnReport: func(id int64, err error) {
			if err != nil {
				t.Error(err)
			}
			ids = append(ids, id)
		}})
		ctx, cancel := context.WithCancel(context.Background())
		time.AfterFunc(24*time.Hour, cancel)
		if err := r.Run(ctx); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		if len(s.reports) != 24 || !slices.IsSorted(ids) || len(slices.Compact(ids)) != 24 {
			t.Errorf("%d reports, %v", len(s.reports), ids)
		}
	})
	bubble(t, "failures", func(t *testing.T) {
		failed := 0
		r, s := newReporter(t, defender.Options{Read: func() (*defender.Metrics, error) { return full(), nil }, OnReport: func(_ int64, err error) {
			if err != nil {
				failed++
			}
		}})
		s.reject = func(n int) (string, string) {
			if n%2 == 0 {
				return "/rejected", `{}`
			}
			return "/accepted", `{}`
		}
		ctx, cancel := context.WithCancel(context.Background())
		time.AfterFunc(time.Hour, cancel)
		_ = r.Run(ctx)
		if len(s.reports) < 11 || len(s.reports) > 12 || failed < 5 {
			t.Errorf("%d reports, %d failed", len(s.reports), failed)
		}
	})
}

// address is how /proc writes an IPv4 address on this machine; 127.0.0.1 is
// 0100007F on a little-endian one.
func proc(t *testing.T, little string) string {
	t.Helper()
	b, err := hex.DecodeString(little)
	if err != nil {
		t.Fatal(err)
	}
	if nativeIsBig() {
		for i := 0; i < len(b); i += 4 {
			slices.Reverse(b[i : i+4])
		}
	}
	return strings.ToUpper(hex.EncodeToString(b))
}

func TestLinux(t *testing.T) {
	home, any4 := proc(t, "0100007f"), "00000000"
	six := proc(t, "b80d0120000000000000000001000000") // 2001:db8::1
	mapped := proc(t, "0000000000000000ffff0000010200c0")
	files := fstest.MapFS{
		"net/tcp": {Data: []byte("  sl  local_address rem_address   st\n" +
			"   0: " + any4 + ":0016 00000000:0000 0A 00000000:00000000 00:00000000\n" +
			"   1: " + home + ":1F90 00000000:0000 0A 00000000:00000000\n" +
			"   2: " + home + ":9C40 " + proc(t, "010200c0") + ":01BB 01 00000000:00000000\n" +
			"   3: " + home + ":9C41 " + home + ":01BB 06 00000000:00000000\n")},
		"net/tcp6": {Data: []byte("  sl  local_address\n" +
			"   0: " + strings.Repeat("0", 32) + ":0016 " + strings.Repeat("0", 32) + ":0000 0A 0\n" +
			"   1: " + six + ":9C42 " + six + ":0050 01 0\n" +
			"   2: " + mapped + ":9C43 " + mapped + ":0051 01 0\n")},
		"net/udp": {Data: []byte("  sl\n   5: " + any4 + ":0044 00000000:0000 07 0\n")},
		"net/dev": {Data: []byte("Inter-|   Receive    |  Transmit\n face |bytes packets\n" +
			"    lo:  999  9 0 0 0 0 0 0  999 9 0 0 0 0 0 0\n" +
			"  eth0: 1000 10 0 0 0 0 0 0  500 5 0 0 0 0 0 0\n" +
			"wlan0:2 1 0 0 0 0 0 0 4 3 0 0 0 0 0 0\n")},
	}
	got, err := defender.Linux{Proc: files}.Read()
	if err != nil {
		t.Fatal(err)
	}
	want := &defender.Metrics{
		TCPPorts: &defender.Ports{Ports: []defender.Port{{Number: 22}, {Number: 8080}}, Total: 2},
		UDPPorts: &defender.Ports{Ports: []defender.Port{{Number: 68}}, Total: 1},
		Traffic:  &defender.Traffic{BytesIn: 1002, PacketsIn: 11, BytesOut: 504, PacketsOut: 8},
		Connections: &defender.Connections{Total: 3, Connections: []defender.Connection{
			{Remote: netip.MustParseAddrPort("192.0.2.1:443"), LocalPort: 40000},
			{Remote: netip.MustParseAddrPort("[2001:db8::1]:80"), LocalPort: 40002},
			{Remote: netip.MustParseAddrPort("192.0.2.1:81"), LocalPort: 40003},
		}},
	}
	if d := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); d != "" {
		t.Error(d)
	}
	got, err = defender.Linux{Proc: files, Interfaces: []string{"wlan0"}, MaxEntries: 1}.Read()
	if err != nil || got.Traffic.BytesIn != 2 || len(got.TCPPorts.Ports) != 1 || got.TCPPorts.Total != 2 || len(got.Connections.Connections) != 1 || got.Connections.Total != 3 {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err = (defender.Linux{Proc: files, MaxEntries: -1}).Read(); err != nil || len(got.TCPPorts.Ports) != 0 || got.TCPPorts.Total != 2 || got.Connections.Total != 3 {
		t.Errorf("%+v, %v", got, err)
	}
	for name, data := range map[string]string{"net/tcp": "head\nx\n", "net/tcp6": "head\n 0: zz:1 00:0 01\n", "net/udp": "head\n 0: 00000000:0000 00000000:zz 07\n", "net/dev": "eth0: 1 2 3\n"} {
		spoilt := fstest.MapFS{}
		for n, f := range files {
			spoilt[n] = f
		}
		spoilt[name] = &fstest.MapFile{Data: []byte(data)}
		if _, err := (defender.Linux{Proc: spoilt}).Read(); !errors.Is(err, defender.ErrMetrics) {
			t.Errorf("%s: %v", name, err)
		}
	}
	delete(files, "net/tcp6")
	if _, err := (defender.Linux{Proc: files}).Read(); err != nil {
		t.Errorf("without IPv6: %v", err)
	}
	delete(files, "net/dev")
	if _, err := (defender.Linux{Proc: files}).Read(); !errors.Is(err, defender.ErrMetrics) {
		t.Error(err)
	}
}

// A reporter that adds a metric of the application.
func Example() {
	var client *mqtt5.Client // from package iot
	requests, err := request.New(client, request.Options{})
	if err != nil {
		log.Fatal(err)
	}
	reporter, err := defender.New(requests, "thermostat-7", defender.Options{
		Custom: func(context.Context) (map[string]defender.Custom, error) {
			return map[string]defender.Custom{"celsius": defender.Number(21.5)}, nil
		},
		OnReport: func(id int64, err error) {
			if err != nil {
				log.Print(err)
			}
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	log.Print(reporter.Run(context.Background()))
}

func ExampleLinux() {
	metrics, err := defender.Linux{Interfaces: []string{"eth0"}}.Read()
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(metrics.Connections.Total, "connections")
}
