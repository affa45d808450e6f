// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/mqtttest"
)

var (
	stressFor  = flag.Duration("stress", 2*time.Second, "how long each case of TestStress disturbs")
	stressSeed = flag.Uint64("stress-seed", 1, "seed of TestStress")
)

// TestStress sends messages through a network that cuts, stalls and dribbles,
// between clients
// that are stopped and started, and whose handlers block, take
// acknowledgements, publish and end their goroutine. What was acknowledged has
// to arrive, QoS 2 once, all in order and whole; what was not sent must not;
// and in the end nothing is left of it.
func TestStress(t *testing.T) {
	for _, borrow := range []bool{false, true} {
		t.Run(fmt.Sprintf("borrow %v", borrow), func(t *testing.T) {
			before := footprint()
			t.Run("run", func(t *testing.T) { newStress(t, borrow).run() })
			deadline := time.Now().Add(patience)
			for {
				now := footprint()
				left := before.exceeded(now)
				if left == "" {
					return
				}
				if time.Now().After(deadline) {
					stacks := make([]byte, 1<<20)
					t.Fatalf("left behind: %s\n%s", left, stacks[:runtime.Stack(stacks, true)])
				}
				time.Sleep(20 * time.Millisecond)
			}
		})
	}
}

// usage is what a process holds.
type usage struct{ goroutines, descriptors, heap int }

func footprint() usage {
	runtime.GC()
	runtime.GC() // for what pools hold
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	files, _ := os.ReadDir("/proc/self/fd") // none on systems without it
	return usage{runtime.NumGoroutine(), len(files), int(m.HeapAlloc)}
}

func (u usage) exceeded(now usage) string {
	switch {
	case now.goroutines > u.goroutines:
		return fmt.Sprintf("%d goroutines, %d before", now.goroutines, u.goroutines)
	case now.descriptors > u.descriptors:
		return fmt.Sprintf("%d descriptors, %d before", now.descriptors, u.descriptors)
	case now.heap > u.heap+8<<20:
		return fmt.Sprintf("%d bytes of heap, %d before", now.heap, u.heap)
	}
	return ""
}

// stress is one run.
type stress struct {
	t       *testing.T
	borrow  bool
	address string
	relay   *relay
	server  *mqtttest.Server
	calm    atomic.Bool // nothing is disturbed any more

	mu      sync.Mutex
	random  *rand.Rand
	sent    map[uint32]*sentMessage
	last    [3]uint32 // serial of the message that arrived last, by QoS
	kept    []mqtt5.Message
	arrived int
}

// sentMessage is the state of a message. stress.mu guards it.
type sentMessage struct {
	qos       mqtt5.QoS
	done      bool
	err       error
	delivered int // handed to a handler, which did not fail to acknowledge it
	arrived   bool
}

func newStress(t *testing.T, borrow bool) *stress {
	s := &stress{t: t, borrow: borrow, relay: newRelay(t), random: rand.New(rand.NewPCG(*stressSeed, 7)), sent: map[uint32]*sentMessage{}}
	s.server = mqtttest.NewServer(t, mqtttest.JournalLimit(2000))
	address, err := s.server.Listen()
	if err != nil {
		t.Fatal(err)
	}
	s.address = address
	return s
}

// chance draws a number below n.
func (s *stress) chance(n int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.random.IntN(n)
}

func (s *stress) pause(most time.Duration) { time.Sleep(time.Duration(s.chance(int(most)))) }

func (s *stress) client(id string, change func(*mqtt5.ClientOptions)) *mqtt5.Client {
	o := mqtt5.ClientOptions{
		Address: s.address,
		Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			c, err := s.relay.dial(ctx, network, address)
			if err == nil && s.chance(3) == 0 && !s.calm.Load() {
				c = &dribbling{Conn: c}
			}
			return c, err
		},
		Connect: mqtt5.ConnectPacket{ClientID: id, KeepAliveSeconds: mqtt5.Ptr[uint16](1),
			SessionExpiryIntervalSeconds: mqtt5.Ptr[uint32](3600)},
		SessionBehavior:   mqtt5.SessionRejoinAlways,
		MinReconnectDelay: time.Millisecond, MaxReconnectDelay: 20 * time.Millisecond,
		PoisonPublishLimit: -1,
		AckTimeout:         -1,
		BorrowPayloads:     s.borrow,
		MaxPendingMessages: 32,
		OnPanic:            func(e *mqtt5.PanicError) { s.t.Errorf("%v\n%s", e, e.Stack) },
	}
	change(&o)
	c, err := mqtt5.NewClient(o)
	if err != nil {
		s.t.Fatal(err)
	}
	return c
}

