// SPDX-License-Identifier: Apache-2.0

package mqtt5_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/mqtttest"
)

// greeter is a server that sends a message right after each SUBACK.
func greeter(t *testing.T, refuse bool) *mqtttest.Server {
	t.Helper()
	srv := mqtttest.NewServer(t)
	srv.Script(func(c *mqtttest.Conn) {
		accept(c)
		for {
			packet, err := c.Receive()
			if err != nil {
				return
			}
			switch p := packet.(type) {
			case mqtttest.Subscribe:
				code := mqtttest.ReasonCode(1)
				if refuse {
					code = 0x87
				}
				c.Send(mqtttest.Suback{PacketID: p.PacketID, ReasonCodes: []mqtttest.ReasonCode{code}})
				if refuse {
					c.Sleep(time.Second)
				}
				_ = c.TrySend(mqtttest.Publish{Topic: "in/1", Payload: []byte("hello")})
			case mqtttest.Unsubscribe:
				c.Send(mqtttest.Unsuback{PacketID: p.PacketID, ReasonCodes: []mqtttest.ReasonCode{0}})
			}
		}
	})
	return srv
}

func journal(srv *mqtttest.Server) (subscribed, unsubscribed int) {
	synctest.Wait()
	return len(mqtttest.PacketsOf[mqtttest.Subscribe](srv.Journal())), len(mqtttest.PacketsOf[mqtttest.Unsubscribe](srv.Journal()))
}

func TestListen(t *testing.T) {
	bubble(t, "two share a subscription", func(t *testing.T) {
		srv := greeter(t, false)
		d := connected(t, srv, nil)
		var got []string
		listen := func(name string) func(context.Context) error {
			stop, err := d.Listen(d.ctx, "in/+", 1, func(_ context.Context, m mqtt5.Message) { got = append(got, name+" "+string(m.Payload)) })
			want(t, "listen", err, nil)
			synctest.Wait()
			return stop
		}
		first := listen("a")
		second := listen("b")
		if d := cmp.Diff([]string{"a hello", "a hello", "b hello"}, got); d != "" {
			t.Errorf("(-want +got):\n%s", d)
		}
		want(t, "first stop", first(d.ctx), nil)
		if s, u := journal(srv); s != 2 || u != 0 {
			t.Errorf("%d subscribed, %d unsubscribed while another listens", s, u)
		}
		want(t, "second stop", second(d.ctx), nil)
		if _, u := journal(srv); u != 1 {
			t.Errorf("%d unsubscribed in the end", u)
		}
	})
	bubble(t, "a refusal leaves nothing behind", func(t *testing.T) {
		d := connected(t, greeter(t, true), nil)
		stop, err := d.Listen(d.ctx, "in/+", 1, func(context.Context, mqtt5.Message) { t.Error("the handler is still there") })
		var refused *mqtt5.AckError
		if !errors.As(err, &refused) || stop != nil {
			t.Errorf("got %v", err)
		}
		time.Sleep(2 * time.Second)
	})
	bubble(t, "bad arguments", func(t *testing.T) {
		d := connected(t, greeter(t, false), nil)
		for filter, handler := range map[string]mqtt5.MessageHandler{"#/a": func(context.Context, mqtt5.Message) {}, "a": nil} {
			if _, err := d.Listen(d.ctx, filter, 0, handler); err == nil {
				t.Errorf("%s: accepted", filter)
			}
		}
	})
}

func TestReceive(t *testing.T) {
	bubble(t, "subscribes, and unsubscribes after break", func(t *testing.T) {
		srv := greeter(t, false)
		d := connected(t, srv, nil)
		n := 0
		for m, err := range d.Receive(d.ctx, "in/#", 1) {
			if err != nil || string(m.Payload) != "hello" {
				t.Errorf("got %v, %v", m, err)
			}
			n++
			break
		}
		if s, u := journal(srv); n != 1 || s != 1 || u != 1 {
			t.Errorf("%d messages, %d subscribed, %d unsubscribed", n, s, u)
		}
	})
	bubble(t, "ends with its context", func(t *testing.T) {
		srv := greeter(t, false)
		d := connected(t, srv, nil)
		ctx, cancel := context.WithTimeout(d.ctx, time.Minute)
		defer cancel()
		n := 0
		for _, err := range d.Receive(ctx, "in/#", 1) {
			want(t, "receive", err, nil)
			n++
		}
		if _, u := journal(srv); n != 1 || u != 1 {
			t.Errorf("%d messages, %d unsubscribed", n, u)
		}
	})
	bubble(t, "the error of the subscription is the last item", func(t *testing.T) {
		d := connected(t, greeter(t, true), nil)
		var got []string
		for m, err := range d.Receive(d.ctx, "in/#", 1) {
			got = append(got, fmt.Sprint(m.Topic, errors.As(err, new(*mqtt5.AckError))))
		}
		if d := cmp.Diff([]string{"true"}, got); d != "" {
			t.Errorf("(-want +got):\n%s", d)
		}
	})
}

func ExampleClient_Listen() {
	client, ctx, end := exampleClient(mqtt5.ClientOptions{})
	defer end()
	came := make(chan mqtt5.Message, 1)
	stop, err := client.Listen(ctx, "a/#", mqtt5.AtLeastOnce, func(_ context.Context, m mqtt5.Message) { came <- m })
	if err != nil {
		fmt.Println(err)
		return
	}
	client.PublishAsync(&mqtt5.PublishPacket{Topic: "a/b", Payload: []byte("x")}, nil)
	m := <-came
	fmt.Printf("%s: %s\n", m.Topic, m.Payload)
	fmt.Println(stop(ctx))
	// Output:
	// a/b: x
	// <nil>
}

func ExampleClient_Receive() {
	client, ctx, end := exampleClient(mqtt5.ClientOptions{})
	defer end()
	go func() {
		for ctx.Err() == nil { // until the loop has seen one
			client.PublishAsync(&mqtt5.PublishPacket{Topic: "a/b", Payload: []byte("x")}, nil)
			time.Sleep(time.Millisecond)
		}
	}()
	for m, err := range client.Receive(ctx, "a/#", mqtt5.AtLeastOnce) {
		if err != nil {
			fmt.Println(err)
			break
		}
		fmt.Printf("%s: %s\n", m.Topic, m.Payload)
		break
	}
	// Output: a/b: x
}
