// SPDX-License-Identifier: Apache-2.0

package mqtt5_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/mqtttest"
)

// fill sets everything in v that a client could share with its user: pointers
// and slices of plain data, and what they lead to. The others of the fields are
// functions, interfaces, and objects that are meant to be shared.
func fill(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		if shared(v.Type().Elem()) {
			return
		}
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem())
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range v.Len() {
			fill(v.Index(i))
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Field(i).CanSet() {
				fill(v.Field(i))
			}
		}
	case reflect.String:
		v.SetString("s")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(1)
	case reflect.Int, reflect.Int64:
		v.SetInt(1)
	case reflect.Float64:
		v.SetFloat(1)
	}
}

// shared reports whether a type is an object, with a life of its own.
func shared(t reflect.Type) bool {
	if t.Kind() != reflect.Struct {
		return false
	}
	for i := range t.NumField() {
		if !t.Field(i).IsExported() {
			return true
		}
	}
	return false
}

// change writes to everything that fill made and that is reached from v by a
// pointer or a slice, and counts it.
func change(v reflect.Value, reached bool) (n int) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() && !shared(v.Type().Elem()) {
			n += change(v.Elem(), true)
		}
	case reflect.Slice:
		for i := range v.Len() {
			n += change(v.Index(i), true)
		}
	case reflect.Map:
		v.Clear()
		n++
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Field(i).CanSet() {
				n += change(v.Field(i), reached)
			}
		}
	case reflect.Func, reflect.Interface, reflect.Chan:
	default:
		if reached {
			v.SetZero()
			n++
		}
	}
	return n
}

// TestOptions_areCopiedDeeply changes everything that the options lead to, while
// the client connects with them.
func TestOptions_areCopiedDeeply(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := mqtttest.NewServer(t)
		var o mqtt5.ClientOptions
		fill(reflect.ValueOf(&o).Elem())
		o.Address, o.Dial = "server.example:1883", srv.DialContext
		o.MinReconnectDelay, o.MaxReconnectDelay = time.Second, time.Second
		o.SessionBehavior, o.RejectUnhandled = mqtt5.SessionClean, 0
		o.ConnectTimeout, o.ConnackTimeout = time.Minute, time.Minute
		o.Limits = mqtt5.Ptr(*mqtt5.AWSIoTCoreLimits())
		c := &o.Connect
		c.KeepAliveSeconds = mqtt5.Ptr[uint16](1000)
		c.MaximumPacketSizeBytes = mqtt5.Ptr[uint32](10_000)
		c.Will.TopicAlias, c.Will.SubscriptionIdentifiers, c.Will.QoS = nil, nil, 1
		client, err := mqtt5.NewClient(o)
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		changed := make(chan int)
		go func() {
			n := 0
			for range 50 {
				n = change(reflect.ValueOf(&o).Elem(), false)
				time.Sleep(time.Millisecond)
			}
			changed <- n
		}()
		want(t, "start", client.Start(), nil)
		want(t, "connection", client.WaitConnected(ctx), nil)
		if n := <-changed; n < 25 {
			t.Errorf("only %d values were changed", n)
		}
		srv.Conns()[0].Close()
		time.Sleep(2 * time.Second)
		want(t, "second connection", client.WaitConnected(ctx), nil)
		_, err = client.Publish(t.Context(), message(0, strings.Repeat("t", 300), "x"))
		var invalid *mqtt5.ValidationError
		if !errors.As(err, &invalid) {
			t.Errorf("the limits have changed: %v", err)
		}
		list := mqtttest.PacketsOf[mqtttest.Connect](srv.Journal())
		if len(list) != 2 {
			t.Fatalf("%d attempts", len(list))
		}
		for _, p := range list {
			if p.KeepAliveSeconds != 1000 || string(p.Password) != "\x01\x01" || *p.Username != "s" || p.UserProperties[1] != (mqtttest.UserProperty{Name: "s", Value: "s"}) ||
				*p.SessionExpiryIntervalSeconds != 1 || *p.ReceiveMaximum != 1 {
				t.Errorf("CONNECT %v", mqtttest.Describe(p))
			}
			w := p.Will
			if w == nil || w.Topic != "s" || string(w.Payload) != "\x01\x01" || *w.ContentType != "s" || *w.ResponseTopic != "s" ||
				string(w.CorrelationData) != "\x01\x01" || len(w.UserProperties) != 2 || *w.MessageExpirySeconds != 1 || *w.DelayIntervalSeconds != 1 {
				t.Errorf("will %+v", w)
			}
		}
	})
}