// dribbling moves a few bytes at a time, and hides that there is a socket.
type dribbling struct{ net.Conn }

func (d *dribbling) Read(b []byte) (int, error) { return d.Conn.Read(b[:min(len(b), 700)]) }

func (d *dribbling) Write(b []byte) (n int, err error) {
	for n < len(b) && err == nil {
		var k int
		k, err = d.Conn.Write(b[n:min(len(b), n+900)])
		n += k
		runtime.Gosched()
	}
	return n, err
}

func (s *stress) run() {
	defer s.server.Close()
	defer s.relay.close()
	ctx, cancel := context.WithTimeout(s.t.Context(), *stressFor+patience)
	defer cancel()
	sender := s.client("sender", func(o *mqtt5.ClientOptions) {
		o.MaxQueuedOperations = 200
	})
	var receiver *mqtt5.Client
	receiver = s.client("receiver", func(o *mqtt5.ClientOptions) {
		o.OnMessage = func(ctx context.Context, m mqtt5.Message) { s.handle(ctx, receiver, m) }
	})
	victim := s.client("victim", func(o *mqtt5.ClientOptions) {})
	for _, c := range []*mqtt5.Client{sender, receiver, victim} {
		defer c.Close()
		if err := c.Start(); err != nil {
			s.t.Fatal(err)
		}
	}
	if _, err := receiver.Subscribe(ctx, &mqtt5.SubscribePacket{Subscriptions: []mqtt5.Subscription{{TopicFilter: "s/#", QoS: mqtt5.ExactlyOnce}}}); err != nil {
		s.t.Fatal(err)
	}
	var work sync.WaitGroup
	work.Go(func() { s.disturbNetwork() })
	work.Go(func() { s.disturbClient(ctx, receiver) })
	work.Go(func() { s.disturbClient(ctx, sender) })
	for range 4 {
		work.Go(func() { s.callFromEverywhere(ctx, victim) })
	}
	for qos := range mqtt5.QoS(3) {
		work.Go(func() { s.publishAll(ctx, sender, qos) })
	}
	for end := time.Now().Add(*stressFor); time.Now().Before(end) && !s.t.Failed(); {
		time.Sleep(10 * time.Millisecond)
	}
	s.calm.Store(true)
	work.Wait()
	s.relay.hold(toServer, false)
	s.relay.hold(toClient, false)
	s.relay.limit(func() (direction, int, bool) { return 0, 0, false })
	for _, c := range []*mqtt5.Client{sender, receiver} {
		if err := c.Start(); err != nil {
			s.t.Fatal(err)
		}
	}
	s.relay.cut() // dribbling ends, too
	s.check(ctx, sender)
	for _, c := range []*mqtt5.Client{sender, receiver} {
		if err := c.Stop(ctx, nil); err != nil {
			s.t.Errorf("stop: %v", err)
		}
	}
}

// disturbNetwork cuts, holds and limits connections.
func (s *stress) disturbNetwork() {
	for !s.calm.Load() {
		s.pause(60 * time.Millisecond)
		switch s.chance(8) {
		case 0, 1:
			s.relay.cut()
		case 2, 3:
			d := direction(s.chance(2))
			s.relay.hold(d, true)
			s.pause(40 * time.Millisecond)
			s.relay.hold(d, false)
		case 4:
			s.relay.limit(func() (direction, int, bool) {
				return direction(s.chance(2)), s.chance(100_000), s.chance(2) == 0 && !s.calm.Load()
			})
		case 5:
			s.relay.refuse(true)
			s.pause(20 * time.Millisecond)
			s.relay.refuse(false)
		}
	}
}

// disturbClient stops and starts a client whose messages count.
func (s *stress) disturbClient(ctx context.Context, c *mqtt5.Client) {
	for !s.calm.Load() {
		s.pause(200 * time.Millisecond)
		s.stop(ctx, c)
		s.pause(10 * time.Millisecond)
		if err := c.Start(); err != nil {
			s.t.Errorf("start: %v", err)
		}
	}
}

