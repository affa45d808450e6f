// SPDX-License-Identifier: Apache-2.0

package mqttotel_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/attribute"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/mqtttest"
)

// fakeStore takes its time and keeps nothing.
type fakeStore struct {
	takes time.Duration
	fails error
}

func (s *fakeStore) Commit([]mqtt5.StoreChange) (mqtt5.Durability, error) {
	time.Sleep(s.takes)
	return mqtt5.DurabilitySynced, s.fails
}

func (s *fakeStore) Iterate(mqtt5.RecordKind, uint64, func(mqtt5.StoreRecord) bool) error { return nil }
func (s *fakeStore) Count(mqtt5.RecordKind) mqtt5.StoreCount                              { return mqtt5.StoreCount{} }
func (s *fakeStore) Close() error                                                         { return nil }

func TestMetrics_store(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMeter(t, nil)
		store := &fakeStore{takes: 3 * time.Second}
		o := mqtt5.ClientOptions{Durable: mqtt5.StoreOptions{Store: store}}
		m.Observe(&o)
		commit := func(n int) (mqtt5.Durability, error) { return o.Durable.Store.Commit(make([]mqtt5.StoreChange, n)) }
		if d, err := commit(2); d != mqtt5.DurabilitySynced || err != nil {
			t.Errorf("%v, %v", d, err)
		}
		for _, fails := range []error{fmt.Errorf("no room: %w", mqtt5.ErrStoreFull), errors.New("input/output error")} {
			store.fails = fails
			if _, err := commit(1); !errors.Is(err, fails) {
				t.Errorf("%v, want %v", err, fails)
			}
		}
		at := m.collect()
		kind := attribute.Key("error.type")
		want(t, at, "mqtt.client.store.changes", 2)
		want(t, at, "mqtt.client.store.commit.duration", 1, kind.String("store_full"))
		want(t, at, "mqtt.client.store.commit.duration", 1, kind.String("_OTHER"))
		sum := 0.0
		for _, p := range at["mqtt.client.store.commit.duration"] {
			sum += p.sum
		}
		if sum != 9 {
			t.Errorf("three commits took %v s, want 9", sum)
		}
	})
}

// A durable client commits through the measured store.
func TestMetrics_storeOfClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := mqtttest.NewServer(t)
		m := newMeter(t, nil)
		o := options(srv)
		o.Durable = mqtt5.StoreOptions{Store: &fakeStore{}}
		o.SessionBehavior = mqtt5.SessionRejoinAlways
		o.Connect.SessionExpiryIntervalSeconds = mqtt5.Ptr[uint32](3600)
		m.Observe(&o)
		c := newClient(t, o)
		start(t, c)
		if _, err := c.Publish(t.Context(), &mqtt5.PublishPacket{Topic: "t", QoS: mqtt5.AtLeastOnce}); err != nil {
			t.Fatal(err)
		}
		if at := m.collect()["mqtt.client.store.commit.duration"]; len(at) != 1 || at[0].value < 1 {
			t.Errorf("commits: %v", at)
		}
	})
}

func TestMetrics_handler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMeter(t, nil)
		m.Handler(func(context.Context, mqtt5.Message) { time.Sleep(2 * time.Second) })(t.Context(), mqtt5.Message{})
		func() {
			defer func() {
				if r := recover(); r != "oh" {
					t.Errorf("recovered %v", r)
				}
			}()
			m.Handler(func(context.Context, mqtt5.Message) { panic("oh") })(t.Context(), mqtt5.Message{})
		}()
		at := m.collect()
		want(t, at, "messaging.process.duration", 1, attribute.String("error.type", "_OTHER"))
		process := attribute.String("messaging.operation.name", "process")
		n, sum := 0.0, 0.0
		for _, p := range at["messaging.process.duration"] {
			if v, _ := p.attributes.Value(process.Key); v == process.Value {
				n, sum = n+p.value, sum+p.sum
			}
		}
		if n != 2 || sum != 2 {
			t.Errorf("%v messages took %v s, want 2 and 2", n, sum)
		}
	})
}
