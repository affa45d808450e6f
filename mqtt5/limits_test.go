// SPDX-License-Identifier: Apache-2.0

package mqtt5_test

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/mqtttest"
)

func TestLimits_checks(t *testing.T) {
	slashes := func(n int) string { return strings.Repeat("a/", n) + "a" }
	long := func(n int) string { return strings.Repeat("x", n) }
	for _, c := range []struct {
		name  string
		do    func(d *device) error
		field string // of the only problem; "": none
	}{
		{"topic of 256 bytes", publishing(long(256), 0, 0), ""},
		{"topic of 257 bytes", publishing(long(257), 0, 0), "Topic"},
		{"topic with 7 slashes", publishing(slashes(7), 0, 0), ""},
		{"topic with 8 slashes", publishing(slashes(8), 0, 0), "Topic"},
		{"topic of a rule", publishing("$aws/rules/rule/"+slashes(7), 0, 0), ""},
		{"topic of a rule with 8 slashes", publishing("$aws/rules/rule/"+slashes(8), 0, 0), "Topic"},
		{"topic of the service", publishing("$aws/things/"+slashes(9), 0, 0), ""},
		{"payload of 128 KiB", publishing("a", 128<<10, 0), ""},
		{"payload of 128 KiB and a byte", publishing("a", 128<<10+1, 0), "Payload"},
		{"QoS 2", publishing("a", 0, 2), "QoS"},
		{"8 filters", subscribing(nil, 0, "1", "2", "3", "4", "5", "6", "7", "8"), ""},
		{"9 filters", subscribing(nil, 0, "1", "2", "3", "4", "5", "6", "7", "8", "9"), "Subscriptions"},
		{"filter with 7 slashes", subscribing(nil, 0, slashes(7)), ""},
		{"filter with 8 slashes", subscribing(nil, 0, slashes(8)), "Subscriptions[0].TopicFilter"},
		{"shared filter with 7 slashes", subscribing(nil, 0, "$share/g/"+slashes(7)), ""},
		{"shared filter with 8 slashes", subscribing(nil, 0, "$share/g/"+slashes(8)), "Subscriptions[0].TopicFilter"},
		{"subscription of QoS 2", subscribing(nil, 2, "a"), "Subscriptions[0].QoS"},
		{"subscription identifier", subscribing(mqtt5.Ptr[uint32](1), 0, "a"), "SubscriptionIdentifier"},
		{"unsubscribe from 257 bytes", func(d *device) error {
			_, err := d.Unsubscribe(d.ctx, &mqtt5.UnsubscribePacket{TopicFilters: []string{"a", long(257)}})
			return err
		}, "TopicFilters[1]"},
	} {
		bubble(t, c.name, func(t *testing.T) {
			for _, limits := range []*mqtt5.Limits{mqtt5.AWSIoTCoreLimits(), {}, nil} {
				d := connected(t, mqtttest.NewServer(t), func(o *mqtt5.ClientOptions) { o.Limits = limits })
				err := c.do(d)
				var invalid *mqtt5.ValidationError
				switch {
				case c.field == "" || limits == nil || limits.MaxTopicBytes == 0:
					want(t, "without a limit in the way", err, nil)
				case !errors.As(err, &invalid) || len(invalid.Problems) != 1 || invalid.Problems[0].Field != c.field || !errors.Is(err, mqtt5.ErrNotSent):
					t.Errorf("got %v, want a problem with %s", err, c.field)
				}
			}
		})
	}
	t.Run("options", func(t *testing.T) {
		for _, c := range []struct {
			connect mqtt5.ConnectPacket
			ok      bool
		}{
			{mqtt5.ConnectPacket{ClientID: long(128)}, true},
			{mqtt5.ConnectPacket{ClientID: long(129)}, false},
			{mqtt5.ConnectPacket{Will: &mqtt5.PublishPacket{Topic: "a", QoS: 2}}, false},
			{mqtt5.ConnectPacket{Will: &mqtt5.PublishPacket{Topic: slashes(8)}}, false},
		} {
			o := mqtt5.ClientOptions{Address: "a:1", Connect: c.connect, Limits: mqtt5.AWSIoTCoreLimits()}
			if err := o.Validate(); (err == nil) != c.ok {
				t.Errorf("%+v: %v", c.connect, err)
			}
		}
	})
	bubble(t, "a client identifier is made up, once", func(t *testing.T) {
		srv := mqtttest.NewServer(t)
		var ids []string
		for range 2 {
			srv.Script(func(c *mqtttest.Conn) {
				ids = append(ids, accept(c).ClientID)
				c.Sleep(time.Second)
			})
		}
		srv.HangDial()
		connected(t, srv, func(o *mqtt5.ClientOptions) {
			o.Connect.ClientID = ""
			o.Limits = mqtt5.AWSIoTCoreLimits()
		})
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if len(ids) != 2 || ids[0] == "" || ids[0] != ids[1] {
			t.Errorf("client identifiers %q", ids)
		}
	})
}

