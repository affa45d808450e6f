// SPDX-License-Identifier: Apache-2.0

// Package bench is the load generator behind "awsiot bench": it measures
// throughput, latency, CPU time, allocations and memory of clients, of one or of
// thousands, by every way to connect.
//
// With -endpoint it connects to AWS IoT Core by -method; it keeps to the quotas
// there, unless -unlimited is set. With -host it connects to any MQTT server,
// without TLS or with -tls. Without either it starts an AWS IoT Core inside
// itself, which is good for a first look: the figures are then those of client
// and server together.
//
// # Workloads
//
//	flow     subscribe, and publish to the same topic
//	pub      publish, and wait for the acknowledgement of a last message, so
//	         that QoS 0 counts only once the server has read it
//	recv     subscribe to -topic, and count what others publish to it
//	rtt      publish one message at a time, and wait until it is done
//	echo     publish one message at a time, and wait until it comes back
//	connect  connect and disconnect, one client after the other
//	idle     open connections, wait, and measure memory and CPU at rest
//
// Messages are split among the -clients. A run ends after -n messages, after
// -duration, or with Ctrl-C, and then says what it has measured.
//
// # Figures
//
// What counts as measured begins after -warmup and after a garbage collection.
// CPU time and allocations are those of the whole process. Latency is that of
// every message in rtt and echo, and of every connection in connect; otherwise a
// sample is timed, because reading the clock for each message would be a good
// part of what a message costs. It lasts until the publish is done: written with
// QoS 0, acknowledged with QoS 1 and 2; in echo, until the message is back.
//
// # Test servers
//
// With -host and without -topic the topics are those of a server made for load
// tests: messages to sink/a need no subscriber, those to echo/a come back to who
// published them, and a subscription to source/QOS/SIZE/N/TAG brings N messages.
// Client identifiers then hold -rmN-, with which such a server grants a Receive
// Maximum of N, the -window. With -host the result is a line of JSON, unless
// standard output is a terminal or -json=false is set.
package bench
