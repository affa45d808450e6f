// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"

	"github.com/gocrt/aws-iot-device-sdk-go/iot/iottest"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/request"
)

// eventful is a client that reports its lifecycle to listeners added later: a
// request.EventSource made from the handlers of the options.
type eventful struct {
	*mqtt5.Client

	mu        sync.Mutex
	listeners []func(any)
}

func (e *eventful) HandleEvents(handler func(event any)) (remove func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.listeners = append(e.listeners, handler)
	i := len(e.listeners) - 1
	return func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.listeners[i] = func(any) {}
	}
}

func (e *eventful) emit(event any) {
	e.mu.Lock()
	listeners := slices.Clone(e.listeners)
	e.mu.Unlock()
	for _, listener := range listeners {
		listener(event)
	}
}

// dialCore connects to the embedded core without TLS, and returns a client for
// requests over that.
func dialCore(t *testing.T, address, clientID string) (*eventful, *request.Client) {
	t.Helper()
	e := &eventful{}
	client, err := mqtt5.NewClient(mqtt5.ClientOptions{
		Address:             address,
		Connect:             mqtt5.ConnectPacket{ClientID: clientID},
		MinReconnectDelay:   1, // nobody waits for a fleet here
		MaxReconnectDelay:   1,
		OnConnectionSuccess: func(ev *mqtt5.ConnectionSuccess) { e.emit(ev) },
		OnDisconnection:     func(ev *mqtt5.Disconnection) { e.emit(ev) },
		OnStopped:           func(ev *mqtt5.Stopped) { e.emit(ev) },
	})
	if err != nil {
		t.Fatal(err)
	}
	e.Client = client
	requests, err := request.New(e, request.Options{Timeout: patience})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	if err := client.Start(); err != nil {
		t.Fatal(err)
	}
	if err := client.WaitConnected(within(t)); err != nil {
		t.Fatal(err)
	}
	return e, requests
}

// A request by MQTT 5 properties between two clients, over a real broker, and
// again after the session with its subscription is gone.
func TestRequest_properties(t *testing.T) {
	t.Parallel()
	c := iottest.Start(t, func(o *iottest.Options) { o.PlainTCP = true })
	responder, _ := dialCore(t, c.TCPAddr(), "responder")
	_, requests := dialCore(t, c.TCPAddr(), "requester")
	ctx := within(t)
	if _, err := responder.Handle("ask", func(_ context.Context, m mqtt5.Message) {
		responder.PublishAsync(&mqtt5.PublishPacket{Topic: *m.ResponseTopic, CorrelationData: m.CorrelationData,
			Payload: append([]byte("re: "), m.Payload...), QoS: mqtt5.AtLeastOnce}, nil)
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := responder.Subscribe(ctx, &mqtt5.SubscribePacket{Subscriptions: []mqtt5.Subscription{{TopicFilter: "ask", QoS: mqtt5.AtLeastOnce}}}); err != nil {
		t.Fatal(err)
	}
	for i, text := range []string{"one", "two", "three"} {
		if i == 2 {
			c.Cut("requester")
		}
		answer, err := requests.Call(ctx, "ask", []byte(text))
		for i == 2 && errors.Is(err, request.ErrSubscriptionLost) { // it left before the loss was noticed
			answer, err = requests.Call(ctx, "ask", []byte(text))
		}
		if err != nil || string(answer.Payload) != "re: "+text {
			t.Fatalf("%s: %s %v", text, answer.Payload, err)
		}
	}
	if s := requests.Stats(); s.Answers != 3 {
		t.Errorf("stats %+v", s)
	}
}