func publishing(topic string, size int, qos mqtt5.QoS) func(d *device) error {
	return func(d *device) error {
		_, err := d.Publish(d.ctx, &mqtt5.PublishPacket{Topic: topic, Payload: make([]byte, size), QoS: qos})
		return err
	}
}

func subscribing(id *uint32, qos mqtt5.QoS, filters ...string) func(d *device) error {
	return func(d *device) error {
		p := &mqtt5.SubscribePacket{SubscriptionIdentifier: id}
		for _, f := range filters {
			p.Subscriptions = append(p.Subscriptions, mqtt5.Subscription{TopicFilter: f, QoS: qos})
		}
		_, err := d.Subscribe(d.ctx, p)
		return err
	}
}

func TestLimits_rate(t *testing.T) {
	for _, c := range []struct {
		name    string
		limits  mqtt5.Limits
		payload int
		n       int
		min     time.Duration // for n messages, of which the first second's worth is free
		max     time.Duration
	}{
		{"100 messages a second", mqtt5.Limits{PublishesPerSecond: 100}, 10, 1100, 9990 * time.Millisecond, 10100 * time.Millisecond},
		{"small messages are charged by their size", mqtt5.Limits{BytesPerSecond: 512 << 10}, 91, 1000, 0, time.Millisecond},
		{"512 KiB a second", mqtt5.Limits{BytesPerSecond: 512 << 10}, 64<<10 - 6, 88, 9900 * time.Millisecond, 10100 * time.Millisecond},
		{"one message larger than the bucket", mqtt5.Limits{BytesPerSecond: 1000}, 5000, 2, 4900 * time.Millisecond, 5100 * time.Millisecond},
		{"none", mqtt5.Limits{}, 10, 5000, 0, 0},
	} {
		bubble(t, c.name, func(t *testing.T) {
			srv := mqtttest.NewServer(t)
			d := connected(t, srv, func(o *mqtt5.ClientOptions) { o.Limits = &c.limits })
			begun := time.Now()
			done := make(chan error, c.n)
			for range c.n {
				d.PublishAsync(&mqtt5.PublishPacket{Topic: "a", Payload: make([]byte, c.payload)}, func(_ *mqtt5.PublishResult, err error) { done <- err })
			}
			for range c.n {
				want(t, "publish", <-done, nil)
			}
			took := time.Since(begun)
			if took < c.min || took > c.max {
				t.Errorf("took %v, want %v to %v", took, c.min, c.max)
			}
			if wait := d.Stats().ThrottleWait; wait < took-time.Millisecond || wait > took {
				t.Errorf("throttled for %v of %v", wait, took)
			}
			// After a pause the burst is there again, and no more than that.
			if c.limits.PublishesPerSecond > 0 {
				time.Sleep(time.Hour)
				before := len(mqtttest.PacketsOf[mqtttest.Publish](srv.Journal()))
				for range 300 {
					d.PublishAsync(message(0, "a", "x"), nil)
				}
				synctest.Wait()
				if n := len(mqtttest.PacketsOf[mqtttest.Publish](srv.Journal())) - before; n != 100 {
					t.Errorf("a burst of %d", n)
				}
			}
		})
	}
	bubble(t, "other packets pass a throttled publish", func(t *testing.T) {
		srv := mqtttest.NewServer(t)
		d := connected(t, srv, func(o *mqtt5.ClientOptions) {
			o.Limits = &mqtt5.Limits{PublishesPerSecond: 0.01}
			o.Connect.KeepAliveSeconds = mqtt5.Ptr[uint16](10)
		})
		for range 3 {
			d.PublishAsync(message(0, "a", "x"), nil)
		}
		begun := time.Now()
		want(t, "subscribe", d.subscribe(d.ctx, "in").wait(), nil)
		srv.Publish(mqtttest.Publish{Topic: "in", QoS: 1})
		synctest.Wait()
		if n := len(mqtttest.PacketsOf[mqtttest.Puback](srv.Journal())); n != 1 {
			t.Errorf("%d PUBACKs", n)
		}
		_, err := d.Unsubscribe(d.ctx, &mqtt5.UnsubscribePacket{TopicFilters: []string{"in"}})
		want(t, "unsubscribe", err, nil)
		if took := time.Since(begun); took != 0 {
			t.Errorf("took %v", took)
		}
		time.Sleep(50 * time.Second)
		d.wantEvents("attempting success")
	})
	bubble(t, "a stop does not wait for what is throttled longer than its context", func(t *testing.T) {
		d := connected(t, mqtttest.NewServer(t), func(o *mqtt5.ClientOptions) { o.Limits = &mqtt5.Limits{PublishesPerSecond: 0.01} })
		d.publish(d.ctx, message(0, "a", "x"))
		held := d.publish(d.ctx, message(1, "a", "x"))
		begun := time.Now()
		d.stopNow()
		want(t, "publish", held.wait(), mqtt5.ErrStopRequested)
		if took := time.Since(begun); took != 0 {
			t.Errorf("took %v", took)
		}
	})
}
