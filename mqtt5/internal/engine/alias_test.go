// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/internal/wire"
)

// aliased connects to a server that allows that many aliases.
func aliased(t *testing.T, mode AliasMode, size, maximum uint16) *rig {
	r := newRig(t, &Config{OutAliases: mode, OutAliasSize: size, Session: SessionRejoinAlways})
	r.connect(&wire.Connack{TopicAliasMaximum: &maximum})
	return r
}

func (r *rig) publishAlias(topic string, alias uint16) *Operation {
	op := r.newPublish(topic, 0)
	op.Publish.TopicAlias = alias
	return r.submit(op)
}

func TestAliasLRU(t *testing.T) {
	r := aliased(t, AliasLRU, 25, 2)
	for _, topic := range []string{"a", "b", "a", "c", "a", "b"} {
		r.publish(topic, 0)
	}
	r.wrote("PUBLISH a=1, PUBLISH b=2, PUBLISH =1, PUBLISH c=2, PUBLISH =1, PUBLISH b=2")
}

// TestAliasLRU_model compares thousands of publishes with the plainest cache
// that there is.
func TestAliasLRU_model(t *testing.T) {
	const size = 5
	r := aliased(t, AliasLRU, 25, size)
	random := rand.New(rand.NewPCG(1, 2))
	var recent []string // the latest first
	aliases := map[string]int{}
	var expected []string
	for range 5000 {
		topic := string(rune('a' + random.IntN(2*size)))
		r.publish(topic, 0)
		alias, known := aliases[topic]
		switch {
		case known:
			recent = slices.DeleteFunc(recent, func(s string) bool { return s == topic })
			expected = append(expected, fmt.Sprintf("PUBLISH =%d", alias))
		case len(recent) < size:
			alias = len(recent) + 1
		default:
			oldest := recent[size-1]
			recent = recent[:size-1]
			alias = aliases[oldest]
			delete(aliases, oldest)
		}
		if !known {
			aliases[topic] = alias
			expected = append(expected, fmt.Sprintf("PUBLISH %s=%d", topic, alias))
		}
		recent = append([]string{topic}, recent...)
	}
	r.wrote(strings.Join(expected, ", "))
}

// The native client stores its cache size and never reads it.
func TestAliasLRUSizeIsObeyed(t *testing.T) {
	r := aliased(t, AliasLRU, 1, 10)
	for _, topic := range []string{"a", "b", "b", "a"} {
		r.publish(topic, 0)
	}
	t.Run("MQTT-3.2.2-17", func(t *testing.T) {
		r.wrote("PUBLISH a=1, PUBLISH b=1, PUBLISH =1, PUBLISH a=1")
	})
}

func TestAliasManual(t *testing.T) {
	r := aliased(t, AliasManual, 0, 3)
	r.publishAlias("a", 3)
	r.publishAlias("a", 3)
	r.publishAlias("b", 3)
	r.publishAlias("a", 3)
	r.publishAlias("a", 0)
	r.wrote("PUBLISH a=3, PUBLISH =3, PUBLISH b=3, PUBLISH a=3, PUBLISH a")
}

// In the native client this ends the connection, and the publish never
// completes.
func TestManualAliasAboveMaximum(t *testing.T) {
	for _, maximum := range []uint16{0, 3} {
		r := aliased(t, AliasManual, 0, maximum)
		a := r.publishAlias("a", 4)
		r.wrote("PUBLISH a")
		r.state(Connected)
		r.succeeded(a)
	}
}

func TestAliasDisabled(t *testing.T) {
	r := aliased(t, AliasDisabled, 25, 10)
	r.publishAlias("a", 1)
	r.wrote("PUBLISH a")
}

func TestAliasesEndWithTheConnection(t *testing.T) {
	t.Run("MQTT-3.3.2-7", func(t *testing.T) {
		r := aliased(t, AliasLRU, 25, 2)
		r.publish("a", 1)
		r.publish("a", 1)
		r.wrote("PUBLISH a=1 1, PUBLISH =1 2")
		r.cut()
		ack := resumed
		ack.TopicAliasMaximum = ptr(uint16(2))
		r.connect(&ack)
		r.wrote("PUBLISH a=1 1 dup, PUBLISH =1 2 dup")
		r.cut()
		r.connect(&resumed)
		r.wrote("PUBLISH a 1 dup, PUBLISH a 2 dup")
	})
}

// The size of a packet counts with the alias that it really has.
func TestAliasAndMaximumPacketSize(t *testing.T) {
	long := strings.Repeat("x", 40)
	for mode, alias := range map[AliasMode]string{AliasLRU: "=2", AliasManual: "=1"} {
		r := newRig(t, &Config{OutAliases: mode, OutAliasSize: 5})
		r.connect(&wire.Connack{TopicAliasMaximum: ptr(uint16(5)), MaximumPacketSize: ptr(uint32(60))})
		first := r.newPublish(long, 0)
		first.Publish.Payload = make([]byte, 13) // 58 bytes without alias, 61 with it
		first.Publish.TopicAlias = 1
		r.submit(first)
		r.wrote("")
		if _, ok := r.done[first].Err.(*LimitError); !ok {
			t.Fatalf("mode %d: %+v", mode, r.done[first])
		}
		second := r.newPublish(long, 0) // must not count on the alias of the first
		second.Publish.Payload = nil
		second.Publish.TopicAlias = 1
		r.submit(second)
		third := r.newPublish(long, 0)
		third.Publish.Payload = make([]byte, 40) // fits thanks to the alias
		third.Publish.TopicAlias = 1
		r.submit(third)
		r.wrote("PUBLISH " + long + alias + ", PUBLISH " + alias)
	}
}

func TestInboundAliases(t *testing.T) {
	message := func(topic string, alias uint16) []byte {
		return wire.AppendPublish(nil, &wire.Publish{Topic: topic, TopicAlias: alias})
	}
	connected := func(t *testing.T) *rig {
		r := newRig(t, &Config{InAliasMax: 2})
		r.connect(&connack)
		return r
	}
	t.Run("announced", func(t *testing.T) {
		r := newRig(t, &Config{InAliasMax: 2})
		if got := r.dial(&hello).TopicAliasMaximum; got == nil || *got != 2 {
			t.Errorf("Topic Alias Maximum %v", got)
		}
	})
	t.Run("MQTT-3.3.2-10", func(t *testing.T) {
		r := connected(t)
		r.receive(message("a", 1))
		r.receive(message("", 1))
		r.receive(message("b", 1))
		r.receive(message("", 1))
		equal(t, "messages", r.messages, []string{"a:", "a:", "b:", "b:"})
	})
	t.Run("MQTT-3.3.2-11", func(t *testing.T) {
		r := connected(t)
		r.receive(message("a", 3))
		r.wrote("DISCONNECT 0x94")
	})
	t.Run("not bound", func(t *testing.T) {
		r := connected(t)
		r.receive(message("a", 1))
		r.cut()
		r.connect(&connack)
		r.receive(message("", 1))
		r.wrote("DISCONNECT 0x82")
	})
	t.Run("disabled", func(t *testing.T) {
		r := reach(t, Connected, &Config{})
		r.receive(message("a", 1))
		r.wrote("DISCONNECT 0x94")
	})
}
