// SPDX-License-Identifier: Apache-2.0

package mqtttest_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/mqtttest"
)

// client stands in for the MQTT client under test.
type client struct{ net.Conn }

func dial(srv *mqtttest.Server) client {
	conn, err := srv.DialContext(context.Background(), "tcp", "broker.example:8883")
	if err != nil {
		panic(err)
	}
	return client{conn}
}

func (c client) send(p mqtttest.Packet) { c.Write(mqtttest.Encode(p)) }

func (c client) receive() {
	var b []byte
	for buf := make([]byte, 1); ; { // never more than a packet
		p, _, err := mqtttest.Decode(b, mqtttest.FromServer)
		if err == nil {
			fmt.Println("client got", mqtttest.Describe(p))
			return
		}
		if !errors.Is(err, io.ErrUnexpectedEOF) {
			fmt.Println(err)
			return
		}
		n, err := c.Read(buf)
		if err != nil {
			fmt.Println("client got", errors.Unwrap(err))
			return
		}
		b = append(b, buf[:n]...)
	}
}

// In a test, NewServer is given t, and reports what goes wrong by itself.
func ExampleServer_Script() {
	srv := mqtttest.NewServer(nil)
	srv.Script(func(c *mqtttest.Conn) {
		c.ExpectConnect()
		c.Send(mqtttest.Connack{ReceiveMaximum: mqtttest.Ptr[uint16](2)})
		p := c.ExpectPublish(mqtttest.Topic("a/b"), mqtttest.QoS(1))
		c.Send(mqtttest.Puback{PacketID: p.PacketID, ReasonCode: mqtttest.NotAuthorized})
		c.ExpectDisconnectWith(mqtttest.NormalDisconnection)
	})

	cl := dial(srv)
	cl.send(mqtttest.Connect{ClientID: "device", CleanStart: true})
	cl.receive()
	cl.send(mqtttest.Publish{Topic: "a/b", QoS: 1, PacketID: 1})
	cl.receive()
	cl.send(mqtttest.Disconnect{})
	cl.Close()

	srv.Wait()
	srv.Close()
	fmt.Println(len(srv.Failures()), "failures")
	// Output:
	// client got CONNACK{ReceiveMaximum: 2}
	// client got PUBACK{PacketID: 1, ReasonCode: 0x87 Not authorized}
	// 0 failures
}

func ExampleNewServer() {
	// Without a script, the server is a small broker.
	srv := mqtttest.NewServer(nil, mqtttest.WithBroker(mqtttest.BrokerOptions{
		Connack: mqtttest.Connack{MaximumQoS: mqtttest.Ptr[byte](1)},
	}))
	defer srv.Close()

	cl := dial(srv)
	cl.send(mqtttest.Connect{ClientID: "device", CleanStart: true})
	cl.receive()
	cl.send(mqtttest.Subscribe{PacketID: 1, Subscriptions: []mqtttest.Subscription{{TopicFilter: "news/#", QoS: 2}}})
	cl.receive()
	srv.Publish(mqtttest.Publish{Topic: "news/today", Payload: []byte("rain")})
	cl.receive()
	// Output:
	// client got CONNACK{MaximumQoS: 1}
	// client got SUBACK{PacketID: 1, ReasonCodes: [0x01 Granted QoS 1]}
	// client got PUBLISH{Topic: "news/today", Payload: "rain"}
}

func ExampleServer_Failures() {
	srv := mqtttest.NewServer(nil)
	srv.Script(func(c *mqtttest.Conn) {
		c.Accept()
		c.ExpectAny()
		c.ExpectClosed()
	})
	cl := dial(srv)
	cl.send(mqtttest.Connect{ClientID: "device"})
	cl.receive()
	cl.send(mqtttest.Publish{Topic: "a", TopicAlias: mqtttest.Ptr[uint16](1)}) // which CONNACK has not allowed
	cl.Close()
	srv.Wait()
	srv.Close()
	var v *mqtttest.Violation
	for _, err := range srv.Failures() {
		if errors.As(err, &v) {
			fmt.Println(v)
		}
	}
	// Output:
	// client got CONNACK{}
	// mqtttest: PUBLISH violates [MQTT-3.2.2-18]: Topic Alias 1, but the server takes none
}

