// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"context"
	"flag"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/iot/iottest"
	"github.com/gocrt/aws-iot-device-sdk-go/iot/shadow"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/request"
)

var shadowCost = flag.Int("shadow-cost", 200, "how many shadows TestShadow_cost gets in each way; with more it prints what they cost")

// cost is what a number of calls took.
type cost struct {
	name     string
	call     func() error
	parallel int
	times    []time.Duration
	// Packets of the client for each call, as the core saw them.
	publishes, subscribes, unsubscribes, received float64
}

func (c *cost) percentile(p int) time.Duration {
	slices.Sort(c.times)
	return c.times[(len(c.times)-1)*p/100]
}

// meter counts the packets that the core sees of each client.
type meter struct {
	mu     sync.Mutex
	counts map[string]map[iottest.EventType]int
}

func (m *meter) onEvent(e iottest.Event) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.counts[e.ClientID] == nil {
		m.counts[e.ClientID] = make(map[iottest.EventType]int)
	}
	m.counts[e.ClientID][e.Type]++
}

func (m *meter) of(client string, t iottest.EventType) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.counts[client][t]
}

// measure adds n calls of a client to their cost.
func (m *meter) measure(t *testing.T, c *cost, client string, n int, calls func() []time.Duration) {
	t.Helper()
	types := []iottest.EventType{iottest.Published, iottest.Subscribed, iottest.Unsubscribed, iottest.Delivered}
	var before [4]int
	for i, kind := range types {
		before[i] = m.of(client, kind)
	}
	earlier := float64(len(c.times))
	times := calls()
	if len(times) != n {
		t.Fatalf("%s: %d calls", c.name, len(times))
	}
	c.times = append(c.times, times...)
	// Events come a little later than what they are about.
	eventually(t, "the core saw all calls", func() bool { return m.of(client, iottest.Delivered)-before[3] >= n })
	for i, per := range []*float64{&c.publishes, &c.subscribes, &c.unsubscribes, &c.received} {
		*per = (*per*earlier + float64(m.of(client, types[i])-before[i])) / float64(len(c.times))
	}
}

