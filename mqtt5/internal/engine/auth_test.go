// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"errors"
	"testing"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/internal/wire"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/internal/wire/wiretest"
)

var method = "m"

func (r *rig) auth(reason wire.ReasonCode, method string) {
	r.t.Helper()
	r.receive(wire.AppendAuth(nil, &wire.Auth{ReasonCode: reason, AuthenticationMethod: &method}))
}

// authenticating has sent a CONNECT with an authentication method.
func authenticating(t *testing.T) *rig {
	r := newRig(t, &Config{ConnackTimeout: 5 * time.Second})
	r.dial(&wire.Connect{ClientID: "c", AuthenticationMethod: &method})
	return r
}

func authenticated(t *testing.T) *rig {
	r := authenticating(t)
	r.receive(wiretest.AppendConnack(nil, &wire.Connack{AuthenticationMethod: &method}))
	r.e.AcceptServer(r.now)
	r.state(Connected)
	return r
}

func TestAuthExchange(t *testing.T) {
	t.Run("MQTT-4.12.0-3 MQTT-4.12.0-5", func(t *testing.T) {
		r := authenticating(t)
		for range 2 {
			r.auth(wire.ContinueAuthentication, method)
			r.must(r.e.Authenticate(r.now, []byte("x"), nil))
			r.wrote("AUTH 0x18")
		}
		r.receive(wiretest.AppendConnack(nil, &wire.Connack{AuthenticationMethod: &method}))
		r.event(EventConnecting)
		equal(t, "challenges", r.challenges, []bool{false, false, true})
		r.publish("a", 1)
		early := wire.AppendPublish(nil, &wire.Publish{Topic: "early"})
		if n, need := r.e.Receive(r.now, early); n != 0 || need != 0 || len(r.messages) > 0 {
			t.Errorf("takes %d bytes of a server that has not proved itself, wants %d", n, need)
		}
		r.wrote("")
		r.e.AcceptServer(r.now)
		r.event(EventSucceeded)
		r.wrote("PUBLISH a 1")
		r.receive(early)
		equal(t, "messages", r.messages, []string{"early:"})
	})
}

func TestAuthFailures(t *testing.T) {
	for name, c := range map[string]struct {
		act  func(r *rig)
		want string
	}{
		"another method":         {func(r *rig) { r.auth(wire.ContinueAuthentication, "other") }, "DISCONNECT 0x82"},
		"success before CONNACK": {func(r *rig) { r.auth(wire.Success, method) }, "DISCONNECT 0x82"},
		"two at once": {func(r *rig) {
			r.auth(wire.ContinueAuthentication, method)
			r.auth(wire.ContinueAuthentication, method)
		}, "DISCONNECT 0x82"},
		"our own":                {func(r *rig) { r.must(r.e.Authenticate(r.now, nil, errors.New("no"))) }, "DISCONNECT 0x80"},
		"CONNACK without method": {func(r *rig) { r.receive(wiretest.AppendConnack(nil, &connack)) }, "DISCONNECT 0x82"},
	} {
		t.Run(name, func(t *testing.T) {
			r := authenticating(t)
			c.act(r)
			r.wrote(c.want)
			r.event(EventFailed)
		})
	}
	t.Run("MQTT-4.12.0-6", func(t *testing.T) {
		for _, state := range []State{Handshake, Connected} {
			r := reach(t, state, &Config{})
			r.auth(wire.ContinueAuthentication, method)
			r.wrote("DISCONNECT 0x82")
		}
	})
	t.Run("no one asked", func(t *testing.T) {
		r := authenticated(t)
		r.auth(wire.ContinueAuthentication, method)
		r.wrote("DISCONNECT 0x82")
	})
}

func TestReauthentication(t *testing.T) {
	t.Run("MQTT-4.12.1-1", func(t *testing.T) {
		r := authenticated(t)
		r.must(r.e.Reauthenticate(r.now, []byte("x")))
		if err := r.e.Reauthenticate(r.now, nil); err != ErrNoAuthentication {
			t.Errorf("two at once: %v", err)
		}
		r.publish("a", 0) // other traffic goes on
		r.auth(wire.ContinueAuthentication, method)
		r.must(r.e.Authenticate(r.now, nil, nil))
		r.wrote("AUTH 0x19, AUTH 0x18, PUBLISH a")
		r.auth(wire.Success, method)
		r.pass(10 * time.Second)
		r.state(Connected)
	})
	t.Run("timeout", func(t *testing.T) {
		r := authenticated(t)
		r.must(r.e.Reauthenticate(r.now, nil))
		r.flush()
		r.pass(5 * time.Second)
		r.wrote("DISCONNECT 0x80")
		if err := r.event(EventDisconnected).Err; err != ErrAuthentication {
			t.Errorf("cause %v", err)
		}
	})
	t.Run("without a method", func(t *testing.T) {
		r := reach(t, Connected, &Config{})
		if err := r.e.Reauthenticate(r.now, nil); err != ErrNoAuthentication {
			t.Error(err)
		}
	})
	t.Run("without a connection", func(t *testing.T) {
		r := reach(t, Waiting, &Config{})
		if err := r.e.Reauthenticate(r.now, nil); err != ErrNotConnected {
			t.Error(err)
		}
	})
}

func TestServerThatDoesNotConvince(t *testing.T) {
	connacked := func(t *testing.T) *rig {
		r := authenticating(t)
		r.receive(wiretest.AppendConnack(nil, &wire.Connack{AuthenticationMethod: &method}))
		return r
	}
	t.Run("is left", func(t *testing.T) {
		r := connacked(t)
		r.publish("a", 1)
		r.e.RejectServer(r.now, ErrAuthentication)
		r.wrote("DISCONNECT 0x80")
	})
	t.Run("is left once", func(t *testing.T) {
		r := connacked(t)
		r.stop(r.now, nil, 0)
		r.wrote("DISCONNECT 0x0")
		r.e.RejectServer(r.now, ErrAuthentication)
		r.wrote("")
	})
	t.Run("is left when nobody says so", func(t *testing.T) {
		r := connacked(t)
		r.pass(5 * time.Second)
		r.wrote("DISCONNECT 0x80")
	})
}
