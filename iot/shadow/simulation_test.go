// SPDX-License-Identifier: Apache-2.0

package shadow

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/request"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/request/requesttest"
)

var simulations = flag.Int("simulations", 12, "how many random networks TestMirror_simulation tries")

// memoryStore is a store that a crash may cut off.
type memoryStore struct {
	mu    sync.Mutex
	data  []byte
	saves int
}

// handle is the store as one life of a process sees it.
type handle struct {
	store *memoryStore
	dead  bool
	fail  error
}

func (h *handle) Load() ([]byte, error) {
	h.store.mu.Lock()
	defer h.store.mu.Unlock()
	return h.store.data, nil
}

func (h *handle) Save(data []byte) error {
	h.store.mu.Lock()
	defer h.store.mu.Unlock()
	if h.dead {
		return errors.New("the process is dead")
	}
	if h.fail != nil {
		return h.fail
	}
	h.store.saves++
	h.store.data = append([]byte(nil), data...)
	return nil
}

// device is a simulated device: its hardware, which survives crashes, and the
// process that controls it.
type device struct {
	t       *testing.T
	random  *rand.Rand
	service *service
	store   *memoryStore
	options MirrorOptions[json.RawMessage] // those that vary

	mu      sync.Mutex
	has     object         // what the hardware was told
	applied map[string]int // how often each value was applied to each field
	reports map[string]any // the last value that was reported of each sensor

	// The present life.
	conn   *requesttest.Conn
	client *request.Client
	mirror *Mirror[json.RawMessage]
	handle *handle
}

const simulated = "$aws/things/lamp/shadow"

func (d *device) boot() {
	d.conn = d.service.connect()
	client, err := request.New(d.conn, request.Options{Timeout: 5 * time.Second})
	if err != nil {
		d.t.Fatal(err)
	}
	d.client = client
	s, err := Classic[json.RawMessage](client, "lamp")
	if err != nil {
		d.t.Fatal(err)
	}
	d.handle = &handle{store: d.store}
	options := d.options
	options.OnDesired, options.Store = d.apply, d.handle
	m, err := OpenMirror(s, options)
	if err != nil {
		d.t.Fatal(err)
	}
	d.mirror = m
}

// apply is the device's OnDesired.
func (d *device) apply(ctx context.Context, change *Desired[json.RawMessage]) error {
	d.mu.Lock()
	slow, fails := d.random.IntN(4) == 0, d.random.IntN(10) == 0
	d.mu.Unlock()
	if slow {
		select {
		case <-time.After(3 * time.Second):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if fails {
		return errors.New("the hardware is busy")
	}
	o, err := decode(change.JSON)
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.has = merge(d.has, o)
	for path, v := range flatten(o) {
		if v == (branch{}) {
			continue
		}
		if v == nil { // what is wanted again after that may be an old value
			maps.DeleteFunc(d.applied, func(at string, _ int) bool { return strings.HasPrefix(at, path+"=") })
			continue
		}
		at := fmt.Sprint(path, "=", v)
		if d.applied[at]++; d.applied[at] > 1 && !change.Repeated {
			d.t.Errorf("%s was applied twice", at)
		}
	}
	return nil
}

// decide sets a field to what somebody chose at the device.
func (d *device) decide(fields string) {
	o, err := decode([]byte(fields))
	if err != nil {
		d.t.Fatal(err)
	}
	d.mu.Lock()
	d.has = merge(d.has, o)
	d.mu.Unlock()
	if err := d.mirror.Override(json.RawMessage(fields)); err != nil {
		d.t.Fatal(err)
	}
}

// crash ends the process: nothing that it does later reaches the store or the
// service.
func (d *device) crash() {
	d.handle.store.mu.Lock()
	d.handle.dead = true
	d.handle.store.mu.Unlock()
	d.conn.OnPublish(func(*mqtt5.PublishPacket) error { return errors.New("the process is dead") })
	d.conn.Close()
	d.mirror.Close()
	d.client.Close(context.Background())
}

// TestMirror_simulation runs a device and applications that write at the same
// time over a network that delays, reorders, repeats and loses, with crashes.
// Once the faults end, both sides agree.
func TestMirror_simulation(t *testing.T) {
	t.Parallel()
	for seed := range *simulations {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { simulate(t, uint64(seed)) })
		})
	}
}