// stop stops a client with a context that ends soon, or has ended.
func (s *stress) stop(ctx context.Context, c *mqtt5.Client) {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(s.chance(int(30*time.Millisecond))))
	defer cancel()
	if err := c.Stop(ctx, nil); err != nil && ctx.Err() == nil {
		s.t.Errorf("stop: %v", err)
	}
}

// callFromEverywhere makes calls of all sorts, whose results do not matter, as
// long as they come.
func (s *stress) callFromEverywhere(ctx context.Context, c *mqtt5.Client) {
	for !s.calm.Load() {
		s.pause(3 * time.Millisecond)
		ctx, cancel := context.WithTimeout(ctx, time.Duration(s.chance(int(20*time.Millisecond))))
		switch s.chance(10) {
		case 0:
			s.stop(ctx, c)
		case 1, 2, 3:
			c.Start()
		case 4:
			c.WaitConnected(ctx)
		case 5:
			c.Subscribe(ctx, &mqtt5.SubscribePacket{Subscriptions: []mqtt5.Subscription{{TopicFilter: "v/#", QoS: mqtt5.AtLeastOnce}}})
		case 6:
			c.Unsubscribe(ctx, &mqtt5.UnsubscribePacket{TopicFilters: []string{"v/#"}})
		case 7:
			c.PublishAsync(&mqtt5.PublishPacket{Topic: "v/a", QoS: mqtt5.QoS(s.chance(3)), Payload: make([]byte, s.chance(50_000))}, nil)
		default:
			c.Publish(ctx, &mqtt5.PublishPacket{Topic: "v/a", QoS: mqtt5.QoS(s.chance(3)), Payload: make([]byte, s.chance(1000))})
		}
		cancel()
		c.Stats()
		c.State()
	}
}

// headerSize is that of a payload: serial number and checksum of the rest.
const headerSize = 8

func (s *stress) payload(serial uint32) []byte {
	size := 10 + s.chance(200)
	switch s.chance(40) {
	case 0:
		size = s.chance(200_000)
	case 1, 2:
		size = s.chance(40_000)
	}
	b := make([]byte, headerSize+size)
	for i := range b[headerSize:] {
		b[headerSize+i] = byte(int(serial) * (i + 1) >> 3)
	}
	binary.BigEndian.PutUint32(b, serial)
	binary.BigEndian.PutUint32(b[4:], crc32.ChecksumIEEE(b[headerSize:]))
	return b
}

func serialOf(b []byte) (uint32, error) {
	if len(b) < headerSize || crc32.ChecksumIEEE(b[headerSize:]) != binary.BigEndian.Uint32(b[4:]) {
		return 0, fmt.Errorf("a payload of %d bytes is damaged: %.16x", len(b), b)
	}
	return binary.BigEndian.Uint32(b), nil
}

// publishAll submits messages of one QoS in order.
func (s *stress) publishAll(ctx context.Context, c *mqtt5.Client, qos mqtt5.QoS) {
	for serial := uint32(1); !s.calm.Load(); serial++ {
		key := serial*3 + uint32(qos)
		m := &sentMessage{qos: qos}
		s.mu.Lock()
		s.sent[key] = m
		s.mu.Unlock()
		p := &mqtt5.PublishPacket{Topic: "s/" + string('0'+rune(qos)), QoS: qos, Payload: s.payload(key)}
		done := func(_ *mqtt5.PublishResult, err error) {
			s.mu.Lock()
			defer s.mu.Unlock()
			if m.done {
				s.t.Errorf("message %d is done twice: %v, %v", key, m.err, err)
			}
			m.done, m.err = true, err
		}
		if s.chance(3) == 0 {
			short, cancel := context.WithTimeout(ctx, time.Duration(s.chance(int(100*time.Millisecond))))
			r, err := c.Publish(short, p)
			cancel()
			done(r, err)
		} else {
			c.PublishAsync(p, done)
		}
		s.pause(time.Millisecond)
	}
}