// inParallel runs n calls on some goroutines and returns their times.
func inParallel(t *testing.T, n, parallel int, call func() error) []time.Duration {
	var left atomic.Int64
	left.Store(int64(n))
	var mu sync.Mutex
	var times []time.Duration
	var wg sync.WaitGroup
	for range parallel {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				begin := time.Now()
				if err := call(); err != nil {
					t.Error(err)
					return
				}
				took := time.Since(begin)
				mu.Lock()
				times = append(times, took)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return times
}

// TestShadow_cost gets a shadow many times, and wants one PUBLISH in each
// direction for each; the native client takes more. How long that takes beside a
// plain round trip is printed with -shadow-cost 5000.
func TestShadow_cost(t *testing.T) {
	n := *shadowCost
	m := &meter{counts: make(map[string]map[iottest.EventType]int)}
	c := iottest.Start(t, func(o *iottest.Options) { o.OnEvent = m.onEvent })
	if _, err := c.UpdateShadow("lamp", "", []byte(`{"state":{"desired":{"on":true,"level":3},"reported":{"on":true}}}`)); err != nil {
		t.Fatal(err)
	}
	client, s := secureLamp(t, c)
	ctx := t.Context()
	get := func() error {
		_, err := s.Get(ctx)
		return err
	}
	if err := get(); err != nil { // makes the subscription
		t.Fatal(err)
	}
	echo := make(chan struct{}, 1)
	if _, err := client.Handle("echo", func(context.Context, mqtt5.Message) { echo <- struct{}{} }); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Subscribe(ctx, &mqtt5.SubscribePacket{Subscriptions: []mqtt5.Subscription{{TopicFilter: "echo", QoS: mqtt5.AtLeastOnce}}}); err != nil {
		t.Fatal(err)
	}
	payload := make([]byte, 200)
	roundTrip := func() error {
		client.PublishAsync(&mqtt5.PublishPacket{Topic: "echo", Payload: payload, QoS: mqtt5.AtLeastOnce}, nil)
		<-echo
		return nil
	}
	// The messages of a get without any of our code around them: what is beyond
	// the plain round trip is the work of the service.
	byHand := make(chan struct{}, 1)
	if _, err := client.Handle("$aws/things/lamp/shadow/get/accepted", func(context.Context, mqtt5.Message) {
		select {
		case byHand <- struct{}{}:
		default:
		}
	}); err != nil {
		t.Fatal(err)
	}
	ask := []byte(`{"clientToken":"` + request.NewToken() + `"}`)
	getByHand := func() error {
		select {
		case <-byHand: // of another get
		default:
		}
		client.PublishAsync(&mqtt5.PublishPacket{Topic: "$aws/things/lamp/shadow/get", Payload: ask, QoS: mqtt5.AtLeastOnce}, nil)
		<-byHand
		return nil
	}
	// What came before must not count: the first get, and two subscriptions.
	eventually(t, "the core saw the preparations", func() bool {
		return m.of("device", iottest.Subscribed) >= 2 && m.of("device", iottest.Delivered) >= 1
	})
	costs := []*cost{
		{name: "plain round trip", call: roundTrip, parallel: 1},
		{name: "shadow get by hand", call: getByHand, parallel: 1},
		{name: "shadow get", call: get, parallel: 1},
		{name: "shadow get, 10 at a time", call: get, parallel: 10},
	}
	// In turn, so that other work of the machine disturbs all of them.
	const rounds = 20
	for range rounds {
		for _, one := range costs {
			m.measure(t, one, "device", n/rounds, func() []time.Duration { return inParallel(t, n/rounds, one.parallel, one.call) })
		}
	}
	c.Delay("device", time.Millisecond)
	distant := []*cost{
		{name: "plain round trip, 1 ms away", call: roundTrip},
		{name: "shadow get, 1 ms away", call: get},
	}
	for range rounds {
		for _, one := range distant {
			m.measure(t, one, "device", n/rounds, func() []time.Duration { return inParallel(t, n/rounds, 1, one.call) })
		}
	}
	c.Delay("device", 0)
	costs = append(costs, distant...)
	for _, c := range costs {
		if c.publishes != 1 || c.received != 1 || c.subscribes != 0 || c.unsubscribes != 0 {
			t.Errorf("%s: %+v", c.name, c)
		}
	}
	if path := filepath.Join("testdata", "node", "node_modules", "aws-iot-device-sdk-v2"); exists(path) {
		node := serviceClients(t, c, c.Device(t, "native"), 5)
		n := min(n, 300) // it takes its time
		for _, parallel := range []int{1, 10} {
			native := &cost{name: fmt.Sprintf("native client, %d at a time", parallel)}
			costs = append(costs, native)
			m.measure(t, native, "native", n, func() []time.Duration {
				var got struct{ Times []float64 }
				node.must("bench", object{"n": n, "parallel": parallel, "service": "shadow", "method": "getShadow",
					"request": object{"thingName": "lamp"}}, &got)
				var times []time.Duration
				for _, us := range got.Times {
					times = append(times, time.Duration(us*float64(time.Microsecond)))
				}
				return times
			})
		}
	}
	var out strings.Builder
	w := tabwriter.NewWriter(&out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "\np50\tp99\tPUBLISH\tSUBSCRIBE\tUNSUBSCRIBE\treceived\t")
	for _, c := range costs {
		fmt.Fprintf(w, "%v\t%v\t%.2f\t%.2f\t%.2f\t%.2f\t%s\n", c.percentile(50).Round(time.Microsecond), c.percentile(99).Round(time.Microsecond),
			c.publishes, c.subscribes, c.unsubscribes, c.received, c.name)
	}
	_ = w.Flush()
	t.Log(out.String())
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// secureLamp is the shadow of a device that connects as the native client does.
func secureLamp(t *testing.T, c *iottest.Core) (*mqtt5.Client, *shadow.Shadow[lamp]) {
	t.Helper()
	device := c.Device(t, "device")
	route := (&core{Core: c, id: &identity{device.CertPEM(), device.KeyPEM()}}).mtls("mtls", nil)
	client, err := mqtt5.NewClient(mqtt5.ClientOptions{
		Address: route.address,
		Dial:    route.layers(t, (&net.Dialer{}).DialContext),
		Connect: mqtt5.ConnectPacket{ClientID: "device"},
	})
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
	requests, err := request.New(client, request.Options{Timeout: patience})
	if err != nil {
		t.Fatal(err)
	}
	s, err := shadow.Classic[lamp](requests, "lamp")
	if err != nil {
		t.Fatal(err)
	}
	return client, s
}