// TestPrepareConnect_getsItsOwnCopy changes in one attempt what the next must
// not see.
func TestPrepareConnect_getsItsOwnCopy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := mqtttest.NewServer(t)
		d := newDevice(t, srv, func(o *mqtt5.ClientOptions) {
			o.Connect.Username, o.Connect.Password = str("u"), []byte("secret")
			o.Connect.UserProperties = []mqtt5.UserProperty{{Name: "n", Value: "v"}}
			o.Connect.Will = message(1, "will", "payload")
			o.PrepareConnect = func(_ context.Context, p *mqtt5.ConnectPacket) error {
				if got := fmt.Sprintf("%s %s %v %s", *p.Username, p.Password, p.UserProperties, p.Will.Payload); got != "u secret [{n v}] payload" {
					t.Errorf("given %s", got)
				}
				clear(p.Password) // as one does with secrets; the CONNECT is made after this
				*p.Username, p.UserProperties[0].Name, p.Will.Payload[0] = "x", "x", 'x'
				return nil
			}
		})
		d.start()
		srv.Conns()[0].Close()
		time.Sleep(time.Second)
		d.await()
	})
}

// TestAuthenticator_outputIsChecked lets the user's code return what no packet
// can hold.
func TestAuthenticator_outputIsChecked(t *testing.T) {
	large := make([]byte, 70_000)
	bubble(t, "at the beginning", func(t *testing.T) {
		srv := mqtttest.NewServer(t)
		d := newDevice(t, srv, authenticated(beginner{func() []byte { return large }}))
		want(t, "start", d.Start(), nil)
		time.Sleep(time.Second / 2)
		var invalid *mqtt5.ValidationError
		if err := d.lastFailure().Err; !errors.Is(err, mqtt5.ErrAuthentication) || !errors.As(err, &invalid) {
			t.Errorf("the attempt failed with %v", err)
		}
	})
	bubble(t, "in answer to a challenge", func(t *testing.T) {
		srv := mqtttest.NewServer(t)
		srv.Script(func(c *mqtttest.Conn) {
			c.ExpectConnect()
			c.Send(auth(mqtttest.ContinueAuthentication, "one"))
			c.ExpectDisconnect()
			c.ExpectClosed()
		})
		d := newDevice(t, srv, authenticated(scripted{next: func([]byte) ([]byte, error) { return large, nil }}))
		want(t, "start", d.Start(), nil)
		time.Sleep(time.Second / 2)
		if d.lastFailure().Err == nil {
			t.Error("the attempt has no error")
		}
	})
	bubble(t, "in a re-authentication", func(t *testing.T) {
		srv := mqtttest.NewServer(t)
		srv.Script(func(c *mqtttest.Conn) {
			c.ExpectConnect()
			c.Send(welcome)
			c.ExpectDisconnectWith(mqtttest.NormalDisconnection)
		})
		calls := 0
		d := newDevice(t, srv, authenticated(beginner{func() []byte {
			if calls++; calls == 1 {
				return nil
			}
			return large
		}}))
		d.start()
		if err := d.Reauthenticate(d.ctx); err == nil {
			t.Error("no error")
		}
		want(t, "stop", d.Stop(d.ctx, nil), nil)
	})
	bubble(t, "PrepareConnect", func(t *testing.T) {
		srv := mqtttest.NewServer(t)
		d := newDevice(t, srv, func(o *mqtt5.ClientOptions) {
			o.PrepareConnect = func(_ context.Context, p *mqtt5.ConnectPacket) error {
				p.Password = large
				return nil
			}
		})
		want(t, "start", d.Start(), nil)
		time.Sleep(time.Second / 2)
		var invalid *mqtt5.ValidationError
		if err := d.lastFailure().Err; !errors.As(err, &invalid) {
			t.Errorf("the attempt failed with %v", err)
		}
	})
}

// beginner is an authenticator with data of its own.
type beginner struct{ data func() []byte }

