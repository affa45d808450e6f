// SPDX-License-Identifier: Apache-2.0

package mqtt5_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/mqtttest"
)

// device is a client under test, with all that it told.
type device struct {
	*mqtt5.Client
	t   *testing.T
	ctx context.Context

	mu       sync.Mutex
	log      []string // events, in words
	at       []time.Time
	messages []string
	losses   []*mqtt5.Disconnection
	failures []*mqtt5.ConnectionFailure
	success  []*mqtt5.ConnectionSuccess
}

// bubble runs a test under a virtual clock.
func bubble(t *testing.T, name string, f func(t *testing.T)) {
	t.Helper()
	t.Run(name, func(t *testing.T) {
		t.Helper()
		synctest.Test(t, f)
	})
}

// options returns what newDevice starts from.
func options(srv *mqtttest.Server) mqtt5.ClientOptions {
	return mqtt5.ClientOptions{
		Address:     "server.example:1883",
		Dial:        srv.DialContext,
		Connect:     mqtt5.ConnectPacket{ClientID: "device", KeepAliveSeconds: mqtt5.Ptr[uint16](0)},
		RetryJitter: mqtt5.JitterNone,
	}
}

// newDevice makes a client of srv that records everything. What change sets of
// the handlers is called in addition.
func newDevice(t *testing.T, srv *mqtttest.Server, change func(*mqtt5.ClientOptions)) *device {
	t.Helper()
	o := options(srv)
	if change != nil {
		change(&o)
	}
	d := &device{t: t}
	d.record(&o)
	c, err := mqtt5.NewClient(o)
	if err != nil {
		t.Fatal(err)
	}
	c.SetIdentifierBase(0)
	d.Client = c
	ctx, cancel := context.WithTimeout(context.Background(), 24*time.Hour)
	d.ctx = ctx
	t.Cleanup(func() {
		cancel()
		c.Close()
		synctest.Wait()
		d.checkPairs()
	})
	return d
}

// checkPairs checks the guarantee about lifecycle events of a closed client:
// each attempt ends in success or failure, each success in a disconnection, and
// a client that was started has stopped.
func (d *device) checkPairs() {
	d.t.Helper()
	allowed := map[string]string{
		"": "attempting stopped", "attempting": "success failure", "success": "disconnection",
		"failure": "attempting stopped", "disconnection": "attempting stopped", "stopped": "attempting stopped",
	}
	last := ""
	for _, e := range d.events() {
		if !slices.Contains(strings.Fields(allowed[last]), e) {
			d.t.Errorf("%q after %q in the events %q", e, last, d.events())
		}
		last = e
	}
	if last != "" && last != "stopped" {
		d.t.Errorf("the last event is %q", last)
	}
}

// connected is newDevice, started and connected.
func connected(t *testing.T, srv *mqtttest.Server, change func(*mqtt5.ClientOptions)) *device {
	t.Helper()
	d := newDevice(t, srv, change)
	d.start()
	return d
}

func (d *device) start() {
	d.t.Helper()
	if err := d.Start(); err != nil {
		d.t.Fatal(err)
	}
	d.await()
}

// await waits for the connection, and until all is quiet.
func (d *device) await() {
	d.t.Helper()
	if err := d.WaitConnected(d.ctx); err != nil {
		d.t.Fatal(err)
	}
	synctest.Wait()
}

func (d *device) note(what string) {
	d.log = append(d.log, what)
	d.at = append(d.at, time.Now())
}

func (d *device) record(o *mqtt5.ClientOptions) {
	attempting, success, failure, loss, stopped, message := o.OnAttemptingConnect, o.OnConnectionSuccess,
		o.OnConnectionFailure, o.OnDisconnection, o.OnStopped, o.OnMessage
	o.OnAttemptingConnect = func(e *mqtt5.AttemptingConnect) {
		d.mu.Lock()
		d.note("attempting")
		d.mu.Unlock()
		call(attempting, e)
	}
	o.OnConnectionSuccess = func(e *mqtt5.ConnectionSuccess) {
		d.mu.Lock()
		d.note("success")
		d.success = append(d.success, e)
		d.mu.Unlock()
		call(success, e)
	}
	o.OnConnectionFailure = func(e *mqtt5.ConnectionFailure) {
		d.mu.Lock()
		d.note("failure")
		d.failures = append(d.failures, e)
		d.mu.Unlock()
		call(failure, e)
	}
	o.OnDisconnection = func(e *mqtt5.Disconnection) {
		d.mu.Lock()
		d.note("disconnection")
		d.losses = append(d.losses, e)
		d.mu.Unlock()
		call(loss, e)
	}
	o.OnStopped = func(e *mqtt5.Stopped) {
		d.mu.Lock()
		d.note("stopped")
		d.mu.Unlock()
		call(stopped, e)
	}
	o.OnMessage = func(ctx context.Context, m mqtt5.Message) {
		d.mu.Lock()
		d.messages = append(d.messages, m.Topic+"="+string(m.Payload))
		d.mu.Unlock()
		if message != nil {
			message(ctx, m)
		}
	}
}

