// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
)

// workloads by their names. What they do is in doc.go.
var workloads = map[string]func(*bench) error{
	"flow": (*bench).flow, "pub": (*bench).pub, "recv": (*bench).recv, "rtt": (*bench).rtt, "echo": (*bench).echo,
	"connect": (*bench).connectOneByOne, "idle": (*bench).idle,
}

// topic is where a client publishes: of its own, or as a test server knows it.
func (b *bench) topicOf(index int, test string) string {
	if b.config.topic == "" {
		return test
	}
	return fmt.Sprintf("%s/%d", b.config.topic, index)
}

// ready connects the clients and prepares their publishers.
func (b *bench) ready(test string) error {
	if err := b.open(); err != nil {
		return err
	}
	for _, m := range b.fleet {
		m.publisher = b.newPublisher(m.client, b.topicOf(m.index, test), b.topicOf(m.index, "sink")+"/fence")
	}
	b.progress = func() (n int64) {
		for _, m := range b.fleet {
			n += m.acked.count.Load()
		}
		return n
	}
	return nil
}

// warmAndMeasure does -warmup messages of the work unmeasured, and then -n.
func (b *bench) warmAndMeasure(do func(m *member, n int64) error) error {
	defer b.meter()()
	if b.warmup > 0 {
		if err := b.each(b.warmup, do); err != nil || b.ctx.Err() != nil {
			return err
		}
	}
	return b.measure(func() error { return b.each(b.n, do) })
}

func (b *bench) subscribe(m *member, filter string) error {
	_, err := m.client.Subscribe(b.ctx, &mqtt5.SubscribePacket{
		Subscriptions: []mqtt5.Subscription{{TopicFilter: filter, QoS: b.qos.highest()}},
	})
	return err
}

func (b *bench) pub() error {
	if err := b.ready("sink/a"); err != nil {
		return err
	}
	return b.warmAndMeasure(func(m *member, n int64) error {
		m.publish(n)
		return m.publishFence()
	})
}

func (b *bench) flow() error {
	if err := b.ready("flow"); err != nil {
		return err
	}
	for _, m := range b.fleet {
		if err := b.subscribe(m, m.packets[0].Topic); err != nil {
			return err
		}
	}
	return b.warmAndMeasure(func(m *member, n int64) error {
		surplus := m.received.count.Load() - m.acked.count.Load()
		m.publish(n)
		m.arrivals(surplus)
		return nil
	})
}

// arrivals waits until everything has come back, when so many more messages were
// received than published before. With QoS 0 that need not be: then it gives up
// when nothing has come for a while, which is not part of what is measured.
func (m *member) arrivals(surplus int64) {
	const step, most = 50 * time.Millisecond, 3 * time.Second
	count := int64(-1)
	for m.bench.ctx.Err() == nil && (count < 0 || time.Since(m.idleSince) < most) {
		if n := m.received.count.Load(); n != count {
			count, m.idleSince = n, time.Now()
		}
		ctx, cancel := context.WithTimeout(m.bench.ctx, step)
		all := m.received.wait(ctx, m.acked.count.Load()+surplus)
		cancel()
		if all {
			break
		}
	}
	if m.bench.ctx.Err() != nil || m.received.count.Load() != count {
		m.idleSince = time.Now()
	}
}

// idleSince is when the last client had nothing left to do: now, if the workload
// does not say.
func (b *bench) idleSince() time.Time {
	var last time.Time
	for _, m := range b.fleet {
		if m != nil && m.idleSince.After(last) {
			last = m.idleSince
		}
	}
	if last.IsZero() {
		return time.Now()
	}
	return last
}