func simulate(t *testing.T, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 42))
	s := newService(t)
	s.random = rand.New(rand.NewPCG(seed, 43))
	s.delay, s.loseRequest, s.loseAnswer, s.repeat = 500*time.Millisecond, 5, 5, 10
	d := &device{t: t, random: rand.New(rand.NewPCG(seed, 44)), service: s, store: new(memoryStore),
		applied: make(map[string]int), reports: make(map[string]any)}
	d.options.Removals = r.IntN(2) == 0
	d.options.Coalesce = time.Duration(r.IntN(2)) * 300 * time.Millisecond
	d.options.Resync = time.Duration(r.IntN(2)) * 7 * time.Second
	d.boot()
	defer func() { d.crash() }()
	n := 0
	pause := func(limit time.Duration) { time.Sleep(time.Duration(r.Int64N(int64(limit)))) }
	value := func() string { n++; return fmt.Sprint(n) }
	for range 150 {
		pause(400 * time.Millisecond)
		switch event := r.IntN(100); {
		case event < 35: // an application wants something, sometimes two at once
			for range 1 + r.IntN(2) {
				s.set(simulated, fmt.Sprintf(`{"desired":{"%c":{"x":%s},"top":%s}}`, 'a'+rune(r.IntN(3)), value(), value()))
			}
		case event < 60: // a sensor
			sensor, v := fmt.Sprint("sensor", r.IntN(3)), value()
			d.reports[sensor] = json.Number(v)
			if err := d.mirror.Report(json.RawMessage(fmt.Sprintf(`{"%s":%s}`, sensor, v))); err != nil {
				t.Fatal(err)
			}
		case event < 65: // a sensor is unplugged
			sensor := fmt.Sprint("sensor", r.IntN(3))
			delete(d.reports, sensor)
			if err := d.mirror.Report(json.RawMessage(fmt.Sprintf(`{"%s":null}`, sensor))); err != nil {
				t.Fatal(err)
			}
		case event < 70: // somebody else writes what the device reports
			s.set(simulated, fmt.Sprintf(`{"reported":{"sensor%d":%s}}`, r.IntN(3), value()))
		case event < 85:
			d.conn.Disconnect(mqtt5.ErrConnectionLost)
			pause(3 * time.Second)
			d.conn.Connect(r.IntN(2) == 0)
		case event < 90:
			d.crash()
			pause(time.Second)
			d.boot()
		case event < 92:
			s.handle(simulated+"/delete", nil)
		case event < 95: // somebody presses a button
			d.decide(fmt.Sprintf(`{"%c":{"x":%s}}`, 'a'+rune(r.IntN(3)), value()))
		case event < 98: // an application wants something no more
			s.set(simulated, fmt.Sprintf(`{"desired":{"%c":null}}`, 'a'+rune(r.IntN(3))))
		}
	}
	s.mu.Lock()
	s.loseRequest, s.loseAnswer, s.repeat = 0, 0, 0
	s.mu.Unlock()
	d.conn.Connect(false)
	d.settle()
}

// settle lets the device finish and checks that both sides agree.
func (d *device) settle() {
	time.Sleep(5 * time.Minute)
	// What somebody else wrote into the reported state is noticed with the next
	// report.
	d.service.set(simulated, `{"desired":{"last":"one"}}`)
	d.reports["last sensor"] = "one"
	if err := d.mirror.Report(map[string]string{"last sensor": "one"}); err != nil {
		d.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	if err := d.mirror.WaitSynced(ctx); err != nil {
		d.t.Fatalf("not synced: %+v", d.mirror.Status())
	}
	time.Sleep(10 * time.Second)
	d.mu.Lock()
	defer d.mu.Unlock()
	desired, reported := d.service.sections(simulated)
	if delta := flatten(desired).delta(flatten(reported)).nested(); len(delta) > 0 {
		d.t.Errorf("the service still wants %s", encode(delta))
	}
	local, err := d.mirror.Reported()
	if err != nil {
		d.t.Fatal(err)
	}
	if diff := cmp.Diff(string(encode(reported)), string(local)); diff != "" {
		d.t.Errorf("the service and the mirror disagree (-service +mirror):\n%s", diff)
	}
	if delta := flatten(desired).delta(flatten(d.has)).nested(); len(delta) > 0 {
		d.t.Errorf("the hardware was never told %s", encode(delta))
	}
	for sensor, want := range d.reports {
		if got := reported[sensor]; !equal(got, want) {
			d.t.Errorf("the service has %s = %v, the device reported %v", sensor, got, want)
		}
	}
}
