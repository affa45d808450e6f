// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
)

// fleet opens many connections, dialsAtOnce at a time.
func (r *run) fleet(o peerOptions, dial func(peerOptions) (peer, error)) ([]peer, error) {
	fleet := make([]peer, r.Clients)
	var next atomic.Int64
	errs := make(chan error, dialsAtOnce)
	var wg sync.WaitGroup
	for range min(dialsAtOnce, r.Clients) {
		wg.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= len(fleet) {
					return
				}
				o := o
				o.clientID = fmt.Sprintf("%s-%d", o.clientID, i)
				p, err := dial(o)
				if err != nil {
					errs <- err
					return
				}
				fleet[i] = p
			}
		})
	}
	wg.Wait()
	select {
	case err := <-errs:
		return nil, err
	default:
		return fleet, nil
	}
}

// idle measures what connections cost on which nothing happens.
func (r *run) idle(res *result, o peerOptions, dial func(peerOptions) (peer, error)) error {
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	base := residentKiB()
	fleet, err := r.fleet(o, dial)
	if err != nil {
		return err
	}
	time.Sleep(r.Hold)
	per := 1 / float64(r.Clients)
	res.Connected = len(fleet)
	res.RSS = (residentKiB() - base) * per
	res.Gorout = runtime.NumGoroutine()
	cpu := cpuTime()
	time.Sleep(r.Hold)
	res.IdleCPU = (cpuTime() - cpu).Seconds() * 1e3 / r.Hold.Seconds()
	debug.FreeOSMemory()
	runtime.ReadMemStats(&after)
	res.Trimmed = (residentKiB() - base) * per
	res.Heap = float64(int64(after.HeapAlloc)-int64(before.HeapAlloc)) / 1024 * per
	res.Stack = float64(int64(after.StackInuse)-int64(before.StackInuse)) / 1024 * per
	runtime.KeepAlive(fleet)
	return nil // the process ends, and with it the connections
}

// active publishes from all clients of a fleet at once, N messages in all, each
// with its own window. With Publishers, only the first Publishers clients
// publish and the others idle.
func (r *run) active(res *result, o peerOptions, dial func(peerOptions) (peer, error)) error {
	fleet, err := r.fleet(o, dial)
	if err != nil {
		return err
	}
	publishing := fleet
	if r.Publishers > 0 {
		publishing = fleet[:min(r.Publishers, len(fleet))]
	}
	payload := make([]byte, r.Size)
	send := func(n int) error {
		errs := make(chan error, len(publishing))
		for _, p := range publishing {
			go func() {
				err := p.publishMany("sink", payload, byte(r.QoS), n/len(publishing), r.Window)
				if err == nil {
					err = p.publish("fence", nil, 1)
				}
				errs <- err
			}()
		}
		for range publishing {
			if err := <-errs; err != nil {
				return err
			}
		}
		return nil
	}
	if err := send(r.Warmup); err != nil {
		return err
	}
	s := r.begin()
	if err := send(r.N); err != nil {
		return err
	}
	s.end(res, r.N)
	return nil
}

// storm has the server cut all connections of a fleet at once, and measures
// how the fleet comes back. Only clients that reconnect by themselves can.
func (r *run) storm(res *result, o peerOptions, _ func(peerOptions) (peer, error)) error {
	if r.Peer != "ours" {
		return fmt.Errorf("%s does not reconnect by itself", r.Peer)
	}
	var connected atomic.Int64
	back := make(chan struct{}, 1)
	goal := int64(r.Clients)
	clients := make([]*mqtt5.Client, r.Clients)
	for i := range clients {
		o := o
		o.clientID = fmt.Sprintf("%s-%d", o.clientID, i)
		opts := oursOptions(o, false)
		opts.MinReconnectDelay, opts.MaxReconnectDelay = 100*time.Millisecond, 5*time.Second
		opts.OnConnectionSuccess = func(*mqtt5.ConnectionSuccess) {
			if connected.Add(1) == goal {
				back <- struct{}{}
			}
		}
		opts.OnDisconnection = func(*mqtt5.Disconnection) { connected.Add(-1) }
		c, err := mqtt5.NewClient(opts)
		if err != nil {
			return err
		}
		clients[i] = c
		if err := c.Start(); err != nil {
			return err
		}
	}
	<-back
	lever, err := dialLimit(o)
	if err != nil {
		return err
	}
	defer lever.close()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	peak := watchPeak(ctx)
	cpu, began := cpuTime(), time.Now()
	if err := lever.publish("cut", nil, 1); err != nil {
		return err
	}
	<-back
	res.Recovery = time.Since(began).Seconds()
	res.CPU = float64((cpuTime() - cpu).Nanoseconds()) / 1e3 / float64(r.Clients)
	cancel()
	res.Gorout, res.PeakHeap = peak()
	res.Connected = int(connected.Load())
	return nil
}

// watchPeak samples goroutines and heap until ctx ends; the function it returns
// waits for that and tells the largest.
func watchPeak(ctx context.Context) func() (goroutines int, heapMiB float64) {
	done := make(chan struct{})
	goroutines, heap := 0, uint64(0)
	go func() {
		defer close(done)
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			goroutines, heap = max(goroutines, runtime.NumGoroutine()), max(heap, m.HeapInuse)
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	}()
	return func() (int, float64) {
		<-done
		return goroutines, float64(heap) / (1 << 20)
	}
}
