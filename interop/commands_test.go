// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"

	"github.com/gocrt/aws-iot-device-sdk-go/iot/commands"
	"github.com/gocrt/aws-iot-device-sdk-go/iot/defender"
	"github.com/gocrt/aws-iot-device-sdk-go/iot/events"
	"github.com/gocrt/aws-iot-device-sdk-go/iot/iottest"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
)

// startExecutor runs an executor until the test ends, and returns when commands
// can arrive.
func startExecutor(t *testing.T, c *iottest.Core, clientID string, target commands.Target, options commands.Options) {
	t.Helper()
	_, requests := dialCore(t, c.TCPAddr(), clientID)
	ready := make(chan struct{})
	var once sync.Once
	options.OnEvent = func(e commands.Event) {
		if e.Type == commands.EventReady {
			once.Do(func() { close(ready) })
		}
	}
	x, err := commands.New(requests, target, options)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- x.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("the executor ended with %v", err)
		}
	})
	select {
	case <-ready:
	case <-within(t).Done():
		t.Fatal("the executor is not ready")
	}
}

// TestCommands sends commands in every format to things and clients.
func TestCommands(t *testing.T) {
	t.Parallel()
	blink, err := cbor.Marshal(map[string]any{"command": "blink"})
	if err != nil {
		t.Fatal(err)
	}
	handlers := map[string]commands.Handler{
		"blink": func(context.Context, *commands.Command) (commands.Result, error) {
			return commands.Result{"s": commands.String("x"), "b": commands.Bool(true), "bin": commands.Bytes([]byte{0, 1})}, nil
		},
		"fail": func(context.Context, *commands.Command) (commands.Result, error) { return nil, errors.New("broken") },
		"reject": func(context.Context, *commands.Command) (commands.Result, error) {
			return nil, commands.Reject("NO", "not now")
		},
		"slow": func(ctx context.Context, _ *commands.Command) (commands.Result, error) {
			<-ctx.Done()
			return nil, context.Cause(ctx)
		},
	}
	raw := func(_ context.Context, c *commands.Command) (commands.Result, error) {
		return commands.Result{"got": commands.Bytes(c.Payload)}, nil
	}
	for name, tt := range map[string]struct {
		command iottest.Command
		fault   iottest.ServiceFault
		want    iottest.CommandStatus
		reason  string
		result  []string
	}{
		"JSON":           {command: iottest.Command{Payload: []byte(`{"command":"blink"}`), ContentType: "application/json"}, want: iottest.CommandSucceeded, result: []string{"b", "bin", "s"}},
		"CBOR":           {command: iottest.Command{Payload: blink, ContentType: "application/cbor"}, want: iottest.CommandSucceeded, result: []string{"b", "bin", "s"}},
		"generic":        {command: iottest.Command{Payload: []byte("text"), ContentType: "text/plain"}, want: iottest.CommandSucceeded, result: []string{"got"}},
		"failed":         {command: iottest.Command{Payload: []byte(`{"command":"fail"}`), ContentType: "application/json"}, want: iottest.CommandFailed, reason: "FAILED"},
		"rejected":       {command: iottest.Command{Payload: []byte(`{"command":"reject"}`), ContentType: "application/json"}, want: iottest.CommandRejected, reason: "NO"},
		"timed out":      {command: iottest.Command{Payload: []byte(`{"command":"slow"}`), ContentType: "application/json", Timeout: 2 * time.Second}, want: iottest.CommandTimedOut, reason: "EXPIRED"},
		"answers lost":   {command: iottest.Command{Payload: []byte(`{"command":"blink"}`), ContentType: "application/json"}, fault: iottest.ServiceFault{Lose: true, Operation: "response", Times: 1}, want: iottest.CommandSucceeded, result: []string{"b", "bin", "s"}},
		"requests twice": {command: iottest.Command{Payload: []byte(`{"command":"blink"}`), ContentType: "application/json"}, fault: iottest.ServiceFault{Duplicate: true, Operation: "request"}, want: iottest.CommandSucceeded, result: []string{"b", "bin", "s"}},
	} {
		for _, kind := range []string{"thing", "client"} {
			t.Run(name+" for a "+kind, func(t *testing.T) {
				t.Parallel()
				c := plainCore(t)
				if fault := tt.fault; fault != (iottest.ServiceFault{}) {
					fault.Service = iottest.ServiceCommands
					c.SetServiceFaults(fault)
				}
				target, command := commands.Thing("thing"), tt.command
				command.ID, command.Thing = "cmd", "thing"
				if kind == "client" {
					target, command.Thing, command.ClientID = commands.MQTTClient("the client"), "", "the client"
				}
				startExecutor(t, c, "the client", target, commands.Options{Handlers: handlers, Default: raw})
				id, err := c.SendCommand(command)
				if err != nil {
					t.Fatal(err)
				}
				eventually(t, "the status arrives", func() bool {
					x, _ := c.CommandExecution(id)
					return x.Status == tt.want && x.ReasonCode == tt.reason
				})
				x, _ := c.CommandExecution(id)
				if got := slices.Sorted(maps.Keys(x.Result)); !slices.Equal(got, tt.result) {
					t.Errorf("result %v, want %v", got, tt.result)
				}
			})
		}
	}
}