func ExampleServer_RefuseDial() {
	srv := mqtttest.NewServer(nil)
	srv.RefuseDial(errors.New("no route to host"))
	_, err := srv.DialContext(context.Background(), "tcp", "broker.example:8883")
	fmt.Println(err)
	srv.Close()
	// Output: dial memory server: no route to host
}

func ExampleConn_CutAfterSending() {
	srv := mqtttest.NewServer(nil)
	srv.Script(func(c *mqtttest.Conn) {
		c.ExpectConnect()
		c.CutAfterSending(3)
		c.Send(mqtttest.Connack{})
	})
	cl := dial(srv)
	cl.send(mqtttest.Connect{})
	got, err := io.ReadAll(cl)
	fmt.Printf("% x %v\n", got, err)
	srv.Close()
	// Output: 20 03 00 <nil>
}

func ExampleIntercept() {
	// The first message is answered late and with an error, all else as ever.
	first := true
	srv := mqtttest.NewServer(nil, mqtttest.Intercept(func(c *mqtttest.Conn, p mqtttest.Packet) bool {
		pub, ok := p.(mqtttest.Publish)
		if !ok || !first {
			return false
		}
		first = false
		c.Sleep(10 * time.Millisecond)
		c.Send(mqtttest.Puback{PacketID: pub.PacketID, ReasonCode: mqtttest.QuotaExceeded})
		return true
	}))
	defer srv.Close()
	cl := dial(srv)
	cl.send(mqtttest.Connect{ClientID: "device"})
	cl.receive()
	for id := range uint16(2) {
		cl.send(mqtttest.Publish{Topic: "a", QoS: 1, PacketID: id + 1})
		cl.receive()
	}
	// Output:
	// client got CONNACK{}
	// client got PUBACK{PacketID: 1, ReasonCode: 0x97 Quota exceeded}
	// client got PUBACK{PacketID: 2}
}

func ExampleDecode() {
	_, _, err := mqtttest.Decode([]byte{0x60, 0x02, 0x00, 0x01}, mqtttest.FromClient)
	fmt.Println(err)
	// Output: mqtttest: PUBREL violates [MQTT-2.1.3-1], [MQTT-3.6.1-1]: the reserved flags are 0000, not 0010
}

func ExampleEncode() {
	fmt.Printf("% x\n", mqtttest.Encode(mqtttest.Puback{PacketID: 1, ReasonCode: mqtttest.NoMatchingSubscribers}))
	fmt.Printf("% x\n", mqtttest.Encode(mqtttest.Truncated(mqtttest.Connack{}, -1)))
	fmt.Printf("% x\n", mqtttest.Encode(mqtttest.Connack{ExtraProperties: mqtttest.Uint16Property(0x21, 0)}))
	// Output:
	// 40 03 00 01 10
	// 20 02 00 00
	// 20 06 00 00 03 21 00 00
}

func ExampleDiff() {
	fmt.Print(mqtttest.Diff(
		mqtttest.Connect{ClientID: "a", KeepAliveSeconds: 30},
		mqtttest.Connect{ClientID: "a", ReceiveMaximum: mqtttest.Ptr[uint16](9)},
	))
	// Output:
	// KeepAliveSeconds: want 30, got 0
	// ReceiveMaximum: want absent, got 9
}

func ExamplePipe() {
	client, server := mqtttest.Pipe(4)
	client.SetWriteDeadline(time.Now().Add(time.Millisecond))
	n, err := client.Write([]byte("too long"))
	fmt.Println(n, err)
	client.Close()
	got, err := io.ReadAll(server)
	fmt.Printf("%s %v\n", got, err)
	// Output:
	// 4 write memory client->server: i/o timeout
	// too  <nil>
}

func ExamplePacketsOf() {
	srv := mqtttest.NewServer(nil)
	cl := dial(srv)
	cl.send(mqtttest.Connect{ClientID: "device"})
	cl.send(mqtttest.Publish{Topic: "a"})
	cl.send(mqtttest.Pingreq{})
	cl.receive()
	cl.receive()
	srv.Close()
	for _, p := range mqtttest.PacketsOf[mqtttest.Publish](srv.Journal()) {
		fmt.Println(p.Topic)
	}
	// Output:
	// client got CONNACK{}
	// client got PINGRESP{}
	// a
}
