// SPDX-License-Identifier: Apache-2.0

package mqtt5_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/mqtttest"
)

// durable sets the options of a client with a store.
func durable(store mqtt5.Store) func(*mqtt5.ClientOptions) {
	return func(o *mqtt5.ClientOptions) {
		o.Durable.Store = store
		o.SessionBehavior = mqtt5.SessionRejoinAlways
		o.Connect.SessionExpiryIntervalSeconds = mqtt5.Ptr[uint32](3600)
	}
}

func TestDurable(t *testing.T) {
	bubble(t, "stored before it is sent, removed when it is done", func(t *testing.T) {
		srv := mqtttest.NewServer(t)
		disk := newMemoryDisk(time.Second)
		d := connected(t, srv, durable(disk.open()))
		for _, qos := range []mqtt5.QoS{mqtt5.AtLeastOnce, mqtt5.ExactlyOnce} {
			begin := time.Now()
			r, err := d.Publish(d.ctx, message(qos, "t", "payload"))
			if err != nil || r.Puback == nil || r.Stage != mqtt5.StageDone || r.Durability != mqtt5.DurabilitySynced {
				t.Fatalf("%+v %v", r, err)
			}
			// QoS 1: the message. QoS 2: then the PUBREC.
			if took := time.Since(begin); took != time.Second*time.Duration(qos) {
				t.Errorf("QoS %d took %v", qos, took)
			}
		}
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if ids := disk.ids(mqtt5.RecordPublish); len(ids) != 0 {
			t.Errorf("left in the store: %v", ids)
		}
	})
	bubble(t, "QoS 0 is not stored", func(t *testing.T) {
		srv := mqtttest.NewServer(t)
		disk := newMemoryDisk(time.Second)
		d := connected(t, srv, durable(disk.open()))
		time.Sleep(5 * time.Second)
		before := disk.count()
		r, err := d.Publish(d.ctx, message(mqtt5.AtMostOnce, "t", "payload"))
		if err != nil || r.Durability != mqtt5.DurabilityNone {
			t.Errorf("%+v %v", r, err)
		}
		if disk.count() != before {
			t.Error("a commit for QoS 0")
		}
	})
	bubble(t, "store and forward", func(t *testing.T) {
		srv := mqtttest.NewServer(t)
		disk := newMemoryDisk(time.Second)
		store := disk.open()
		forward := func(o *mqtt5.ClientOptions) {
			durable(store)(o)
			o.Durable.ReturnWhenStored = true
		}
		d := newDevice(t, srv, forward) // offline
		for i := range 3 {
			r, err := d.Publish(d.ctx, message(mqtt5.AtLeastOnce, "t", fmt.Sprint(i)))
			if err != nil || r.Stage != mqtt5.StageStored || r.Durability != mqtt5.DurabilitySynced || r.Puback != nil {
				t.Fatalf("%+v %v", r, err)
			}
		}
		var once sync.WaitGroup
		once.Add(1)
		d.PublishAsync(message(mqtt5.AtLeastOnce, "t", "3"), func(r *mqtt5.PublishResult, err error) {
			defer once.Done()
			if err != nil || r.Stage != mqtt5.StageStored {
				t.Errorf("%+v %v", r, err)
			}
		})
		once.Wait()
		watcher := watch(t, srv)
		store.kill()
		d.Close()
		store = disk.open()
		next := connected(t, srv, forward)
		time.Sleep(10 * time.Second)
		next.Close()
		watcher.want("0", "1", "2", "3")
		if ids := disk.ids(mqtt5.RecordPublish); len(ids) != 0 {
			t.Errorf("left in the store: %v", ids)
		}
	})
	bubble(t, "another client's store", func(t *testing.T) {
		srv := mqtttest.NewServer(t)
		disk := newMemoryDisk(0)
		d := newDevice(t, srv, durable(disk.open()))
		go d.Publish(d.ctx, message(mqtt5.AtLeastOnce, "t", ""))
		synctest.Wait()
		d.Close()
		o := options(srv)
		durable(disk.open())(&o)
		o.Connect.ClientID = "other"
		if _, err := mqtt5.NewClient(o); !errors.Is(err, mqtt5.ErrStoreMismatch) {
			t.Fatalf("%v", err)
		}
		if ids := disk.ids(mqtt5.RecordPublish); len(ids) != 1 {
			t.Errorf("in the store: %v", ids)
		}
		o.Durable.DiscardMismatch = true
		c, err := mqtt5.NewClient(o)
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
		if ids := disk.ids(mqtt5.RecordPublish); len(ids) != 0 {
			t.Errorf("in the store: %v", ids)
		}
	})
	bubble(t, "without client identifier", func(t *testing.T) {
		o := options(mqtttest.NewServer(t))
		durable(newMemoryDisk(0).open())(&o)
		o.Connect.ClientID = ""
		var invalid *mqtt5.ValidationError
		if _, err := mqtt5.NewClient(o); !errors.As(err, &invalid) || invalid.Problems[0].Field != "Connect.ClientID" {
			t.Error(err)
		}
	})
}

