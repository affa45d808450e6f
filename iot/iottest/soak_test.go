// SPDX-License-Identifier: Apache-2.0

package iottest_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/iot/iottest"
)

var (
	soakFor  = flag.Duration("soak", 3*time.Second, "how long the soak lasts")
	soakGap  = flag.Duration("soak.gap", 0, "mean pause of a client of the soak between two actions")
	loadFull = flag.Bool("load", false, "the full load: 2,000 idle clients, 6,000 garbage connections, for a minute")
)

// heapInUse is what lives after a collection, in MiB.
func heapInUse() float64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc) / (1 << 20)
}

// goroutinesOf returns the stacks of goroutines of the core.
func goroutinesOf() string {
	buf := make([]byte, 16<<20)
	var left []string
	for _, g := range strings.Split(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
		if strings.Contains(g, "iottest.(*") {
			left = append(left, g)
		}
	}
	return strings.Join(left, "\n\n")
}

// expectNoGoroutines waits until the goroutines of a closed core are gone.
func expectNoGoroutines(t *testing.T) {
	t.Helper()
	for i := 0; ; i++ { // those of net/http end a moment after
		left := goroutinesOf()
		if left == "" {
			return
		}
		if i == 2000 {
			t.Fatalf("left behind:\n%.5000s", left)
		}
		time.Sleep(time.Millisecond)
	}
}

// peer is a client that reports errors instead of ending the test, for use from
// goroutines.
type peer struct {
	nc net.Conn
	r  *bufio.Reader
}

func dialPeer(addr, id string, clean bool, expiry int) (*peer, error) {
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	p := &peer{nc, bufio.NewReader(nc)}
	flags := byte(0)
	if clean {
		flags = 2
	}
	body := cat(str("MQTT"), []byte{5, flags}, u16(0), []byte{5}, prop(pSessionExpiry, u32(expiry)), str(id))
	if err = p.write(tConnect<<4, body); err == nil {
		var kind byte
		var ack []byte
		if kind, ack, err = p.read(); err == nil && (kind>>4 != tConnack || ack[1] != 0) {
			err = fmt.Errorf("no CONNACK: %x %x", kind, ack)
		}
	}
	if err != nil {
		_ = nc.Close()
		return nil, err
	}
	return p, nil
}

func (p *peer) write(first byte, body []byte) error {
	_, err := p.nc.Write(cat([]byte{first}, varint(len(body)), body))
	return err
}

func (p *peer) subscribe(filter string, qos byte) error {
	return p.write(tSubscribe<<4|2, cat(u16(1), []byte{0}, str(filter), []byte{qos}))
}

func (p *peer) publish(topic string, payload []byte, qos byte, id int) error {
	var pid []byte
	if qos > 0 {
		pid = u16(id)
	}
	return p.write(tPublish<<4|qos<<1, cat(str(topic), pid, []byte{0}, payload))
}

func (p *peer) read() (byte, []byte, error) {
	first, err := p.r.ReadByte()
	if err != nil {
		return 0, nil, err
	}
	n, err := binary.ReadUvarint(p.r) // the same form as in MQTT
	if err != nil {
		return 0, nil, err
	}
	body := make([]byte, n)
	_, err = io.ReadFull(p.r, body)
	return first, body, err
}

// serve reads and acknowledges until the connection ends.
func (p *peer) serve() {
	for {
		first, body, err := p.read()
		if err != nil {
			return
		}
		if first>>4 == tPublish && first&6 != 0 {
			n := int(binary.BigEndian.Uint16(body))
			if p.write(tPuback<<4, body[2+n:4+n]) != nil {
				return
			}
		}
	}
}