// handle is the handler of the receiver.
func (s *stress) handle(ctx context.Context, c *mqtt5.Client, m mqtt5.Message) {
	key, err := serialOf(m.Payload)
	if err != nil {
		s.t.Error(err)
		return
	}
	number := s.arrive(key, m)
	switch s.chance(30) {
	case 0:
		s.pause(5 * time.Millisecond)
		if again, err := serialOf(m.Payload); err != nil || again != key {
			s.t.Errorf("the payload changed during the call: %v", err)
		}
	case 1, 2:
		ack, err := m.TakeAck()
		if err != nil {
			s.forget(key) // the server sends it again
			return
		}
		s.forget(key) // until it is accepted, the message may come again
		later := func() {
			s.pause(3 * time.Millisecond)
			if ack.Accept() == nil {
				s.accept(key)
			}
		}
		if number%2 == 0 {
			later()
		} else {
			go later()
		}
	case 3, 4:
		short, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
		defer cancel()
		c.Publish(short, &mqtt5.PublishPacket{Topic: "echo", QoS: mqtt5.QoS(s.chance(3)), Payload: m.Payload[:headerSize]})
	case 5:
		c.PublishAsync(&mqtt5.PublishPacket{Topic: "echo", QoS: mqtt5.QoS(s.chance(3))}, func(*mqtt5.PublishResult, error) {
			if s.chance(2) == 0 {
				runtime.Goexit()
			}
		})
	case 6:
		if s.chance(5) == 0 && !s.calm.Load() {
			s.stop(ctx, c)
			c.Start()
		}
	case 7:
		runtime.Goexit()
	}
}

// arrive notes a message.
func (s *stress) arrive(key uint32, m mqtt5.Message) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.arrived++
	sent := s.sent[key]
	switch {
	case sent == nil:
		s.t.Errorf("message %d was never sent", key)
		return s.arrived
	case sent.qos == 2 && sent.delivered > 0:
		s.t.Errorf("QoS 2 message %d arrives again", key)
	case sent.qos == 0 && sent.delivered > 0:
		s.t.Errorf("QoS 0 message %d arrives again", key)
	case !sent.arrived && key < s.last[sent.qos]:
		s.t.Errorf("%v message %d arrives first after %d", sent.qos, key, s.last[sent.qos])
	}
	sent.delivered++
	sent.arrived = true
	s.last[sent.qos] = max(s.last[sent.qos], key)
	if !s.borrow {
		s.kept = append(s.kept, m)
	}
	if len(s.kept) > 200 {
		s.lookAtKept()
	}
	return s.arrived
}

func (s *stress) lookAtKept() {
	for _, m := range s.kept {
		if _, err := serialOf(m.Payload); err != nil {
			s.t.Errorf("kept: %v", err)
		}
	}
	s.kept = nil
}

// forget notes that the acknowledgement of a message was taken over.
func (s *stress) forget(key uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if m := s.sent[key]; m != nil && m.qos == 2 {
		m.delivered--
	}
}

// accept notes that the acknowledgement that was taken over was given.
func (s *stress) accept(key uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if m := s.sent[key]; m != nil && m.qos == 2 {
		if m.delivered++; m.delivered > 1 {
			s.t.Errorf("QoS 2 message %d arrived again although it was accepted", key)
		}
	}
}

// check waits until all is done, and compares what was sent with what arrived.
func (s *stress) check(ctx context.Context, sender *mqtt5.Client) {
	lost := ""
	for ctx.Err() == nil {
		if lost = s.missing(); lost == "" {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lookAtKept()
	if lost != "" {
		s.t.Errorf("%s; the sender: %+v", lost, sender.Stats())
	}
	s.t.Logf("%d messages, %d deliveries, %d connections of the sender", len(s.sent), s.arrived, sender.Stats().Connections)
}

// missing names a message that has yet to be done or to arrive.
func (s *stress) missing() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, m := range s.sent {
		switch {
		case !m.done:
			return fmt.Sprintf("message %d with %v is not done", key, m.qos)
		case m.err == nil && m.qos > 0 && m.delivered == 0:
			return fmt.Sprintf("message %d with %v was acknowledged and did not arrive", key, m.qos)
		case errors.Is(m.err, mqtt5.ErrNotSent) && m.delivered > 0:
			s.t.Errorf("message %d arrived, and was not sent: %v", key, m.err)
			m.err = io.EOF
		}
	}
	return ""
}
