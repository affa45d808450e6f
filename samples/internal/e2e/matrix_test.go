// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/iot"
	"github.com/gocrt/aws-iot-device-sdk-go/iot/iottest"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
)

// patience is how long a test waits for what is to happen at once.
const patience = 30 * time.Second

// events are what the handlers of a client have seen.
type events struct {
	connected chan *mqtt5.ConnectionSuccess
	failed    chan error
	lost      chan error
	stopped   chan struct{}
	messages  chan mqtt5.Message
}

func watch(clientID string) (*events, []iot.Option) {
	e := &events{
		connected: make(chan *mqtt5.ConnectionSuccess, 16), failed: make(chan error, 16), lost: make(chan error, 16),
		stopped: make(chan struct{}, 1), messages: make(chan mqtt5.Message, 16),
	}
	return e, []iot.Option{
		iot.WithClientID(clientID),
		iot.WithKeepAlive(20 * time.Minute),
		iot.WithOnMessage(func(_ context.Context, m mqtt5.Message) { e.messages <- m }),
		iot.WithOnConnectionSuccess(func(s *mqtt5.ConnectionSuccess) { e.connected <- s }),
		iot.WithOnConnectionFailure(func(f *mqtt5.ConnectionFailure) { e.failed <- f.Err }),
		iot.WithOnDisconnection(func(d *mqtt5.Disconnection) { e.lost <- d.Err }),
		iot.WithOnStopped(func(*mqtt5.Stopped) { e.stopped <- struct{}{} }),
		iot.WithClientOptions(func(o *mqtt5.ClientOptions) {
			o.MinReconnectDelay, o.MaxReconnectDelay = time.Millisecond, 10*time.Millisecond
		}),
	}
}

func receive[T any](t *testing.T, ch <-chan T, failed <-chan error, what string) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case err := <-failed:
		t.Fatalf("waiting for %s: %v", what, err)
	case <-time.After(patience):
		t.Fatalf("waiting for %s: nothing happened", what)
	}
	panic("unreachable")
}

// TestMatrix runs every constructor directly and through every kind of proxy.
func TestMatrix(t *testing.T) {
	for _, m := range methods {
		for _, kind := range []string{"direct", "http", "https", "socks5"} {
			t.Run(m.name+"/"+kind, func(t *testing.T) {
				if m.need != nil {
					m.need(t)
				}
				core := iottest.Start(t, func(o *iottest.Options) { o.PlainTCP = true })
				id := "client-" + kind
				e, options := watch(id)
				var proxy *testProxy
				if kind == "direct" {
					options = append(options, iot.WithDialer(core.DialContext))
				} else {
					o, p := startProxy(t, core, kind)
					proxy = p
					options = append(options, iot.WithProxy(o))
				}
				if !m.plain {
					options = append(options, iot.WithCABytes(core.CAPEM()))
				}
				options = append(options, iot.WithSession(mqtt5.SessionRejoinPostSuccess, time.Hour))
				client, err := made(m.make(t, core, options))
				if err != nil {
					t.Fatal(err)
				}
				defer client.Close()
				drive(t, core, client, e, id, &m)
				if proxy != nil && proxy.tunnels.Load() != 2 {
					t.Errorf("%d tunnels went through the proxy, want 2", proxy.tunnels.Load())
				}
			})
		}
	}
}

// drive takes a client through its life.
func drive(t *testing.T, core *iottest.Core, client *mqtt5.Client, e *events, id string, m *method) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := client.Start(); err != nil {
		t.Fatal(err)
	}
	receive(t, e.connected, e.failed, "the connection")

	info := core.Clients()[id]
	if info.Auth != m.auth || info.ALPN != m.alpn || info.Port != m.port || info.WebSocket != m.webSocket || info.KeepAlive != 1200 {
		t.Errorf("the core sees auth %q, ALPN %q, port %s, WebSocket %v, keep alive %d", info.Auth, info.ALPN, info.Port, info.WebSocket, info.KeepAlive)
	}
	if !m.plain && info.ServerName != core.Endpoint() {
		t.Errorf("the server name is %q", info.ServerName)
	}
	if !strings.Contains(info.Username, "SDK="+iot.LibraryName) {
		t.Errorf("no metrics in user name %q", info.Username)
	}

	suback, err := client.Subscribe(ctx, &mqtt5.SubscribePacket{Subscriptions: []mqtt5.Subscription{{TopicFilter: "t/+", QoS: mqtt5.AtLeastOnce}}})
	if err != nil {
		t.Fatal(err)
	}
	if suback.ReasonCodes[0] != mqtt5.SubackGrantedQoS1 {
		t.Errorf("SUBACK: %v", suback.ReasonCodes)
	}
	exchange := func(qos mqtt5.QoS, text string) {
		t.Helper()
		result, err := client.Publish(ctx, &mqtt5.PublishPacket{Topic: fmt.Sprintf("t/%d", qos), QoS: qos, Payload: []byte(text)})
		if err != nil {
			t.Fatal(err)
		}
		if qos == mqtt5.AtLeastOnce && result.Puback == nil {
			t.Error("no PUBACK")
		}
		got := receive(t, e.messages, e.failed, "a message")
		if string(got.Payload) != text || got.QoS != qos {
			t.Errorf("received %q with %v", got.Payload, got.QoS)
		}
	}
	exchange(mqtt5.AtMostOnce, "zero")
	exchange(mqtt5.AtLeastOnce, "one")
	// A message that is not acknowledged before the cut would come again.
	if _, err := core.WaitFor(ctx, func(ev iottest.Event) bool { return ev.Type == iottest.Acknowledged }); err != nil {
		t.Fatal(err)
	}

	core.Cut(id)
	receive(t, e.lost, e.failed, "the loss of the connection")
	again := receive(t, e.connected, e.failed, "the reconnect")
	if !again.Settings.RejoinedSession {
		t.Error("the session was not rejoined")
	}
	exchange(mqtt5.AtLeastOnce, "after the cut")

	if err := client.Stop(ctx, nil); err != nil {
		t.Fatal(err)
	}
	receive(t, e.stopped, nil, "the stop")
	event, err := core.WaitFor(ctx, func(ev iottest.Event) bool { return ev.Type == iottest.Disconnected && ev.ByClient })
	if err != nil || event.Reason != iottest.Success {
		t.Errorf("the core saw %v, %v, want a DISCONNECT", event, err)
	}
}