// Idle clients, clients that do not read, and garbage at once: memory is
// bounded, and Close leaves nothing behind.
func TestLoad(t *testing.T) {
	idle, slow, garbage, lasting := 200, 5, 600, time.Duration(0)
	if *loadFull {
		idle, slow, garbage, lasting = 2000, 50, 6000, time.Minute
	}
	c, err := iottest.New(iottest.Options{PlainTCP: true})
	if err != nil {
		t.Fatal(err)
	}
	before := heapInUse()
	end := time.Now().Add(lasting)
	var peers []*peer
	connect := func(id, filter string) *peer {
		p, err := dialPeer(c.TCPAddr(), id, true, 0)
		if err != nil {
			t.Fatal(err)
		}
		if err := p.subscribe(filter, 0); err != nil {
			t.Fatal(err)
		}
		peers = append(peers, p)
		return p
	}
	var wg sync.WaitGroup
	for i := range idle {
		p := connect(fmt.Sprint("idle-", i), "idle/"+fmt.Sprint(i))
		wg.Go(p.serve)
	}
	for i := range slow {
		connect(fmt.Sprint("slow-", i), "flood")
	}
	addrs := []string{c.Addr(), c.MTLSAddr(), c.TCPAddr()}
	var done atomic.Int64
	gap := time.NewTicker(max(time.Microsecond, lasting/time.Duration(garbage)))
	defer gap.Stop()
	var ends sync.WaitGroup
	limit := make(chan struct{}, 200)
	for i := range garbage {
		limit <- struct{}{}
		ends.Go(func() {
			defer func() { <-limit }()
			nc, err := net.Dial("tcp", addrs[i%3])
			if err != nil {
				t.Error(err)
				return
			}
			defer nc.Close()
			junk := make([]byte, rand.IntN(2000))
			for j := range junk {
				junk[j] = byte(rand.Uint32())
			}
			_, _ = nc.Write(junk)
			done.Add(1)
		})
		if i%20 == 0 {
			if err := c.Publish(iottest.Message{Topic: "flood", Payload: make([]byte, 100<<10)}); err != nil {
				t.Fatal(err)
			}
		}
		if lasting > 0 {
			<-gap.C
		}
	}
	ends.Wait()
	for time.Now().Before(end) {
		<-gap.C
	}
	probe, err := dialPeer(c.TCPAddr(), "probe", true, 0)
	if err != nil {
		t.Fatal(err)
	}
	peers = append(peers, probe)
	began := time.Now()
	if err := probe.write(tPingreq<<4, nil); err != nil {
		t.Fatal(err)
	}
	if first, _, err := probe.read(); err != nil || first>>4 != tPingresp {
		t.Fatalf("%x %v", first, err)
	}
	after := heapInUse()
	t.Logf("%d idle, %d slow, %d garbage: heap %.1f MiB, was %.1f; %d goroutines; ping %v", idle, slow, done.Load(), after, before,
		runtime.NumGoroutine(), time.Since(began))
	// 16 MiB for the log of events, 1 MiB for each slow client and as much
	// again, 64 KiB for each idle one.
	if allowed := before + 16 + 2*float64(slow) + float64(idle)/16 + 32; after > allowed {
		t.Errorf("the heap grew to %.1f MiB, allowed are %.1f", after, allowed)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	for _, p := range peers {
		_ = p.nc.Close()
	}
	wg.Wait()
	expectNoGoroutines(t)
}

// Clients that come and go, publish, subscribe, keep sessions and break off at
// random: memory is flat.
func TestSoak(t *testing.T) {
	c, err := iottest.New(iottest.Options{PlainTCP: true, Dir: t.TempDir(), EventBytes: 1 << 20, Quotas: iottest.Quotas{MaxQueuedBytes: 256 << 10},
		Services: iottest.ServiceOptions{ShadowMaxCount: 100, JobMaxFinished: 50}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), *soakFor)
	defer cancel()
	var sessions, messages atomic.Int64
	var wg sync.WaitGroup
	for worker := range 16 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(worker), uint64(time.Now().UnixNano())))
			for ctx.Err() == nil {
				id := fmt.Sprintf("soak-%d-%d", worker, r.IntN(20))
				p, err := dialPeer(c.TCPAddr(), id, r.IntN(3) == 0, r.IntN(5))
				if err != nil {
					t.Error(err)
					return
				}
				sessions.Add(1)
				for i := range r.IntN(60) {
					time.Sleep(time.Duration(r.Int64N(2*int64(*soakGap) + 1)))
					switch r.IntN(10) {
					case 0:
						err = p.subscribe(fmt.Sprintf("soak/%d/+", r.IntN(16)), byte(r.IntN(2)))
					case 1:
						err = p.subscribe(fmt.Sprintf("$share/g%d/soak/#", r.IntN(4)), 1)
					case 2:
						err = c.Publish(iottest.Message{Topic: fmt.Sprint("soak/retained/", r.IntN(50)), Payload: make([]byte, r.IntN(2000)), Retain: true, Expiry: time.Minute})
					case 3:
						name := fmt.Sprint(r.IntN(30)) // of 480 shadows 100 find room
						if _, refused := c.UpdateShadow(fmt.Sprint("thing-", worker), name, fmt.Appendf(nil, `{"state":{"reported":{"n":%d}}}`, i)); refused != nil {
							_, _ = c.DeleteShadow(fmt.Sprint("thing-", worker), fmt.Sprint(r.IntN(30)))
						}
					case 4:
						var job string
						if job, err = c.CreateJob(iottest.Job{Things: []string{fmt.Sprint("thing-", worker)}, Document: "{}"}); err == nil {
							err = c.CancelJob(job, true)
						}
					case 5:
						err = p.publish(fmt.Sprintf("$aws/things/thing-%d/defender/metrics/json", worker),
							[]byte(`{"header":{"report_id":1,"version":"1.0"},"metrics":{}}`), 0, 0)
					default:
						err = p.publish(fmt.Sprintf("soak/%d/x", r.IntN(16)), make([]byte, r.IntN(4000)), byte(r.IntN(2)), i+1)
						messages.Add(1)
					}
					if err != nil {
						break
					}
				}
				switch r.IntN(4) { // how it ends
				case 0:
					_ = p.write(tDisconnect<<4, nil)
				case 1:
					c.Cut(id)
				case 2:
					_ = p.nc.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
					p.serve()
				}
				_ = p.nc.Close()
			}
		})
	}
	// Half of the time to fill what is bounded; from then on it must not grow.
	var half float64
	for i := range 10 {
		select {
		case <-time.After(*soakFor / 10):
		case <-ctx.Done():
		}
		heap := heapInUse()
		t.Logf("%d/10: heap %.1f MiB, %d connections, %d publishes", i+1, heap, sessions.Load(), messages.Load())
		if i == 4 {
			half = heap
		}
	}
	wg.Wait()
	after := heapInUse()
	t.Logf("%d connections, %d publishes: heap %.1f MiB at half time, %.1f at the end; %d sessions, %d goroutines", sessions.Load(), messages.Load(),
		half, after, len(c.Sessions()), runtime.NumGoroutine())
	// Queues of 320 client ids may hold 256 KiB each.
	if after > half+80 {
		t.Errorf("the heap grew from %.1f to %.1f MiB", half, after)
	}
	c.Advance(2 * time.Hour)
	if left := len(c.Sessions()); left != 0 {
		t.Errorf("%d sessions are left after two hours", left)
	}
	if len(c.RetainedMessages()) != 0 {
		t.Error("retained messages are left after two hours")
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	expectNoGoroutines(t)
}