func (b *bench) recv() error {
	if err := b.ready("sink/a"); err != nil {
		return err
	}
	b.progress = b.received
	if b.config.topic != "" {
		for _, m := range b.fleet {
			if err := b.subscribe(m, b.config.topic+"/#"); err != nil {
				return err
			}
		}
		return b.warmAndMeasure(func(m *member, n int64) error {
			m.received.wait(b.ctx, m.received.count.Load()+n)
			return nil
		})
	}
	return b.warmAndMeasure(func(m *member, n int64) error {
		before := m.received.count.Load()
		filter := fmt.Sprintf("source/%d/%d/%d/%d-%d", b.qos[0], b.sizes.list()[0], n, m.index, before)
		if err := b.subscribe(m, filter); err != nil {
			return err
		}
		if !m.received.wait(b.ctx, before+n) || b.qos[0] == mqtt5.AtMostOnce {
			return nil
		}
		// The server acknowledges this one when it has our acknowledgements.
		_, err := m.client.Publish(b.ctx, &mqtt5.PublishPacket{Topic: "fence", QoS: mqtt5.AtLeastOnce})
		return err
	})
}

func (b *bench) received() (n int64) {
	for _, m := range b.fleet {
		n += m.received.count.Load()
	}
	return n
}

func (b *bench) rtt() error {
	if err := b.ready("sink/a"); err != nil {
		return err
	}
	return b.warmAndMeasure(func(m *member, n int64) error { return m.oneByOne(n, false) })
}

func (b *bench) echo() error {
	if err := b.ready("echo/a"); err != nil {
		return err
	}
	for _, m := range b.fleet {
		if err := b.subscribe(m, m.packets[0].Topic); err != nil {
			return err
		}
	}
	return b.warmAndMeasure(func(m *member, n int64) error { return m.oneByOne(n, true) })
}

// oneByOne publishes a message when the one before is done, or is back.
func (m *member) oneByOne(n int64, back bool) error {
	b := m.bench
	pace := b.newPacer(b.clients)
	for i := int64(0); i < n && !b.stopping.Load(); i++ {
		if pace != nil {
			pace.wait(b.ctx)
		}
		before := m.received.count.Load()
		began := time.Now()
		if _, err := m.client.Publish(b.ctx, m.packet()); err != nil {
			return err
		}
		if back && !m.received.wait(b.ctx, before+1) {
			return nil
		}
		b.latency.add(time.Since(began))
		m.acked.add()
	}
	return nil
}

// connectOneByOne connects one client after the other.
func (b *bench) connectOneByOne() error {
	var done atomic.Int64
	b.progress = done.Load
	several := func(first, n int) error {
		for i := first; i < first+n && !b.stopping.Load(); i++ {
			began := time.Now()
			m, err := b.newMember(i)
			if err != nil {
				return err
			}
			if err := m.start(); err != nil {
				_ = m.client.Close()
				return err
			}
			b.latency.add(time.Since(began))
			done.Add(1)
			if err := m.stop(); err != nil {
				return err
			}
		}
		return nil
	}
	defer b.meter()()
	if err := several(0, b.warmup); err != nil {
		return err
	}
	return b.measure(func() error { return several(b.warmup, b.n) })
}

func (b *bench) idle() error {
	b.progress = b.opened.Load
	stopMeter := b.meter()
	began := time.Now()
	err := b.open()
	stopMeter()
	if err != nil {
		return err
	}
	r := b.result
	r.Clients, r.Secs = b.clients, time.Since(began).Seconds()
	u0, s0, _ := usage()
	began = time.Now()
	b.pause(b.hold)
	u1, s1, _ := usage()
	r.IdleCPUms = (u1 + s1 - u0 - s0) * 1000 / time.Since(began).Seconds()
	r.RSS = status("VmRSS")
	r.Threads = int(status("Threads"))
	r.Goroutines = runtime.NumGoroutine()
	runtime.GC()
	debug.FreeOSMemory()
	b.pause(100 * time.Millisecond)
	r.RSSTrim = status("VmRSS")
	r.RSSPerClient = float64(r.RSS-r.RSSBase) / float64(b.clients)
	r.TrimPerClient = float64(r.RSSTrim-r.RSSBase) / float64(b.clients)
	return nil
}

// pause waits, unless the run ends.
func (b *bench) pause(d time.Duration) {
	select {
	case <-time.After(d):
	case <-b.ctx.Done():
	}
}