func TestDurable_failure(t *testing.T) {
	bubble(t, "refuse", func(t *testing.T) {
		srv := mqtttest.NewServer(t)
		disk := newMemoryDisk(time.Second)
		var failed []*mqtt5.StoreFailed
		d := connected(t, srv, func(o *mqtt5.ClientOptions) {
			durable(disk.open())(o)
			o.OnStoreFailed = func(f *mqtt5.StoreFailed) { failed = append(failed, f) }
		})
		disk.setFail(mqtt5.ErrStoreFull)
		_, err := d.Publish(d.ctx, message(mqtt5.AtLeastOnce, "t", ""))
		if !errors.Is(err, mqtt5.ErrStoreFull) || !errors.Is(err, mqtt5.ErrNotSent) {
			t.Errorf("full: %v", err)
		}
		synctest.Wait()
		if len(failed) == 0 || !errors.Is(failed[0].Err, mqtt5.ErrStoreFull) {
			t.Errorf("reports: %v", failed)
		}
		disk.setFail(nil)
		if _, err := d.Publish(d.ctx, message(mqtt5.AtLeastOnce, "t", "")); err != nil {
			t.Errorf("with room again: %v", err)
		}
		disk.setFail(mqtt5.ErrStoreIO)
		for range 2 { // for good
			if _, err := d.Publish(d.ctx, message(mqtt5.AtLeastOnce, "t", "")); !errors.Is(err, mqtt5.ErrStoreIO) {
				t.Errorf("broken: %v", err)
			}
			disk.setFail(nil)
		}
		if _, err := d.Publish(d.ctx, message(mqtt5.AtMostOnce, "t", "")); err != nil {
			t.Errorf("QoS 0: %v", err)
		}
	})
	bubble(t, "memory", func(t *testing.T) {
		srv := mqtttest.NewServer(t)
		disk := newMemoryDisk(time.Second)
		d := connected(t, srv, func(o *mqtt5.ClientOptions) {
			durable(disk.open())(o)
			o.Durable.OnFailure = mqtt5.MemoryWhenNotStored
		})
		disk.setFail(mqtt5.ErrStoreIO)
		for _, qos := range []mqtt5.QoS{mqtt5.AtLeastOnce, mqtt5.ExactlyOnce} {
			r, err := d.Publish(d.ctx, message(qos, "t", ""))
			if err != nil || r.Puback == nil || r.Durability != mqtt5.DurabilityNone {
				t.Errorf("%+v %v", r, err)
			}
		}
	})
}

// abortingStore is a store whose calls are aborted.
type abortingStore struct {
	mqtt5.Store
	abort func()
	armed atomic.Bool
}

func (s *abortingStore) Commit(changes []mqtt5.StoreChange) (mqtt5.Durability, error) {
	if s.armed.Load() {
		s.abort()
	}
	return s.Store.Commit(changes)
}

