// SPDX-License-Identifier: Apache-2.0

package mqtt5_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/mqtttest"
)

// exampleClient returns a connected client of a small broker in memory, and a
// function that ends both.
func exampleClient(options mqtt5.ClientOptions) (*mqtt5.Client, context.Context, func()) {
	srv := mqtttest.NewServer(nil)
	options.Address = "broker.example:1883"
	options.Dial = srv.DialContext
	options.Connect.ClientID = "device"
	client, err := mqtt5.NewClient(options)
	if err != nil {
		panic(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	if err := client.Start(); err != nil {
		panic(err)
	}
	if err := client.WaitConnected(ctx); err != nil {
		panic(err)
	}
	return client, ctx, func() {
		cancel()
		client.Close()
		srv.Close()
	}
}

func Example() {
	srv := mqtttest.NewServer(nil) // a broker in memory, where yours would be
	defer srv.Close()

	received := make(chan struct{})
	client, err := mqtt5.NewClient(mqtt5.ClientOptions{
		Address: "broker.example:1883",
		Dial:    srv.DialContext,
		Connect: mqtt5.ConnectPacket{ClientID: "device"},
		OnMessage: func(_ context.Context, m mqtt5.Message) {
			fmt.Printf("%s: %s\n", m.Topic, m.Payload)
			close(received)
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()
	if err := client.Start(); err != nil {
		fmt.Println(err)
		return
	}

	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if _, err := client.Subscribe(ctx, &mqtt5.SubscribePacket{
		Subscriptions: []mqtt5.Subscription{{TopicFilter: "greetings/#", QoS: mqtt5.AtLeastOnce}},
	}); err != nil {
		fmt.Println(err)
		return
	}
	if _, err := client.Publish(ctx, &mqtt5.PublishPacket{Topic: "greetings/en", Payload: []byte("hello"), QoS: mqtt5.AtLeastOnce}); err != nil {
		fmt.Println(err)
		return
	}
	<-received
	fmt.Println(client.Stop(ctx, nil))
	// Output:
	// greetings/en: hello
	// <nil>
}

func ExampleNewClient() {
	_, err := mqtt5.NewClient(mqtt5.ClientOptions{
		Address:           "broker.example",
		MinReconnectDelay: time.Minute,
		MaxReconnectDelay: time.Second,
	})
	var invalid *mqtt5.ValidationError
	if errors.As(err, &invalid) {
		for _, p := range invalid.Problems {
			fmt.Println(p.Field, p.Rule)
		}
	}
	// Output:
	// Address has to be "host:port"
	// MaxReconnectDelay is below MinReconnectDelay
}

func ExampleClient_Start() {
	srv := mqtttest.NewServer(nil)
	defer srv.Close()
	srv.RefuseDial(nil)
	connected := make(chan struct{})
	client, err := mqtt5.NewClient(mqtt5.ClientOptions{
		Address:             "broker.example:1883",
		Dial:                srv.DialContext,
		Connect:             mqtt5.ConnectPacket{ClientID: "device"},
		MinReconnectDelay:   time.Millisecond,
		OnConnectionFailure: func(e *mqtt5.ConnectionFailure) { fmt.Println("attempt", e.Attempt, "failed, retry:", e.WillRetry) },
		OnConnectionSuccess: func(e *mqtt5.ConnectionSuccess) {
			fmt.Println("connected as", e.Settings.ClientID)
			close(connected)
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()
	if err := client.Start(); err != nil {
		fmt.Println(err)
	}
	<-connected
	// Output:
	// attempt 1 failed, retry: true
	// connected as device
}

func ExampleClient_Publish() {
	client, ctx, end := exampleClient(mqtt5.ClientOptions{})
	defer end()
	result, err := client.Publish(ctx, &mqtt5.PublishPacket{Topic: "a/b", Payload: []byte("x"), QoS: mqtt5.AtLeastOnce})
	if err != nil {
		switch {
		case errors.Is(err, mqtt5.ErrNotSent):
			fmt.Println("may be repeated:", err)
		case errors.Is(err, mqtt5.ErrOutcomeUnknown):
			fmt.Println("may have arrived:", err)
		default:
			fmt.Println("refused:", err)
		}
		return
	}
	fmt.Println(result.Puback.ReasonCode)
	// Output: success
}

func ExampleClient_PublishAsync() {
	client, _, end := exampleClient(mqtt5.ClientOptions{})
	defer end()
	done := make(chan error)
	for i := range 3 {
		client.PublishAsync(&mqtt5.PublishPacket{Topic: "a/b", Payload: fmt.Appendf(nil, "%d", i), QoS: mqtt5.AtLeastOnce},
			func(_ *mqtt5.PublishResult, err error) { done <- err })
	}
	for range 3 {
		fmt.Println(<-done)
	}
	// Output:
	// <nil>
	// <nil>
	// <nil>
}

func ExampleClient_Subscribe() {
	client, ctx, end := exampleClient(mqtt5.ClientOptions{})
	defer end()
	ack, err := client.Subscribe(ctx, &mqtt5.SubscribePacket{Subscriptions: []mqtt5.Subscription{
		{TopicFilter: "a/+", QoS: mqtt5.AtLeastOnce},
		{TopicFilter: "b/#", QoS: mqtt5.AtMostOnce, NoLocal: true},
	}})
	fmt.Println(ack.ReasonCodes, err)
	// Output: [granted QoS 1 granted QoS 0] <nil>
}

func ExampleClient_Unsubscribe() {
	client, ctx, end := exampleClient(mqtt5.ClientOptions{})
	defer end()
	ack, err := client.Unsubscribe(ctx, &mqtt5.UnsubscribePacket{TopicFilters: []string{"a/+"}})
	fmt.Println(ack.ReasonCodes, err)
	// Output: [no subscription existed (0x11)] <nil>
}

func ExampleClient_Handle() {
	client, ctx, end := exampleClient(mqtt5.ClientOptions{})
	defer end()
	done := make(chan struct{})
	remove, err := client.Handle("sensors/+/temperature", func(_ context.Context, m mqtt5.Message) {
		fmt.Printf("%s: %s\n", m.Topic, m.Payload)
		close(done)
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer remove()
	if _, err := client.Subscribe(ctx, &mqtt5.SubscribePacket{Subscriptions: []mqtt5.Subscription{{TopicFilter: "sensors/#"}}}); err != nil {
		fmt.Println(err)
	}
	client.PublishAsync(&mqtt5.PublishPacket{Topic: "sensors/7/temperature", Payload: []byte("21")}, nil)
	<-done
	// Output: sensors/7/temperature: 21
}

func ExampleClient_Messages() {
	client, ctx, end := exampleClient(mqtt5.ClientOptions{})
	defer end()
	messages, err := client.Messages(ctx, "a/#")
	if err != nil {
		fmt.Println(err)
		return
	}
	go func() {
		if _, err := client.Subscribe(ctx, &mqtt5.SubscribePacket{Subscriptions: []mqtt5.Subscription{{TopicFilter: "a/#"}}}); err != nil {
			fmt.Println(err)
		}
		for ctx.Err() == nil { // until the loop has seen one
			client.PublishAsync(&mqtt5.PublishPacket{Topic: "a/b", Payload: []byte("x")}, nil)
			time.Sleep(time.Millisecond)
		}
	}()
	for m := range messages {
		fmt.Printf("%s: %s\n", m.Topic, m.Payload)
		break
	}
	// Output: a/b: x
}

func ExampleClient_Channel() {
	client, ctx, end := exampleClient(mqtt5.ClientOptions{})
	defer end()
	messages, err := client.Channel(ctx, "a/#", 10)
	if err != nil {
		fmt.Println(err)
		return
	}
	if _, err := client.Subscribe(ctx, &mqtt5.SubscribePacket{Subscriptions: []mqtt5.Subscription{{TopicFilter: "a/#"}}}); err != nil {
		fmt.Println(err)
	}
	client.PublishAsync(&mqtt5.PublishPacket{Topic: "a/b", Payload: []byte("x")}, nil)
	m := <-messages
	fmt.Printf("%s: %s\n", m.Topic, m.Payload)
	// Output: a/b: x
}

func ExampleMessage_TakeAck() {
	acks := make(chan *mqtt5.Ack)
	client, ctx, end := exampleClient(mqtt5.ClientOptions{OnMessage: func(_ context.Context, m mqtt5.Message) {
		ack, err := m.TakeAck() // from now on it is ours to give
		if err != nil {
			fmt.Println(err)
			return
		}
		go func() { acks <- ack }()
	}})
	defer end()
	if _, err := client.Subscribe(ctx, &mqtt5.SubscribePacket{Subscriptions: []mqtt5.Subscription{{TopicFilter: "a", QoS: mqtt5.AtLeastOnce}}}); err != nil {
		fmt.Println(err)
	}
	client.PublishAsync(&mqtt5.PublishPacket{Topic: "a", QoS: mqtt5.AtLeastOnce}, nil)
	ack := <-acks
	fmt.Println(ack.Accept())
	fmt.Println(errors.Is(ack.Accept(), mqtt5.ErrAckTwice))
	// Output:
	// <nil>
	// true
}

func ExampleClient_Stop() {
	client, ctx, end := exampleClient(mqtt5.ClientOptions{})
	defer end()
	// What was published is sent first, as long as ctx allows.
	client.PublishAsync(&mqtt5.PublishPacket{Topic: "a", QoS: mqtt5.AtLeastOnce}, nil)
	err := client.Stop(ctx, &mqtt5.DisconnectPacket{ReasonCode: mqtt5.DisconnectWithWillMessage})
	fmt.Println(err, client.State(), client.Stats().IncompleteOperations)
	// Output: <nil> stopped 0
}

func ExampleClient_Close() {
	client, ctx, end := exampleClient(mqtt5.ClientOptions{})
	defer end()
	if err := client.Close(); err != nil {
		fmt.Println(err)
	}
	_, err := client.Publish(ctx, &mqtt5.PublishPacket{Topic: "a"})
	fmt.Println(errors.Is(err, mqtt5.ErrClosed))
	// Output: true
}

func ExampleClient_WaitConnected() {
	client, err := mqtt5.NewClient(mqtt5.ClientOptions{Address: "broker.example:1883"})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	fmt.Println(client.WaitConnected(ctx)) // nobody has started it
	// Output: context deadline exceeded
}

func ExampleClient_Settings() {
	client, _, end := exampleClient(mqtt5.ClientOptions{})
	defer end()
	s := client.Settings()
	fmt.Println(s.ClientID, s.MaximumQoS, s.ReceiveMaximumFromServer, s.RejoinedSession)
	// Output: device QoS 2 65535 false
}

func ExampleClient_Stats() {
	client, ctx, end := exampleClient(mqtt5.ClientOptions{})
	defer end()
	if _, err := client.Publish(ctx, &mqtt5.PublishPacket{Topic: "a", QoS: mqtt5.ExactlyOnce}); err != nil {
		fmt.Println(err)
	}
	s := client.Stats()
	fmt.Println(s.Connections, s.MessagesSent, s.IncompleteOperations)
	// Output: 1 1 0
}

// How long publishes took, at a few nanoseconds for each.
func ExampleNewDurationHistogram() {
	durations := mqtt5.NewDurationHistogram(10*time.Millisecond, time.Minute)
	client, ctx, end := exampleClient(mqtt5.ClientOptions{PublishDurations: durations})
	defer end()
	for range 3 {
		if _, err := client.Publish(ctx, &mqtt5.PublishPacket{Topic: "a", QoS: mqtt5.AtLeastOnce}); err != nil {
			fmt.Println(err)
		}
	}
	s := durations.Snapshot()
	fmt.Println(s.Count(), "publishes;", s.Counts[2], "took more than", s.Bounds[1])
	// Output: 3 publishes; 0 took more than 1m0s
}

func ExampleDurationHistogram_Record() {
	h := mqtt5.NewDurationHistogram(time.Second, 2*time.Second)
	h.Record(500 * time.Millisecond)
	h.Record(2 * time.Second)
	h.Record(time.Minute)
	s := h.Snapshot()
	fmt.Println(s.Counts, s.Sum)
	// Output: [1 1 1] 1m2.5s
}

func ExampleClient_State() {
	client, _, end := exampleClient(mqtt5.ClientOptions{})
	defer end()
	fmt.Println(client.State())
	// Output: connected
}

// token stands for an Authenticator: it has one thing to say.
type token string

func (token) Method() string                          { return "TOKEN" }
func (t token) Begin(context.Context) ([]byte, error) { return []byte(t), nil }
func (token) Continue([]byte) ([]byte, error)         { return nil, errors.New("there is nothing to ask") }
func (token) Finish([]byte) error                     { return nil }

func ExampleClient_Reauthenticate() {
	client, ctx, end := exampleClient(mqtt5.ClientOptions{})
	defer end()
	// A client that has ClientOptions.Authenticator would do it.
	fmt.Println(client.Reauthenticate(ctx))
	// Output: mqtt5: no enhanced authentication on this connection
}

func ExampleAuthenticator() {
	client, err := mqtt5.NewClient(mqtt5.ClientOptions{Address: "broker.example:1883", Authenticator: token("secret")})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(client.State(), client.Close())
	// Output: stopped <nil>
}

func ExampleAWSIoTCoreLimits() {
	limits := mqtt5.AWSIoTCoreLimits()
	limits.PublishesPerSecond = 500 // of an account with a higher quota
	client, err := mqtt5.NewClient(mqtt5.ClientOptions{Address: "broker.example:1883", Limits: limits})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()
	_, err = client.Publish(context.Background(), &mqtt5.PublishPacket{Topic: "a/b/c/d/e/f/g/h/i"})
	fmt.Println(err)
	// Output: mqtt5: invalid PublishPacket: Topic: has 8 slashes, more than 7 [AWS IoT Core quota]
}

func ExampleClientOptions_Validate() {
	o := mqtt5.ClientOptions{Address: "broker.example:1883", Connect: mqtt5.ConnectPacket{Will: &mqtt5.PublishPacket{Topic: "a/#"}}}
	fmt.Println(o.Validate())
	// Output: mqtt5: invalid ClientOptions: Connect.Will.Topic: topic name contains a wildcard character [MQTT-4.7.0-1]
}

func ExamplePtr() {
	p := mqtt5.PublishPacket{Topic: "a", MessageExpirySeconds: mqtt5.Ptr[uint32](60)}
	fmt.Println(*p.MessageExpirySeconds)
	// Output: 60
}

func ExampleMessage_Clone() {
	kept := make(chan mqtt5.Message, 1)
	client, ctx, end := exampleClient(mqtt5.ClientOptions{
		BorrowPayloads: true,
		OnMessage:      func(_ context.Context, m mqtt5.Message) { kept <- m.Clone() },
	})
	defer end()
	if _, err := client.Subscribe(ctx, &mqtt5.SubscribePacket{Subscriptions: []mqtt5.Subscription{{TopicFilter: "a"}}}); err != nil {
		fmt.Println(err)
	}
	client.PublishAsync(&mqtt5.PublishPacket{Topic: "a", Payload: []byte("x")}, nil)
	fmt.Printf("%s\n", (<-kept).Payload)
	// Output: x
}

func ExampleClient_Reconnect() {
	client, ctx, end := exampleClient(mqtt5.ClientOptions{})
	defer end()
	// The certificate was replaced: connect with the new one now.
	err := client.Reconnect(ctx)
	fmt.Println(err, client.State())
	// Output: <nil> connected
}
