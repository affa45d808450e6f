// SPDX-License-Identifier: Apache-2.0

package iot

import (
	"strings"

	"go.uber.org/zap"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
)

// Keep alive intervals that AWS IoT Core takes, in seconds.
const (
	minKeepAlive = 30
	maxKeepAlive = 1200
)

// contradictions are options that exclude each other. Options that merely have no
// effect are logged.
func (s *settings) contradictions(m method) (problems []error) {
	problem := func(format string, args ...any) { problems = append(problems, invalid(format, args...)) }
	if s.plaintext && s.identity != nil {
		problem("a client certificate requires TLS; leave out WithPlaintext or the certificate")
	}
	if s.dial != nil && s.socket != nil {
		problem("WithSocket has no effect beside WithDialer; give one of them")
	}
	if s.tlsContext != nil {
		switch {
		case s.plaintext:
			problem("WithTLSContext has no effect beside WithPlaintext; give one of them")
		case s.identity != nil:
			problem("WithTLSContext excludes another certificate; give the certificate to the context, and use a method without one, such as NewForBroker")
		case len(s.tls) > 0 || s.alpnSet:
			problem("WithTLSContext excludes other options about TLS; give them to the context")
		}
	}
	log := s.logger
	if log == nil {
		log = zap.NewNop()
	}
	without := func(option, because string) {
		log.Warn("an option has no effect", zap.String("option", option), zap.String("because", because))
	}
	if s.plaintext && (len(s.tls) > 0 || s.alpnSet) {
		without("WithTLS, WithALPN and their like", "there is no TLS with WithPlaintext")
	}
	if len(s.websocket) > 0 && !m.websocket() {
		without("WithWebsocket", "the connection is direct")
	}
	if s.region != "" && !m.signs {
		without("WithRegion", "nothing is signed")
	}
	return problems
}

// checkClient reports options of the client that contradict each other, and what
// AWS IoT Core would not take.
func (c *connector) checkClient(o *mqtt5.ClientOptions) (problems []error) {
	problem := func(format string, args ...any) { problems = append(problems, invalid(format, args...)) }
	packet := &o.Connect
	// What PrepareConnect completes is not known yet.
	if final := o.PrepareConnect == nil; final {
		if o.SessionBehavior != mqtt5.SessionClean && (packet.SessionExpiryIntervalSeconds == nil || *packet.SessionExpiryIntervalSeconds == 0) {
			problem("rejoining sessions (SessionBehavior) has no effect: the session expiry is 0, so that the server forgets the session when the connection ends; give an expiry with WithSession")
		}
		if packet.WillDelayIntervalSeconds != nil && packet.Will == nil {
			problem("WillDelayIntervalSeconds has no effect without a will; give one with WithWill")
		}
	}
	if !c.profile {
		return problems
	}
	if o.Limits != nil && strings.HasPrefix(packet.ClientID, "$") {
		problem("the client id %q begins with $, which AWS IoT Core keeps to itself; choose another", packet.ClientID)
	}
	if k := packet.KeepAliveSeconds; k != nil && o.Logger != nil && (*k < minKeepAlive || *k > maxKeepAlive) {
		effective := maxKeepAlive
		if *k > 0 && *k < minKeepAlive {
			effective = minKeepAlive
		}
		o.Logger.Warn("AWS IoT Core changes this keep alive interval", zap.Uint16("seconds", *k), zap.Int("inEffect", effective))
	}
	return problems
}