func (s *abortingStore) Iterate(kind mqtt5.RecordKind, from uint64, yield func(mqtt5.StoreRecord) bool) error {
	if s.armed.Load() {
		s.abort()
	}
	return s.Store.Iterate(kind, from, yield)
}

// TestDurable_storeAborts checks that a store that panics, or ends its
// goroutine, has failed, and that the client goes on.
func TestDurable_storeAborts(t *testing.T) {
	for name, abort := range map[string]func(){"panics": func() { panic("store") }, "ends the goroutine": runtime.Goexit} {
		bubble(t, name+" at a commit", func(t *testing.T) {
			store := &abortingStore{Store: newMemoryDisk(time.Second).open(), abort: abort}
			failed := 0
			d := connected(t, mqtttest.NewServer(t), func(o *mqtt5.ClientOptions) {
				durable(store)(o)
				o.OnStoreFailed = func(*mqtt5.StoreFailed) { failed++ }
			})
			time.Sleep(time.Minute)
			store.armed.Store(true)
			ctx, cancel := context.WithTimeout(d.ctx, time.Minute)
			defer cancel()
			_, err := d.Publish(ctx, message(mqtt5.AtLeastOnce, "t", ""))
			if err == nil || errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, mqtt5.ErrNotSent) {
				t.Errorf("publish: %v", err)
			}
			want(t, "QoS 0", d.publish(ctx, message(mqtt5.AtMostOnce, "t", "")).wait(), nil)
			want(t, "stop", d.Stop(ctx, nil), nil)
			want(t, "close", d.Close(), nil)
			synctest.Wait()
			if failed == 0 {
				t.Error("the failure is not reported")
			}
		})
		bubble(t, name+" at reading more", func(t *testing.T) {
			store := &abortingStore{Store: newMemoryDisk(0).open(), abort: abort}
			failed := 0
			srv := mqtttest.NewServer(t)
			d := newDevice(t, srv, func(o *mqtt5.ClientOptions) {
				durable(store)(o)
				o.Durable.ReturnWhenStored = true
				o.OnStoreFailed = func(*mqtt5.StoreFailed) { failed++ }
			})
			for range 2000 {
				want(t, "publish", d.publish(d.ctx, message(mqtt5.AtLeastOnce, "t", "")).wait(), nil)
			}
			store.armed.Store(true)
			d.start()
			time.Sleep(time.Second)
			synctest.Wait()
			if failed == 0 {
				t.Error("the failure is not reported")
			}
			want(t, "close", d.Close(), nil)
		})
	}
}

func TestDurable_expiry(t *testing.T) {
	bubble(t, "dropped and reported", func(t *testing.T) {
		srv := mqtttest.NewServer(t)
		disk := newMemoryDisk(time.Second)
		var undelivered []*mqtt5.Undelivered
		forward := func(o *mqtt5.ClientOptions) {
			durable(disk.open())(o)
			o.Durable.ReturnWhenStored = true
			o.OnUndelivered = func(u *mqtt5.Undelivered) { undelivered = append(undelivered, u) }
		}
		d := newDevice(t, srv, forward)
		for _, seconds := range []uint32{10, 100} {
			p := message(mqtt5.AtLeastOnce, "t", fmt.Sprint(seconds))
			p.MessageExpirySeconds = &seconds
			if _, err := d.Publish(d.ctx, p); err != nil {
				t.Fatal(err)
			}
		}
		d.Close()
		time.Sleep(40 * time.Second)
		watcher := watch(t, srv)
		next := connected(t, srv, forward)
		time.Sleep(10 * time.Second)
		next.Close()
		watcher.want("100")
		if left := *watcher.packets[0].MessageExpirySeconds; left < 55 || left > 60 {
			t.Errorf("%d seconds left of 100 after 41", left)
		}
		if len(undelivered) != 1 || string(undelivered[0].Payload) != "10" || !errors.Is(undelivered[0].Err, mqtt5.ErrMessageExpired) {
			t.Errorf("%+v", undelivered)
		}
	})
}