// TestDefender sends reports in both formats.
func TestDefender(t *testing.T) {
	t.Parallel()
	for _, format := range []defender.Format{defender.JSON, defender.CBOR} {
		t.Run(format.String(), func(t *testing.T) {
			t.Parallel()
			c := plainCore(t)
			_, requests := dialCore(t, c.TCPAddr(), "device")
			reporter := func(custom float64) *defender.Reporter {
				r, err := defender.New(requests, "thing", defender.Options{
					Format: format,
					Read: func() (*defender.Metrics, error) {
						return &defender.Metrics{TCPPorts: &defender.Ports{Ports: []defender.Port{{Number: 22}}}, Connections: &defender.Connections{}}, nil
					},
					Custom: func(context.Context) (map[string]defender.Custom, error) {
						return map[string]defender.Custom{"celsius": defender.Number(custom)}, nil
					},
				})
				if err != nil {
					t.Fatal(err)
				}
				return r
			}
			id, err := reporter(21.5).Report(within(t))
			if err != nil {
				t.Fatal(err)
			}
			reports := c.DefenderReports("thing")
			if len(reports) != 1 || reports[0].ID != id || reports[0].Version != "1.0" || reports[0].Metrics["listening_tcp_ports"] == nil || reports[0].CustomMetrics["celsius"] == nil {
				t.Errorf("%+v", reports)
			}
			c.SetServiceFaults(iottest.ServiceFault{Service: iottest.ServiceDefender, Reject: &iottest.ServiceError{
				Service: iottest.ServiceDefender, Status: 429, Code: "Throttled", Message: "too many"}})
			var rejected *defender.RejectedError
			if _, err := reporter(22).Report(within(t)); !errors.As(err, &rejected) || rejected.Code != defender.CodeThrottled || rejected.Message != "too many" {
				t.Errorf("rejected with %v", err)
			}
		})
	}
}

// TestEvents follows a client that comes and goes.
func TestEvents(t *testing.T) {
	t.Parallel()
	c := plainCore(t)
	watcher, _ := dialCore(t, c.TCPAddr(), "watcher")
	filter, err := events.PresenceFilter(events.All, events.All)
	if err != nil {
		t.Fatal(err)
	}
	var tracker events.Tracker
	changes := make(chan string, 100)
	if _, err := watcher.Handle(filter, func(_ context.Context, m mqtt5.Message) {
		p, err := events.ParsePresence(m)
		if err != nil {
			t.Error(err)
			return
		}
		if tracker.Update(p) && p.ClientID == "site/1" {
			changes <- fmt.Sprint(p.Type, " ", p.Version, " ", p.Reason)
		}
	}); err != nil {
		t.Fatal(err)
	}
	subscriptions, err := events.SubscriptionFilter(events.Subscribed, "site/1")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := watcher.Handle(subscriptions, func(_ context.Context, m mqtt5.Message) {
		s, err := events.ParseSubscription(m)
		if err != nil {
			t.Error(err)
			return
		}
		changes <- fmt.Sprint(s.Type, " ", s.TopicFilters)
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := watcher.Subscribe(within(t), &mqtt5.SubscribePacket{Subscriptions: []mqtt5.Subscription{{TopicFilter: filter, QoS: 1}, {TopicFilter: subscriptions, QoS: 1}}}); err != nil {
		t.Fatal(err)
	}
	for i := range 2 {
		guest, _ := dialCore(t, c.TCPAddr(), "site/1")
		if _, err := guest.Subscribe(within(t), &mqtt5.SubscribePacket{Subscriptions: []mqtt5.Subscription{{TopicFilter: "a/b", QoS: 1}}}); err != nil {
			t.Fatal(err)
		}
		if err := guest.Stop(within(t), nil); err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{fmt.Sprintf("connected %d ", i), "subscribed [a/b]", fmt.Sprintf("disconnected %d CLIENT_INITIATED_DISCONNECT", i)} {
			select {
			case got := <-changes:
				if got != want {
					t.Errorf("%s, want %s", got, want)
				}
			case <-within(t).Done():
				t.Fatalf("nothing, want %s", want)
			}
		}
	}
}
