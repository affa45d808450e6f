// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/internal/wire"
)

func violation(t wire.Type, rule, text string) *wire.Error {
	return &wire.Error{Reason: wire.ProtocolError, Packet: t, Rule: rule, Text: text}
}

// receiveConnack ends the handshake, either way.
func (e *Engine) receiveConnack(now time.Duration, f *wire.Frame) *wire.Error {
	if e.state != Handshake {
		return violation(wire.TypeConnack, "MQTT-3.2.0-2", "second CONNACK on one connection")
	}
	ack := new(wire.Connack)
	if err := wire.ParseConnack(f, ack); err != nil {
		return err
	}
	if ack.ReasonCode >= 0x80 {
		// [MQTT-4.13.2-1]: nothing to send, just close.
		e.conclude(now, &Event{Err: ErrConnectionRefused, Connack: ack})
		e.beginClosing(now)
		return nil
	}
	o := &e.offer
	switch {
	case ack.ReasonCode != wire.Success:
		return violation(wire.TypeConnack, "MQTT-3.2.2-8", "reason code is neither success nor failure")
	case ack.SessionPresent && o.cleanStart:
		return violation(wire.TypeConnack, "MQTT-3.2.2-4", "session present, but a clean start was asked for")
	case e.settings.ClientID == "" && value(ack.AssignedClientID, "") == "":
		return violation(wire.TypeConnack, "MQTT-3.2.2-16", "no client identifier was sent, and none assigned")
	case ack.ResponseInformation != nil && !o.responseInformation:
		return violation(wire.TypeConnack, "MQTT-3.1.2-28", "response information that was not asked for")
	case o.authenticationMethod == nil && ack.AuthenticationMethod != nil:
		return violation(wire.TypeConnack, "MQTT-4.12.0-6", "authentication method, but CONNECT had none")
	case o.authenticationMethod != nil && value(ack.AuthenticationMethod, "") != *o.authenticationMethod:
		return violation(wire.TypeConnack, "MQTT-4.12.0-5", "authentication method differs from that of CONNECT")
	}
	if e.authState == authConnecting {
		e.authState = authConfirming
		e.confirming = ack
		e.sink.Challenge(&wire.Auth{AuthenticationMethod: ack.AuthenticationMethod, AuthenticationData: ack.AuthenticationData}, true)
		return nil
	}
	e.enterConnected(now, ack)
	return nil
}

func (e *Engine) enterConnected(now time.Duration, ack *wire.Connack) {
	if ack.AssignedClientID != nil && e.settings.ClientID == "" {
		// An identifier that starts with $ may be reserved to the server,
		// which then refuses it when it comes from a client: ask for a new one
		// each time instead of failing for ever.
		if id := *ack.AssignedClientID; id[0] != '$' {
			e.assignedID = id
		}
	}
	e.settings.accept(ack)
	e.state = Connected
	e.deadline = never
	e.connectedAt = now
	e.succeeded = true
	if e.keeps() {
		e.keeping.loadFailed = false
	}
	e.stats.Connects++
	e.patience = newPatience(e.settings.ServerKeepAlive, e.cfg.PingTimeout)
	e.quota = int32(e.settings.ReceiveMaximumFromServer)
	if n := min(e.settings.TopicAliasMaximumToServer, e.aliasLimit()); n > 0 {
		e.outAliases = &outboundAliases{mode: e.cfg.OutAliases, max: n}
	}
	e.rates = newRateLimits(e.cfg, now)
	lost := 0
	if ack.SessionPresent {
		e.resumeSession(now)
	} else {
		e.discardSession()
		lost = e.filters.sessionLost(e.cfg.Resubscribe)
	}
	attempt := int(e.attempt)
	e.attempt = 0
	e.eventOpen = EventSucceeded
	e.sink.Notify(&Event{Kind: EventSucceeded, Attempt: attempt, Settings: e.settings, Connack: ack, Lost: lost})
	if e.filters.owed > 0 {
		e.restore()
	}
}

// aliasLimit is how many outbound aliases the configuration allows.
func (e *Engine) aliasLimit() uint16 {
	switch e.cfg.OutAliases {
	case AliasLRU:
		return e.cfg.OutAliasSize
	case AliasManual:
		return 65535
	default:
		return 0
	}
}