// TestDurable_backlog queues more than the client has in memory.
func TestDurable_backlog(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		srv := mqtttest.NewServer(t)
		disk := newMemoryDisk(0)
		forward := func(o *mqtt5.ClientOptions) {
			durable(disk.open())(o)
			o.Durable.ReturnWhenStored = true
		}
		d := newDevice(t, srv, forward)
		const n = 3000
		var want []string
		for i := range n {
			d.PublishAsync(message(mqtt5.AtLeastOnce, "t", fmt.Sprint(i)), nil)
			want = append(want, fmt.Sprint(i))
		}
		synctest.Wait()
		watcher := watch(t, srv)
		d.Close()
		next := connected(t, srv, forward)
		for range 10 { // behind the backlog
			want = append(want, fmt.Sprint(len(want)))
			if _, err := next.Publish(next.ctx, message(mqtt5.AtLeastOnce, "t", want[len(want)-1])); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Minute)
		next.Close()
		watcher.want(want...)
	})
}

// slowReader is a store that takes a second to pass what it has read.
type slowReader struct{ *memoryStore }

func (s slowReader) Iterate(kind mqtt5.RecordKind, from uint64, yield func(mqtt5.StoreRecord) bool) error {
	var list []mqtt5.StoreRecord
	if err := s.memoryStore.Iterate(kind, from, func(r mqtt5.StoreRecord) bool {
		list = append(list, r)
		return true
	}); err != nil {
		return err
	}
	if len(list) > 0 {
		time.Sleep(time.Second)
	}
	for _, r := range list {
		if !yield(r) {
			break
		}
	}
	return nil
}

// TestDurable_withdrawnFromTheBacklog withdraws a publish while the store reads
// it.
func TestDurable_withdrawnFromTheBacklog(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		srv := mqtttest.NewServer(t)
		disk := newMemoryDisk(0)
		d := newDevice(t, srv, durable(slowReader{disk.open()}))
		var want []string
		for i := range 1100 {
			d.PublishAsync(message(mqtt5.AtLeastOnce, "t", fmt.Sprint(i)), nil)
			want = append(want, fmt.Sprint(i))
		}
		ctx, cancel := context.WithCancel(d.ctx)
		last := d.do(func() error {
			_, err := d.Publish(ctx, message(mqtt5.AtLeastOnce, "t", "withdrawn"))
			return err
		})
		synctest.Wait()
		watcher := watch(t, srv)
		d.start()
		time.Sleep(500 * time.Millisecond)
		cancel()
		if err := last.wait(); !errors.Is(err, mqtt5.ErrNotSent) || !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		time.Sleep(time.Minute)
		watcher.want(want...)
		if ids := disk.ids(mqtt5.RecordPublish); len(ids) > 0 {
			t.Errorf("the store still has %v", ids)
		}
	})
}

// onlooker is a client that sees what the broker routes.
type onlooker struct {
	t       *testing.T
	mu      sync.Mutex
	packets []mqtt5.Message
}

func watch(t *testing.T, srv *mqtttest.Server) *onlooker {
	w := &onlooker{t: t}
	d := connected(t, srv, func(o *mqtt5.ClientOptions) {
		o.Connect.ClientID = "watcher"
		o.OnMessage = func(_ context.Context, m mqtt5.Message) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.packets = append(w.packets, m)
		}
	})
	if _, err := d.Subscribe(d.ctx, &mqtt5.SubscribePacket{Subscriptions: []mqtt5.Subscription{{TopicFilter: "t", QoS: mqtt5.ExactlyOnce}}}); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *onlooker) payloads() []string {
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	var list []string
	for _, m := range w.packets {
		list = append(list, string(m.Payload))
	}
	return list
}

func (w *onlooker) want(payloads ...string) {
	w.t.Helper()
	if got := w.payloads(); !slices.Equal(got, payloads) {
		w.t.Errorf("%d messages %.200s, want %d %.200s", len(got), fmt.Sprint(got), len(payloads), fmt.Sprint(payloads))
	}
}