func call[T any](f func(*T), v *T) {
	if f != nil {
		f(v)
	}
}

func (d *device) events() []string {
	synctest.Wait()
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.log)
}

func (d *device) received() []string {
	synctest.Wait()
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.messages)
}

// lastLoss returns the last Disconnection.
func (d *device) lastLoss() *mqtt5.Disconnection {
	d.t.Helper()
	synctest.Wait()
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.losses) == 0 {
		d.t.Fatal("no Disconnection event")
	}
	return d.losses[len(d.losses)-1]
}

func (d *device) lastFailure() *mqtt5.ConnectionFailure {
	d.t.Helper()
	synctest.Wait()
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.failures) == 0 {
		d.t.Fatal("no ConnectionFailure event")
	}
	return d.failures[len(d.failures)-1]
}

// first returns the first element of one of the lists of d.
func first[T any](d *device, list *[]T) T {
	d.t.Helper()
	synctest.Wait()
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(*list) == 0 {
		d.t.Fatal("no such event")
	}
	return (*list)[0]
}

// wantEvents compares the events so far, given in one string.
func (d *device) wantEvents(want string) {
	d.t.Helper()
	if got := strings.Join(d.events(), " "); got != want {
		d.t.Errorf("events %q\nwant   %q", got, want)
	}
}

func (d *device) wantMessages(want ...string) {
	d.t.Helper()
	if got := d.received(); !slices.Equal(got, want) {
		d.t.Errorf("messages %q, want %q", got, want)
	}
}

// async is a call whose result is looked at later.
type async struct {
	done   chan struct{}
	result *mqtt5.PublishResult
	err    error
}

// publish publishes on a goroutine of its own, and waits until that blocks.
func (d *device) publish(ctx context.Context, p *mqtt5.PublishPacket) *async {
	a := &async{done: make(chan struct{})}
	go func() {
		defer close(a.done)
		a.result, a.err = d.Publish(ctx, p)
	}()
	synctest.Wait()
	return a
}

func (d *device) subscribe(ctx context.Context, filters ...string) *async {
	return d.do(func() error {
		p := &mqtt5.SubscribePacket{}
		for _, f := range filters {
			p.Subscriptions = append(p.Subscriptions, mqtt5.Subscription{TopicFilter: f, QoS: mqtt5.AtLeastOnce})
		}
		_, err := d.Subscribe(ctx, p)
		return err
	})
}

func (d *device) do(f func() error) *async {
	a := &async{done: make(chan struct{})}
	go func() {
		defer close(a.done)
		a.err = f()
	}()
	synctest.Wait()
	return a
}

func (a *async) finished() bool {
	synctest.Wait()
	select {
	case <-a.done:
		return true
	default:
		return false
	}
}

func (a *async) wait() error {
	<-a.done
	return a.err
}

func message(qos mqtt5.QoS, topic, payload string) *mqtt5.PublishPacket {
	return &mqtt5.PublishPacket{Topic: topic, Payload: []byte(payload), QoS: qos}
}

// want fails unless err is target, or nil where target is.
func want(t *testing.T, what string, err, target error) {
	t.Helper()
	if target == nil && err != nil || target != nil && !errors.Is(err, target) {
		t.Errorf("%s: got %v, want %v", what, err, target)
	}
}

// untilDisconnect reads up to the client's DISCONNECT and the end of the connection.
func untilDisconnect(c *mqtttest.Conn, code mqtttest.ReasonCode) {
	for {
		switch p := c.ExpectAny().(type) {
		case mqtttest.Disconnect:
			if p.ReasonCode != code {
				c.Errorf("DISCONNECT %v, want %v", p.ReasonCode, code)
			}
			c.ExpectClosed()
			return
		case mqtttest.Connect:
			c.Fatalf("CONNECT instead of DISCONNECT")
		}
	}
}

// accept answers CONNECT with a plain success, and every ping from then on.
func accept(c *mqtttest.Conn, ack ...mqtttest.Connack) mqtttest.Connect {
	con := c.Accept(ack...)
	c.AnswerPings()
	return con
}

// resumed is the CONNACK of a server that kept the session.
var resumed = mqtttest.Connack{SessionPresent: true}

// persistent makes a client keep its session over losses of the connection.
func persistent(o *mqtt5.ClientOptions) {
	o.SessionBehavior = mqtt5.SessionRejoinPostSuccess
	o.Connect.SessionExpiryIntervalSeconds = mqtt5.Ptr[uint32](3600)
}