func (beginner) Method() string                          { return "M" }
func (b beginner) Begin(context.Context) ([]byte, error) { return b.data(), nil }
func (beginner) Continue([]byte) ([]byte, error)         { return nil, nil }
func (beginner) Finish([]byte) error                     { return nil }

// Each option that has no effect beside the others is a warning in the log.
func TestOptions_withoutEffect(t *testing.T) {
	rejoin := func(o *mqtt5.ClientOptions) { o.SessionBehavior = mqtt5.SessionRejoinAlways }
	willDelay := func(o *mqtt5.ClientOptions) { o.Connect.WillDelayIntervalSeconds = mqtt5.Ptr[uint32](1) }
	prepared := func(o *mqtt5.ClientOptions) {
		o.PrepareConnect = func(context.Context, *mqtt5.ConnectPacket) error { return nil }
	}
	onMessage := func(o *mqtt5.ClientOptions) { o.OnMessage = func(context.Context, mqtt5.Message) {} }
	type changes []func(*mqtt5.ClientOptions)
	for _, tt := range []struct {
		name    string
		changes changes
		want    string // the options named in the log
	}{
		{"nothing", nil, ""},
		{"rejoin", changes{rejoin}, "SessionBehavior"},
		{"rejoin with expiry", changes{rejoin, persistent}, ""},
		{"rejoin, completed later", changes{rejoin, prepared}, ""},
		{"will delay", changes{willDelay}, "Connect.WillDelayIntervalSeconds"},
		{"will delay with will", changes{willDelay, func(o *mqtt5.ClientOptions) { o.Connect.Will = message(0, "t", "x") }}, ""},
		{"will delay, completed later", changes{willDelay, prepared}, ""},
		{"alias caches", changes{func(o *mqtt5.ClientOptions) {
			o.TopicAliasing = mqtt5.TopicAliasOptions{Outbound: mqtt5.TopicAliasManual, OutboundCacheSize: 1, InboundCacheSize: 1}
		}}, "TopicAliasing.OutboundCacheSize TopicAliasing.InboundCacheSize"},
		{"alias caches in use", changes{func(o *mqtt5.ClientOptions) {
			o.TopicAliasing = mqtt5.TopicAliasOptions{Outbound: mqtt5.TopicAliasLRU, OutboundCacheSize: 1, Inbound: true, InboundCacheSize: 1}
		}}, ""},
		{"unhandled messages are rejected, and there are none", changes{onMessage, func(o *mqtt5.ClientOptions) { o.RejectUnhandled = mqtt5.PubackImplementationSpecificError }}, "RejectUnhandled"},
		{"OnResubscribe", changes{func(o *mqtt5.ClientOptions) { o.OnResubscribe = func(*mqtt5.Resubscription) {} }}, "OnResubscribe"},
		{"unbounded queue", changes{func(o *mqtt5.ClientOptions) {
			o.QueueFullPolicy, o.MaxQueuedBytes, o.MaxQueuedOperations = mqtt5.RejectWhenFull, -1, -1
		}}, "QueueFullPolicy"},
		{"without a store", changes{func(o *mqtt5.ClientOptions) {
			o.Durable = mqtt5.StoreOptions{ReturnWhenStored: true, OnFailure: mqtt5.MemoryWhenNotStored, DiscardMismatch: true}
			o.OnUndelivered, o.OnStoreFailed = func(*mqtt5.Undelivered) {}, func(*mqtt5.StoreFailed) {}
		}}, "Durable.ReturnWhenStored Durable.OnFailure Durable.DiscardMismatch OnUndelivered OnStoreFailed"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			core, logs := observer.New(zap.WarnLevel)
			o := mqtt5.ClientOptions{Address: "server.example:1883", Logger: zap.New(core)}
			for _, change := range tt.changes {
				change(&o)
			}
			client, err := mqtt5.NewClient(o)
			if err != nil {
				t.Fatal(err)
			}
			client.Close()
			var named []string
			for _, e := range logs.All() {
				named = append(named, fmt.Sprint(e.ContextMap()["option"]))
				if e.Message != "an option has no effect" || e.ContextMap()["because"] == "" {
					t.Errorf("logged %q %v", e.Message, e.ContextMap())
				}
			}
			if got := strings.Join(named, " "); got != tt.want {
				t.Errorf("named %q, want %q", got, tt.want)
			}
		})
	}
}
