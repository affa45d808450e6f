// SPDX-License-Identifier: Apache-2.0

package main

// row is one workload of the comparison, and the clients that run it.
type row struct {
	name  string
	title string
	run   run // N is that of a full run; a quick one does a tenth
	over  transport
	peers []string // in the order of the table
	table string   // which table it belongs to
}

// transport is what carries the MQTT packets of a row.
type transport int

const (
	overTCP transport = iota
	overTLS
	overWebsocket // over TLS 1.3
)

// everybody are the clients of most rows.
var (
	everybody = []string{"ours", "paho", "paho-tuned", "limit"}
	receivers = []string{"ours", "ours-borrowed", "paho", "paho-tuned", "limit"}
	measured  = []string{"ours", "ours-metrics", "ours-recorded"}
	onlyOurs  = []string{"ours"}
	fleets    = []string{"ours", "paho", "limit"}
	upgraded  = []string{"websocket", "websocket-own"}
)

var rows = []row{
	{name: "pub0-256", title: "publish QoS 0, 256 B", run: run{Workload: "pub", N: 1_000_000, Size: 256, Warmup: 20_000, Window: 1000}, peers: everybody, table: "messages"},
	{name: "pub1-256-w1000", title: "publish QoS 1, 256 B, 1,000 in flight", run: run{Workload: "pub", QoS: 1, N: 500_000, Size: 256, Warmup: 20_000, Window: 1000}, peers: everybody, table: "messages"},
	{name: "recv0-256", title: "receive QoS 0, 256 B", run: run{Workload: "recv", N: 1_000_000, Size: 256, Warmup: 20_000}, peers: receivers, table: "messages"},
	{name: "recv1-256-rm1000", title: "receive QoS 1, 256 B, Receive Maximum 1,000", run: run{Workload: "recv", QoS: 1, N: 500_000, Size: 256, Warmup: 20_000, ReceiveMax: 1000}, peers: receivers, table: "messages"},
	{name: "recv1-256-rm65535", title: "receive QoS 1, 256 B, Receive Maximum 65,535", run: run{Workload: "recv", QoS: 1, N: 500_000, Size: 256, Warmup: 20_000, ReceiveMax: 65535}, peers: receivers, table: "messages"},
	{name: "pub0-64k", title: "publish QoS 0, 64 KiB", run: run{Workload: "pub", N: 40_000, Size: 64 << 10, Warmup: 1000, Window: 1000}, peers: everybody, table: "messages"},
	{name: "recv0-64k", title: "receive QoS 0, 64 KiB", run: run{Workload: "recv", N: 40_000, Size: 64 << 10, Warmup: 1000}, peers: receivers, table: "messages"},
	{name: "pub1-1m", title: "publish QoS 1, 1 MiB, 4 in flight", run: run{Workload: "pub", QoS: 1, N: 2000, Size: 1 << 20, Warmup: 50, Window: 4}, peers: everybody, table: "messages"},
	{name: "tls-pub0-256", title: "publish QoS 0, 256 B, TLS 1.3", run: run{Workload: "pub", N: 1_000_000, Size: 256, Warmup: 20_000, Window: 1000}, over: overTLS, peers: everybody, table: "messages"},
	{name: "tls-recv1-256", title: "receive QoS 1, 256 B, Receive Maximum 1,000, TLS 1.3", run: run{Workload: "recv", QoS: 1, N: 500_000, Size: 256, Warmup: 20_000, ReceiveMax: 1000}, over: overTLS, peers: receivers, table: "messages"},

	{name: "rtt1-256", title: "publish QoS 1 and wait, one at a time, 256 B", run: run{Workload: "rtt", QoS: 1, N: 20_000, Size: 256, Warmup: 1000}, peers: everybody, table: "latency"},
	{name: "connect-tcp", title: "connect and disconnect, TCP", run: run{Workload: "connect", N: 1000, Warmup: 20}, peers: everybody, table: "latency"},
	{name: "connect-tls13", title: "connect and disconnect, TLS 1.3, full handshake", run: run{Workload: "connect", N: 400, Warmup: 10}, over: overTLS, peers: everybody, table: "latency"},

	{name: "publishers-1", title: "1 goroutine", run: run{Workload: "pub", QoS: 1, N: 20_000, Size: 256, Warmup: 500, Window: 1000, Publishers: 1}, peers: []string{"ours", "paho", "paho-tuned"}, table: "blocking"},
	{name: "publishers-8", title: "8 goroutines", run: run{Workload: "pub", QoS: 1, N: 60_000, Size: 256, Warmup: 500, Window: 1000, Publishers: 8}, peers: []string{"ours", "paho", "paho-tuned"}, table: "blocking"},
	{name: "publishers-64", title: "64 goroutines", run: run{Workload: "pub", QoS: 1, N: 200_000, Size: 256, Warmup: 500, Window: 1000, Publishers: 64}, peers: []string{"ours", "paho", "paho-tuned"}, table: "blocking"},

	{name: "scale-1", title: "QoS 1, 1 client", run: run{Workload: "active", N: 400_000, Size: 256, Warmup: 20_000, Window: 1000, Clients: 1, QoS: 1}, peers: fleets, table: "scale"},
	{name: "scale-100", title: "QoS 1, 100 clients, all publish", run: run{Workload: "active", N: 400_000, Size: 256, Warmup: 20_000, Window: 1000, Clients: 100, QoS: 1}, peers: fleets, table: "scale"},
	{name: "scale-10000", title: "QoS 1, 10,000 clients, 100 publish", run: run{Workload: "active", N: 400_000, Size: 256, Warmup: 20_000, Window: 1000, Clients: 10_000, Publishers: 100, QoS: 1}, peers: fleets, table: "scale"},

	{name: "idle-1", title: "1 client, TCP", run: run{Workload: "idle", Clients: 1}, peers: fleets, table: "idle"},
	{name: "idle-1000", title: "1,000 clients, TCP", run: run{Workload: "idle", Clients: 1000}, peers: fleets, table: "idle"},
	{name: "idle-10000", title: "10,000 clients, TCP", run: run{Workload: "idle", Clients: 10_000}, peers: fleets, table: "idle"},
	{name: "idle-1-tls", title: "1 client, TLS 1.3", run: run{Workload: "idle", Clients: 1}, over: overTLS, peers: fleets, table: "idle"},
	{name: "idle-1000-tls", title: "1,000 clients, TLS 1.3", run: run{Workload: "idle", Clients: 1000}, over: overTLS, peers: fleets, table: "idle"},
	{name: "idle-10000-tls", title: "10,000 clients, TLS 1.3", run: run{Workload: "idle", Clients: 10_000}, over: overTLS, peers: fleets, table: "idle"},

	{name: "idle-1000-websocket", title: "1,000 clients, WebSocket over TLS 1.3", run: run{Workload: "idle", Clients: 1000}, over: overWebsocket, peers: upgraded, table: "idle"},
	{name: "idle-5000-websocket", title: "5,000 clients, WebSocket over TLS 1.3", run: run{Workload: "idle", Clients: 5000}, over: overWebsocket, peers: upgraded, table: "idle"},

	{name: "metrics-pub1", title: "publish QoS 1, 256 B, 1,000 in flight", run: run{Workload: "pub", QoS: 1, N: 500_000, Size: 256, Warmup: 20_000, Window: 1000}, peers: measured, table: "metrics"},
	{name: "metrics-recv1", title: "receive QoS 1, 256 B, Receive Maximum 1,000", run: run{Workload: "recv", QoS: 1, N: 500_000, Size: 256, Warmup: 20_000, ReceiveMax: 1000}, peers: measured, table: "metrics"},

	{name: "storm-10000", title: "10,000 clients lose their connections at once", run: run{Workload: "storm", Clients: 10_000}, peers: onlyOurs, table: "storm"},
}

// args are the flags of the client that does the run.
func (r *run) args() []string {
	var list []string
	for _, f := range []struct {
		name  string
		value int
	}{
		{"qos", r.QoS}, {"size", r.Size}, {"n", r.N}, {"warmup", r.Warmup}, {"window", r.Window},
		{"receive-max", r.ReceiveMax}, {"publishers", r.Publishers}, {"clients", r.Clients},
	} {
		if f.value != 0 {
			list = append(list, "-"+f.name, itoa(f.value))
		}
	}
	return list
}

// quick makes a run short.
func (r *run) quick() {
	r.N /= 10
	r.Warmup /= 10
	if r.Clients > 1000 {
		r.Clients = 1000
	}
}
