// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/internal/wire"
)

// authState is where an enhanced authentication stands (section 4.12).
type authState uint8

const (
	authNone       authState = iota // CONNECT had no authentication method
	authConnecting                  // until CONNACK
	authConfirming                  // the server accepts us; until we accept it, nothing of its is taken and nothing of the user's sent
	authIdle
	authRenewing // re-authentication
)

func (e *Engine) receiveAuth(now time.Duration, f *wire.Frame) *wire.Error {
	a := new(wire.Auth)
	if err := wire.ParseAuth(f, a); err != nil {
		return err
	}
	if err := e.checkProblemInformation(f.Type, a.ReasonString != nil || a.UserProperties != nil); err != nil {
		return err
	}
	switch {
	case e.authState == authNone:
		return violation(wire.TypeAuth, "MQTT-4.12.0-6", "CONNECT had no authentication method")
	case e.authState == authIdle:
		return violation(wire.TypeAuth, "4.12.1", "no re-authentication was started")
	case value(a.AuthenticationMethod, "") != *e.offer.authenticationMethod:
		return violation(wire.TypeAuth, "MQTT-4.12.0-5", "authentication method differs from that of CONNECT")
	case e.challenged:
		return violation(wire.TypeAuth, "4.12", "the AUTH before was not answered yet")
	}
	switch {
	case a.ReasonCode == wire.ContinueAuthentication:
		e.challenged = true
		e.sink.Challenge(a, false)
	case a.ReasonCode == wire.Success && e.authState == authRenewing:
		e.authState = authIdle
		e.sink.Challenge(a, true)
	default:
		return violation(wire.TypeAuth, "MQTT-3.15.2-1", "unexpected reason code")
	}
	return nil
}

// Authenticate answers the challenge of the server, or with an error ends the
// connection.
func (e *Engine) Authenticate(now time.Duration, data []byte, failure error) error {
	if e.authState != authConnecting && e.authState != authRenewing ||
		e.state != Handshake && e.state != Connected {
		return ErrNoAuthentication
	}
	if failure != nil {
		e.disconnect(now, wire.UnspecifiedError, failure)
		return nil
	}
	if err := e.writeAuth(wire.ContinueAuthentication, data); err != nil {
		e.disconnect(now, wire.UnspecifiedError, err)
	}
	return nil
}

// Confirming reports whether the server is still to be judged by the last data
// of its CONNACK. Meanwhile Receive takes nothing that follows.
func (e *Engine) Confirming() bool { return e.state == Handshake && e.authState == authConfirming }

// AcceptServer reports that the last authentication data was accepted. Bytes
// that Receive did not take are to be given to it again.
func (e *Engine) AcceptServer(now time.Duration) {
	if e.Confirming() {
		e.authState = authIdle
		e.enterConnected(now, e.confirming)
		e.confirming = nil
	}
}

// RejectServer ends a connection whose last authentication data did not
// convince us.
func (e *Engine) RejectServer(now time.Duration, failure error) {
	if e.state == Handshake || e.state == Connected {
		e.disconnect(now, wire.UnspecifiedError, failure)
	}
}

// Reauthenticate starts a re-authentication with the method of the CONNECT
// [MQTT-4.12.1-1]. It has to end within the timeout for CONNACK.
func (e *Engine) Reauthenticate(now time.Duration, data []byte) error {
	switch {
	case e.state != Connected:
		return ErrNotConnected
	case e.authState != authIdle:
		return ErrNoAuthentication
	}
	if err := e.writeAuth(wire.Reauthenticate, data); err != nil {
		return err
	}
	e.authState = authRenewing
	e.authDeadline = after(now, e.cfg.ConnackTimeout)
	return nil
}

// errAuthTooLarge ends an exchange whose data the server would not take.
var errAuthTooLarge = &LimitError{"AuthenticationData", "makes the AUTH larger than the server's Maximum Packet Size", "MQTT-3.2.2-15"}

func (e *Engine) writeAuth(reason wire.ReasonCode, data []byte) error {
	p := wire.Auth{ReasonCode: reason, AuthenticationMethod: e.offer.authenticationMethod, AuthenticationData: data}
	if found := wire.CheckAuth(&p); len(found) > 0 {
		return &LimitError{found[0].Field, found[0].Text, found[0].Rule}
	}
	if wire.AuthSize(&p) > int(e.settings.MaximumPacketSizeToServer) {
		return errAuthTooLarge
	}
	e.challenged = false
	e.control = wire.AppendAuth(e.controlBuffer(), &p)
	e.stats.PacketsOut++
	return nil
}
