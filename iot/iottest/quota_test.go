// SPDX-License-Identifier: Apache-2.0

package iottest_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/iot/iottest"
)

// Each quota can be set, and beyond it the service reacts as is documented there.
func TestQuotas(t *testing.T) {
	expiry := func(seconds int) [][]byte { return [][]byte{prop(pSessionExpiry, u32(seconds))} }
	for _, tc := range []struct {
		field  string
		quotas iottest.Quotas
		test   func(t *testing.T, c *iottest.Core, cl *rawClient)
	}{
		{"MaxClientIDBytes", iottest.Quotas{MaxClientIDBytes: 4}, func(t *testing.T, c *iottest.Core, cl *rawClient) {
			dialPlain(t, c).mustConnect(connectOptions{id: "four"})
			if f := cl.connect(connectOptions{id: "fives"}); f.codes[0] != byte(iottest.ClientIdentifierNotValid) {
				t.Errorf("CONNACK %#x", f.codes[0])
			}
		}},
		{"MaxTopicBytes", iottest.Quotas{MaxTopicBytes: 4}, func(t *testing.T, _ *iottest.Core, cl *rawClient) {
			cl.mustConnect(connectOptions{id: "a"})
			expectPuback(t, cl, "four", iottest.Success)
			expectPuback(t, cl, "fives", iottest.TopicNameInvalid)
			expectPuback(t, cl, "$aws/rules/r/four", iottest.Success)
			if got := cl.subscribe("four", "fives", "$share/g/four", "$aws/things/x"); string(got) != "\x01\x8F\x01\x01" {
				t.Errorf("SUBACK %x", got)
			}
		}},
		{"MaxTopicSlashes", iottest.Quotas{MaxTopicSlashes: 1}, func(t *testing.T, _ *iottest.Core, cl *rawClient) {
			cl.mustConnect(connectOptions{id: "a"})
			expectPuback(t, cl, "a/b", iottest.Success)
			expectPuback(t, cl, "a/b/c", iottest.TopicNameInvalid)
		}},
		{"MaxPayloadBytes", iottest.Quotas{MaxPayloadBytes: 3}, func(t *testing.T, c *iottest.Core, cl *rawClient) {
			cl.mustConnect(connectOptions{id: "a"})
			cl.publish("t", "abcd", 1, 1)
			if f := cl.expect(tPuback); f.codes[0] != byte(iottest.QuotaExceeded) {
				t.Errorf("PUBACK %#x", f.codes[0])
			}
			cl.publish("t", "abcd", 0, 0)
			cl.expectDisconnect(iottest.QuotaExceeded)
		}},
		{"MaxPacketBytes", iottest.Quotas{MaxPacketBytes: 100}, func(t *testing.T, _ *iottest.Core, cl *rawClient) {
			if f := cl.mustConnect(connectOptions{id: "a"}); f.num(pMaxPacket) != 100 {
				t.Errorf("maximum packet size %d", f.num(pMaxPacket))
			}
			cl.publish("t", strings.Repeat("x", 100), 1, 1)
			cl.expectDisconnect(iottest.PacketTooLarge)
		}},
		{"MaxFiltersPerSubscribe", iottest.Quotas{MaxFiltersPerSubscribe: 2}, func(t *testing.T, _ *iottest.Core, cl *rawClient) {
			cl.mustConnect(connectOptions{id: "a"})
			cl.subscribe("1", "2")
			cl.sendSubscribe(2, nil, "1", "2", "3")
			cl.expectDisconnect(iottest.QuotaExceeded)
		}},
		{"MaxSubscriptions", iottest.Quotas{MaxSubscriptions: 2}, func(t *testing.T, _ *iottest.Core, cl *rawClient) {
			cl.mustConnect(connectOptions{id: "a"})
			if got := cl.subscribe("1", "2", "3", "1"); string(got) != "\x01\x01\x97\x01" {
				t.Errorf("SUBACK %x", got)
			}
		}},
		{"ReceiveMaximum", iottest.Quotas{ReceiveMaximum: 1}, func(t *testing.T, c *iottest.Core, cl *rawClient) {
			if f := cl.mustConnect(connectOptions{id: "a"}); f.num(pReceiveMax) != 1 {
				t.Errorf("receive maximum %d", f.num(pReceiveMax))
			}
			c.HoldAcks("a", true)
			cl.publish("t", "", 1, 1)
			cl.publish("t", "", 1, 2)
			cl.expectDisconnect(iottest.ReceiveMaximumExceeded)
		}},
		{"MaxInflight", iottest.Quotas{MaxInflight: 1}, func(t *testing.T, c *iottest.Core, cl *rawClient) {
			cl.mustConnect(connectOptions{id: "a"})
			cl.subscribe("t")
			for i := range 2 {
				if err := c.Publish(iottest.Message{Topic: "t", QoS: 1, Payload: fmt.Append(nil, i)}); err != nil {
					t.Fatal(err)
				}
			}
			first := cl.expect(tPublish)
			cl.ping() // and no second one
			cl.puback(first.id)
			cl.expectMessage("t", "1")
		}},
		{"TopicAliasMaximum", iottest.Quotas{TopicAliasMaximum: 1}, func(t *testing.T, _ *iottest.Core, cl *rawClient) {
			if f := cl.mustConnect(connectOptions{id: "a"}); f.num(pAliasMax) != 1 {
				t.Errorf("topic alias maximum %d", f.num(pAliasMax))
			}
			cl.publish("t", "", 0, 0, prop(pAlias, u16(1)))
			cl.publish("t", "", 0, 0, prop(pAlias, u16(2)))
			cl.expectDisconnect(iottest.TopicAliasInvalid)
		}},
		{"MinKeepAlive", iottest.Quotas{MinKeepAlive: 50}, func(t *testing.T, _ *iottest.Core, cl *rawClient) {
			if f := cl.mustConnect(connectOptions{id: "a", keepAlive: 49}); f.num(pServerKA) != 50 {
				t.Errorf("server keep alive %d", f.num(pServerKA))
			}
		}},
		{"MaxKeepAlive", iottest.Quotas{MaxKeepAlive: 60}, func(t *testing.T, c *iottest.Core, cl *rawClient) {
			if f := cl.mustConnect(connectOptions{id: "a", keepAlive: 61}); f.num(pServerKA) != 60 {
				t.Errorf("server keep alive %d", f.num(pServerKA))
			}
			if f := dialPlain(t, c).mustConnect(connectOptions{id: "b"}); f.num(pServerKA) != 60 {
				t.Errorf("server keep alive %d for none", f.num(pServerKA))
			}
			c.Advance(91 * time.Second)
			cl.expectDisconnect(iottest.KeepAliveTimeout)
		}},
		{"MaxSessionExpiry", iottest.Quotas{MaxSessionExpiry: time.Minute}, func(t *testing.T, c *iottest.Core, cl *rawClient) {
			if f := cl.mustConnect(connectOptions{id: "a", props: expiry(3600)}); f.num(pSessionExpiry) != 60 {
				t.Errorf("session expiry %d", f.num(pSessionExpiry))
			}
			cl.write(tDisconnect << 4)
			wait(t, c, iottest.Disconnected, "a")
			c.Advance(61 * time.Second)
			if f := dialPlain(t, c).mustConnect(connectOptions{id: "a", resume: true}); f.present {
				t.Error("the session is there after its end")
			}
		}},
		{"MaxMessageExpiry", iottest.Quotas{MaxMessageExpiry: time.Minute}, func(t *testing.T, c *iottest.Core, cl *rawClient) {
			cl.mustConnect(connectOptions{id: "a", props: expiry(3600)})
			cl.subscribe("t")
			cl.write(tDisconnect << 4)
			wait(t, c, iottest.Disconnected, "a")
			for i, e := range []time.Duration{0, time.Hour} {
				if err := c.Publish(iottest.Message{Topic: "t", QoS: 1, Payload: fmt.Append(nil, i), Expiry: e}); err != nil {
					t.Fatal(err)
				}
			}
			c.Advance(61 * time.Second)
			cl = dialPlain(t, c)
			cl.mustConnect(connectOptions{id: "a", resume: true, props: expiry(3600)})
			cl.ping() // and no message
		}},
		{"PublishRate", iottest.Quotas{PublishRate: 1}, func(t *testing.T, c *iottest.Core, cl *rawClient) {
			cl.mustConnect(connectOptions{id: "a"})
			c.Advance(-10 * time.Second) // so that no time passes for the quota
			expectPuback(t, cl, "t", iottest.Success)
			expectPuback(t, cl, "t", iottest.QuotaExceeded)
			cl.publish("t", "QoS 0 is only dropped", 0, 0)
			cl.ping()
			c.Advance(20 * time.Second)
			expectPuback(t, cl, "t", iottest.Success)
		}},
		{"ConnectRate", iottest.Quotas{ConnectRate: 1}, func(t *testing.T, c *iottest.Core, cl *rawClient) {
			cl.mustConnect(connectOptions{id: "a"})
			c.Advance(-time.Hour)
			if f := dialPlain(t, c).connect(connectOptions{id: "a"}); f.codes[0] != byte(iottest.QuotaExceeded) {
				t.Errorf("CONNACK %#x", f.codes[0])
			}
		}},
		{"MaxQueuedBytes", iottest.Quotas{MaxQueuedBytes: 10}, func(t *testing.T, c *iottest.Core, cl *rawClient) {
			cl.mustConnect(connectOptions{id: "a", props: expiry(3600)})
			cl.subscribe("t")
			cl.write(tDisconnect << 4)
			wait(t, c, iottest.Disconnected, "a")
			for _, payload := range []string{"12345", "67890", "more"} {
				if err := c.Publish(iottest.Message{Topic: "t", QoS: 1, Payload: []byte(payload)}); err != nil {
					t.Fatal(err)
				}
			}
			if e := wait(t, c, iottest.Dropped, "a"); string(e.Message.Payload) != "more" || e.Err == nil {
				t.Errorf("dropped: %v", e)
			}
			if info, _ := c.Session("a"); info.Queued != 2 {
				t.Errorf("%d messages are stored", info.Queued)
			}
		}},
		{"MaxRetainedBytes", iottest.Quotas{}, nil}, // TestLimits_retained
		{"MaxOutboundBytes", iottest.Quotas{}, nil}, // TestSlowReader
		{"Throughput", iottest.Quotas{}, nil},       // TestThroughput
		{"ReplayRate", iottest.Quotas{}, nil},       // TestReplayRate
	} {
		t.Run(tc.field, func(t *testing.T) {
			if _, ok := reflect.TypeFor[iottest.Quotas]().FieldByName(tc.field); !ok {
				t.Error("there is no such quota")
			}
			if tc.test != nil {
				c := iottest.Start(t, plain, func(o *iottest.Options) { o.Quotas = tc.quotas })
				tc.test(t, c, dialPlain(t, c))
			}
		})
	}
	if n := reflect.TypeFor[iottest.Quotas]().NumField(); n != 21 {
		t.Errorf("%d quotas, 21 are tested", n)
	}
}

