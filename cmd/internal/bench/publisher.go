// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
)

// publisher publishes the messages of a client. Nothing of it allocates for each
// message.
type publisher struct {
	bench   *bench
	client  *mqtt5.Client
	packets []mqtt5.PublishPacket // in turn
	next    int
	fence   *mqtt5.PublishPacket
	window  int64
	done    func(*mqtt5.PublishResult, error)
	probe   probe

	_     [64]byte // what is above is read for each message, what is below is written
	acked gate
}

// probe times one publish after the other.
type probe struct {
	busy  atomic.Bool
	began time.Time
	done  func(*mqtt5.PublishResult, error)
}

func (b *bench) newPublisher(client *mqtt5.Client, topic, fence string) *publisher {
	p := &publisher{
		bench: b, client: client, window: int64(b.window),
		packets: append([]mqtt5.PublishPacket(nil), b.packets...),
		fence:   &mqtt5.PublishPacket{Topic: fence, QoS: mqtt5.AtLeastOnce},
	}
	for i := range p.packets {
		p.packets[i].Topic = topic
	}
	p.done = func(_ *mqtt5.PublishResult, err error) { p.completed(err) }
	p.probe.done = func(_ *mqtt5.PublishResult, err error) {
		b.latency.add(time.Since(p.probe.began))
		p.probe.busy.Store(false)
		p.completed(err)
	}
	return p
}

// completed counts a message; what the end of the run has cut short is none.
func (p *publisher) completed(err error) {
	if err != nil && !p.bench.fail(err) {
		return
	}
	p.acked.add()
}

// publish publishes n messages and returns when they are done, or at the end of
// the run.
func (p *publisher) publish(n int64) {
	if p.bench.publishers > 0 {
		p.publishBlocking(n)
		return
	}
	b := p.bench
	pace := b.newPacer(b.clients)
	sent := p.acked.count.Load()
	last, room := sent+n, sent+p.window
	for ; sent < last && !b.stopping.Load(); sent++ {
		if sent == room {
			// Half a window at a time, because waking up costs more than publishing.
			p.acked.wait(b.ctx, sent-p.window/2)
			room = p.acked.count.Load() + p.window
		}
		if pace != nil {
			pace.wait(b.ctx)
		}
		done := p.done
		if !p.probe.busy.Load() {
			p.probe.busy.Store(true)
			p.probe.began = time.Now()
			done = p.probe.done
		}
		p.client.PublishAsync(p.packet(), done)
	}
	p.acked.wait(b.ctx, sent)
}

// packet is the next message of the mix.
func (p *publisher) packet() *mqtt5.PublishPacket {
	i := p.next
	if p.next++; p.next == len(p.packets) {
		p.next = 0
	}
	return &p.packets[i]
}

// publishBlocking is publish by goroutines that wait for each of their messages.
func (p *publisher) publishBlocking(n int64) {
	const sample = 16 // one message of so many is timed
	b := p.bench
	var sent atomic.Int64
	var wg sync.WaitGroup
	for range b.publishers {
		wg.Go(func() {
			pace := b.newPacer(b.clients * b.publishers)
			for !b.stopping.Load() {
				i := sent.Add(1) - 1
				if i >= n {
					return
				}
				if pace != nil {
					pace.wait(b.ctx)
				}
				var began time.Time
				if i%sample == 0 {
					began = time.Now()
				}
				_, err := p.client.Publish(b.ctx, &p.packets[i%int64(len(p.packets))])
				if i%sample == 0 {
					b.latency.add(time.Since(began))
				}
				p.completed(err)
			}
		})
	}
	wg.Wait()
}

// publishFence publishes one more message, whose acknowledgement means that the
// server has read all before it.
func (p *publisher) publishFence() error {
	_, err := p.client.Publish(p.bench.ctx, p.fence)
	return err
}

// pacer keeps a publisher to its part of -rate.
type pacer struct {
	began time.Time
	every time.Duration
	sent  int64
	timer *time.Timer
}

// newPacer returns nil if there is no -rate.
func (b *bench) newPacer(publishers int) *pacer {
	if b.rate == 0 {
		return nil
	}
	every := time.Duration(float64(publishers) / b.rate * float64(time.Second))
	return &pacer{began: time.Now(), every: every, timer: time.NewTimer(0)}
}

// wait waits for the time of the next message.
func (p *pacer) wait(ctx context.Context) {
	early := time.Until(p.began.Add(time.Duration(p.sent) * p.every))
	p.sent++
	if early <= 0 {
		return
	}
	p.timer.Reset(early)
	select {
	case <-p.timer.C:
	case <-ctx.Done():
	}
}