// TestDurable_kills publishes a series while the process is killed and
// connections are lost at random, and checks the series at the broker.
func TestDurable_kills(t *testing.T) {
	for seed := range uint64(12) {
		bubble(t, fmt.Sprint(seed), func(t *testing.T) { killSeries(t, rand.New(rand.NewPCG(seed, 20))) })
	}
}

func killSeries(t *testing.T, random *rand.Rand) {
	srv := mqtttest.NewServer(t)
	disk := newMemoryDisk(10 * time.Millisecond)
	watcher := watch(t, srv)
	number := 0
	accepted := map[string]mqtt5.QoS{}
	for range 12 {
		store := disk.open()
		store.random = random
		o := options(srv)
		durable(store)(&o)
		o.Durable.ReturnWhenStored = random.IntN(2) == 0
		o.MinReconnectDelay = 10 * time.Millisecond
		o.Connect.ReceiveMaximum = mqtt5.Ptr[uint16](10)
		var mu sync.Mutex
		var transport net.Conn
		o.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			nc, err := srv.DialContext(ctx, network, address)
			mu.Lock()
			defer mu.Unlock()
			transport = nc
			return nc, err
		}
		c, err := mqtt5.NewClient(o)
		if err != nil {
			t.Fatal(err)
		}
		c.Start()
		ctx, cancel := context.WithCancel(context.Background())
		var wg sync.WaitGroup
		begin := func(qos mqtt5.QoS, payload string) {
			wg.Go(func() {
				if _, err := c.Publish(ctx, message(qos, "t", payload)); err == nil {
					mu.Lock()
					defer mu.Unlock()
					accepted[payload] = qos
				}
			})
			synctest.Wait() // so that the order of submission is known
		}
		for range random.IntN(40) {
			number++
			begin(mqtt5.QoS(1+random.IntN(2)), strconv.Itoa(number))
			time.Sleep(time.Duration(random.IntN(12)) * time.Millisecond)
			if random.IntN(10) == 0 { // the disk is full for a while
				disk.setFail(mqtt5.ErrStoreFull)
				full := time.Duration(random.IntN(100)) * time.Millisecond
				time.AfterFunc(full, func() { disk.setFail(nil) })
			}
			if random.IntN(15) == 0 {
				mu.Lock()
				if transport != nil {
					transport.Close()
				}
				mu.Unlock()
			}
		}
		time.Sleep(time.Duration(random.IntN(30)) * time.Millisecond)
		store.kill()
		c.Close()
		wg.Wait()
		cancel()
	}
	disk.setFail(nil)
	o := options(srv)
	durable(disk.open())(&o)
	c, err := mqtt5.NewClient(o)
	if err != nil {
		t.Fatal(err)
	}
	c.Start()
	time.Sleep(time.Minute)
	c.Close()
	if ids := disk.ids(mqtt5.RecordPublish); len(ids) != 0 {
		t.Errorf("left in the store: %v", ids)
	}
	got := watcher.payloads()
	count := map[string]int{}
	last := map[mqtt5.QoS]int{}
	for _, m := range watcher.packets {
		p := string(m.Payload)
		if count[p]++; count[p] > 1 {
			if m.QoS == mqtt5.ExactlyOnce {
				t.Errorf("QoS 2 message %s came twice", p)
			}
			continue
		}
		n, _ := strconv.Atoi(p)
		if n < last[m.QoS] {
			t.Errorf("QoS %d: %d after %d in %s", m.QoS, n, last[m.QoS], strings.Join(got, " "))
		}
		last[m.QoS] = n
	}
	for p, qos := range accepted {
		if count[p] == 0 {
			t.Errorf("QoS %d message %s was accepted and is lost", qos, p)
		}
	}
	if len(accepted) < 30 {
		t.Errorf("%d messages only", len(accepted))
	}
}