func expectPuback(t *testing.T, cl *rawClient, topic string, want iottest.ReasonCode) {
	t.Helper()
	cl.publish(topic, "", 1, 7)
	if f := cl.expect(tPuback); f.codes[0] != byte(want) {
		t.Errorf("%s: PUBACK %#x, want %v", topic, f.codes[0], want)
	}
}

// A negative number removes a limit.
func TestQuotas_removed(t *testing.T) {
	c := iottest.Start(t, plain, func(o *iottest.Options) {
		o.Quotas = iottest.Quotas{MaxClientIDBytes: -1, MaxTopicBytes: -1, MaxTopicSlashes: -1, MaxPayloadBytes: -1, MaxFiltersPerSubscribe: -1, MaxSubscriptions: -1}
	})
	cl := dialPlain(t, c)
	cl.mustConnect(connectOptions{id: strings.Repeat("i", 1000)})
	expectPuback(t, cl, strings.Repeat("t/", 1000), iottest.Success)
	var filters []string
	for i := range 60 {
		filters = append(filters, fmt.Sprint(i))
	}
	if got := cl.subscribe(filters...); strings.Trim(string(got), "\x01") != "" {
		t.Errorf("SUBACK %x", got)
	}
}

func TestServiceQuotas(t *testing.T) {
	want := iottest.Quotas{
		MaxClientIDBytes: 128, MaxTopicBytes: 256, MaxTopicSlashes: 7, MaxPayloadBytes: 131072, MaxPacketBytes: 149504,
		MaxFiltersPerSubscribe: 8, MaxSubscriptions: 50, ReceiveMaximum: 100, MaxInflight: 100, TopicAliasMaximum: 8,
		MaxOutboundBytes: 1 << 20, MaxQueuedBytes: 64 << 20, MaxRetainedBytes: 64 << 20,
		MinKeepAlive: 30, MaxKeepAlive: 1200, MaxSessionExpiry: time.Hour, MaxMessageExpiry: 168 * time.Hour,
		PublishRate: 100, Throughput: 524288, ConnectRate: 1, ReplayRate: 10,
	}
	if got := iottest.ServiceQuotas(); got != want {
		t.Errorf("got %+v", got)
	}
}
