// SPDX-License-Identifier: Apache-2.0

// Package mqtttest is a scripted MQTT 5 server for tests of MQTT clients.
//
// It is three things that build on each other:
//
//   - A packet codec: [Encode] and [Decode], structs for all packets, and helpers that make packets which the standard
//     forbids, such as [WithFlags], [Truncated] or [Corrupted]. It is strict about what it reads, says which statement of
//     the standard a packet breaks, and shares no code with any client.
//   - A connection in memory, [Pipe], which buffers, blocks, stalls, half-closes and resets as a TCP connection does.
//   - A [Server], which runs a script for each connection that a client makes, or serves the client as a small broker
//     when there is no script.
//
// # Scripts
//
// A script is a function that runs for one connection and says, step by step,
// what the client has to send and what it gets:
//
//	srv := mqtttest.NewServer(t)
//	srv.Script(func(c *mqtttest.Conn) {
//		c.ExpectConnect()
//		c.Send(mqtttest.Connack{ReceiveMaximum: mqtttest.Ptr[uint16](2)})
//		p := c.ExpectPublish(mqtttest.QoS(1))
//		c.Send(mqtttest.Puback{PacketID: p.PacketID})
//		c.ExpectDisconnectWith(mqtttest.NormalDisconnection)
//	})
//
// The client is given [Server.DialContext] as its dial function. Scripts are
// used in the order they were planned, one a connection; [Server.RefuseDial],
// [Server.HangDial] and [Server.DelayDial] take their turn among them. A script
// that gets what it does not expect fails the test and ends. One that returns
// closes its connection. [Server.Wait] waits for all scripts to end; the end of
// the test reports those that have not.
//
// Delays are [Conn.Sleep], or [time.Sleep]. A script reads only while it
// expects something, so that sleeping is also stalling: once the buffer of the
// connection ([BufferSize]) is full, the client's writes block.
// [Conn.SendPart], [Conn.SendSlowly], [Conn.SetReadSize],
// [Conn.CutAfterSending], [Conn.CutAfterReceiving], [Conn.Close],
// [Conn.CloseWrite], [Conn.Reset] and [Conn.Hang] make the faults of a network.
//
// # Checks
//
// Every packet of the client is checked, whatever the script expects. What the
// packet alone can tell, such as a will flag without a will, ends the script.
// What it takes a history to see fails the test, and the script goes on: an
// identifier that is in use, a PUBLISH beyond the server's Receive Maximum,
// acknowledgements in the wrong order, a PUBLISH sent again in a new session,
// and more. The failures are [*Violation] errors with the statements they are
// about, such as MQTT-3.3.4-7. [AllowRules] takes some of them out,
// [CollectFailures] keeps them from failing the test.
//
// # Time
//
// Everything here can be used inside a bubble of testing/synctest: it waits for
// channels, timers and condition variables only, as long as no TCP is used.
// Then hours of keep-alive and back-off take no time, and the journal has exact
// times.
//
// # Journal
//
// [Server.Journal] has all packets in both directions with their times and
// bytes, and the beginnings and ends of connections. A test that fails logs it.
package mqtttest
