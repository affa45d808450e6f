// SPDX-License-Identifier: Apache-2.0

package mqtt5_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/io/eventloop"
	"github.com/gocrt/aws-iot-device-sdk-go/io/socket"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
)

// fleet is what a test of many clients counts.
type fleet struct {
	clients []*mqtt5.Client
	group   *eventloop.Group

	dials, mostDials atomic.Int64 // under way
	mostGoroutines   atomic.Int64
	connections      atomic.Int64
	lost             atomic.Int64
	all              chan struct{} // each client has made one more connection

	mu     sync.Mutex
	delays map[time.Duration]int // before the first attempt after a loss
}

// raise makes most at least n.
func raise(most *atomic.Int64, n int64) {
	for {
		old := most.Load()
		if n <= old || most.CompareAndSwap(old, n) {
			return
		}
	}
}

func newFleet(t *testing.T, n, dialLimit int, address string) *fleet {
	t.Helper()
	f := &fleet{
		clients: make([]*mqtt5.Client, n),
		group:   eventloop.NewGroup(eventloop.Options{Loops: 4, DialLimit: dialLimit}),
		all:     make(chan struct{}, 1),
		delays:  map[time.Duration]int{},
	}
	var dialer socket.Dialer
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		raise(&f.mostDials, f.dials.Add(1))
		defer f.dials.Add(-1)
		raise(&f.mostGoroutines, int64(runtime.NumGoroutine()))
		return dialer.DialContext(ctx, network, address)
	}
	for i := range f.clients {
		c, err := mqtt5.NewClient(mqtt5.ClientOptions{
			Address:           address,
			Dial:              dial,
			EventLoops:        f.group,
			Connect:           mqtt5.ConnectPacket{ClientID: fmt.Sprintf("device-%d", i)},
			MinReconnectDelay: 10 * time.Millisecond,
			MaxReconnectDelay: time.Second,
			OnConnectionSuccess: func(*mqtt5.ConnectionSuccess) {
				// By the total: while the last still lose their connection, the
				// first have a new one.
				if f.connections.Add(1)%int64(n) == 0 {
					f.all <- struct{}{}
				}
			},
			OnDisconnection: func(e *mqtt5.Disconnection) {
				if e.WillRetry {
					f.lost.Add(1)
					f.mu.Lock()
					f.delays[e.Delay]++
					f.mu.Unlock()
				}
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		f.clients[i] = c
	}
	return f
}

// wait waits until all clients have made one more connection.
func (f *fleet) wait(ctx context.Context, t *testing.T) {
	t.Helper()
	select {
	case <-f.all:
	case <-ctx.Done():
		t.Fatalf("%d clients have made %d connections", len(f.clients), f.connections.Load())
	}
}

// checkDials checks what it took to connect all at once.
func (f *fleet) checkDials(t *testing.T, goroutines, dialLimit int) {
	t.Helper()
	if most := f.mostDials.Load(); most > int64(dialLimit) {
		t.Errorf("%d connection attempts at a time, the limit is %d", most, dialLimit)
	}
	// A dial has some goroutines of its own while it races addresses, and a
	// client has one for a moment while its handlers run: on a busy machine
	// many CONNACKs may come at once.
	limit := goroutines + len(f.clients) + len(f.clients)/2 + 4*dialLimit
	if most := f.mostGoroutines.Load(); most > int64(limit) {
		t.Errorf("%d goroutines for %d clients while they connected", most, len(f.clients))
	}
}

// resources are what clients take from the process.
type resources struct {
	goroutines int
	files      int   // negative: this system does not tell
	memory     int64 // live objects and stacks
}

func currentResources() resources {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // the first leaves what pools hold
	runtime.ReadMemStats(&m)
	r := resources{goroutines: runtime.NumGoroutine(), files: -1, memory: int64(m.HeapAlloc + m.StackInuse)}
	if entries, err := os.ReadDir("/proc/self/fd"); err == nil {
		r.files = len(entries)
	}
	return r
}

// settle reads the resources until they are within the limits, or are not for long.
func settle(t *testing.T, what string, limit resources) resources {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for {
		r := currentResources()
		if r.goroutines <= limit.goroutines && r.files <= limit.files && (raceEnabled || r.memory <= limit.memory) {
			return r
		}
		if time.Now().After(deadline) {
			t.Errorf("%s: %+v, want at most %+v", what, r, limit)
			return r
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// describeGoroutines has n goroutines at once. The runtime keeps what describes
// a goroutine for the next one: that memory is not the clients'.
func describeGoroutines(n int) {
	var started, ended sync.WaitGroup
	release := make(chan struct{})
	started.Add(n)
	for range n {
		ended.Go(func() {
			started.Done()
			<-release
		})
	}
	started.Wait()
	close(release)
	ended.Wait()
}

// TestFleet starts many clients at once, cuts them all off at once, and stops
// them at once, and wants them to be cheap and everything back.
func TestFleet(t *testing.T) {
	n := 10_000
	if raceEnabled {
		n = 1_000 // the race detector allows 8,128 goroutines
	}
	const dialLimit = 32
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	srv := startFleetServer(t)
	describeGoroutines(2 * n)
	start := currentResources()
	f := newFleet(t, n, dialLimit, srv.addr)

	for _, c := range f.clients {
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
	}
	f.wait(ctx, t)
	f.checkDials(t, start.goroutines, dialLimit)
	const perClient = 8 << 10
	rest := resources{
		goroutines: start.goroutines + n + 16, // loops, and what the runtime needs
		files:      start.files + n + 16,
		memory:     start.memory + int64(n)*perClient,
	}
	idle := settle(t, "connected", rest)

	srv.cut(t)
	f.wait(ctx, t)
	f.checkDials(t, start.goroutines, dialLimit)
	if lost := f.lost.Load(); lost != int64(n) {
		t.Errorf("%d connections were lost, the server cut %d", lost, n)
	}
	f.mu.Lock()
	delays := len(f.delays)
	f.mu.Unlock()
	if delays < n/2 {
		t.Errorf("%d clients come back at %d different times", n, delays)
	}
	again := settle(t, "connected again", rest)

	// Half of the publishes meet a connection, and half of them none.
	srv.cut(t)
	var done sync.WaitGroup
	var failed atomic.Int64
	done.Add(n)
	for _, c := range f.clients {
		c.PublishAsync(&mqtt5.PublishPacket{Topic: "a", QoS: mqtt5.AtLeastOnce}, func(_ *mqtt5.PublishResult, err error) {
			if err != nil {
				failed.Add(1)
			}
			done.Done()
		})
	}
	done.Wait()
	if failed.Load() != 0 {
		t.Errorf("%d of %d publishes failed", failed.Load(), n)
	}
	f.wait(ctx, t)

	for _, c := range f.clients {
		done.Go(func() {
			if err := c.Stop(ctx, nil); err != nil {
				t.Error(err)
			}
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	done.Wait()
	if err := f.group.Shutdown(ctx); err != nil {
		t.Error(err)
	}
	settle(t, "stopped", resources{start.goroutines, start.files, start.memory + int64(n)*perClient/2})
	most := f.mostGoroutines.Load()
	f = nil
	end := settle(t, "forgotten", resources{start.goroutines, start.files, start.memory + int64(n)*512})
	t.Logf("%d clients: at the start %+v, connected %+v, connected again %+v, at the end %+v; at most %d goroutines",
		n, start, idle, again, end, most)
}
