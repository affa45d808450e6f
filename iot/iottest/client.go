// SPDX-License-Identifier: Apache-2.0

package iottest

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
)

// client is one MQTT connection.
type client struct {
	core *Core
	id   int64
	raw  *faultConn
	nc   net.Conn // TLS or WebSocket above raw
	br   *bufio.Reader
	tr   *transport
	out  outbox

	version   byte
	keepAlive uint16
	window    int    // unacknowledged QoS 1 messages to the client
	maxPacket uint32 // of the client
	aliasMax  uint16 // towards the client
	lastRead  atomic.Int64
	writeErr  atomic.Pointer[error] // why writing failed

	// used by the reader alone
	aliasIn    map[uint16]string
	publishes  *bucket
	throughput *bucket

	// guarded by core.mu
	info      *ClientInfo
	presence  int64 // version number of presence messages
	session   *session
	principal *principal
	endOfLife *alarm
	aliasOut  map[string]uint16
	ended     bool
	drop      bool
	refusing  ReasonCode // publishes and subscribes, when not Success
	holdAcks  bool
	held      []func()
	unacked   int // PUBACKs among held
}

func (cl *client) send(pk *packets.Packet) error {
	pk.ProtocolVersion = cl.version
	if cl.info != nil && cl.info.NoProblemInformation && pk.FixedHeader.Type != packets.Publish &&
		pk.FixedHeader.Type != packets.Connack && pk.FixedHeader.Type != packets.Disconnect {
		pk.Mods.DisallowProblemInfo = true
	}
	err := cl.out.put(pk, cl.maxPacket)
	if err != nil && cl.out.overflowed() {
		behind := errNotReading
		cl.writeErr.Store(&behind)
		_ = cl.raw.Close()
	}
	return err
}

// sendAck sends an acknowledgement, or keeps it while they are held back.
// core.mu is held.
func (cl *client) sendAck(pk packets.Packet) {
	if !cl.holdAcks {
		_ = cl.send(&pk)
		return
	}
	if pk.FixedHeader.Type == packets.Puback {
		cl.unacked++
	}
	cl.held = append(cl.held, func() {
		if pk.FixedHeader.Type == packets.Puback {
			cl.unacked--
		}
		_ = cl.send(&pk)
	})
}

func (cl *client) sendDisconnect(code ReasonCode, text string) {
	if cl.version < 5 {
		return
	}
	pk := packet(packets.Disconnect)
	pk.ReasonCode = byte(code)
	pk.Properties.ReasonString = text
	_ = cl.send(&pk)
}

// endLocked ends the connection from the core's side. why is a reason of
// presence messages, or empty for the one that the code stands for. core.mu is
// held.
func (cl *client) endLocked(code ReasonCode, text, why string) {
	if cl.ended {
		return
	}
	cl.sendDisconnect(code, text)
	cl.core.detach(cl, Event{Reason: code, Err: &refusal{code: code, text: text}, DisconnectReason: why}, true)
	cl.finish()
}

// notConnect says what came instead of CONNECT; it is empty when nothing came at all.
func notConnect(br *bufio.Reader, err error) string {
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return "no CONNECT within Options.ConnectTimeout"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed), errors.Is(err, errCloseFrame):
		return ""
	}
	if rest, _ := br.Peek(min(br.Buffered(), 512)); bytes.Contains(rest, []byte("HTTP/1.")) || bytes.HasPrefix(rest, []byte("T /")) {
		return "an HTTP request on a port for MQTT: HTTPS and WebSockets need ALPN http/1.1 or none on the port that stands for 443"
	}
	return "the first packet is no CONNECT: " + err.Error()
}

func (cl *client) patience() time.Duration {
	if cl.keepAlive == 0 {
		return 1<<63 - 1
	}
	return time.Duration(cl.keepAlive) * 3 * time.Second / 2
}

func (cl *client) silentSince(now time.Time) time.Duration {
	return now.Sub(time.Unix(0, cl.lastRead.Load()))
}

// lifeReader counts each byte of a client as a sign of life: a large packet may
// take longer than the keep alive.
type lifeReader struct{ cl *client }

func (r lifeReader) Read(p []byte) (int, error) {
	n, err := r.cl.nc.Read(p)
	if n > 0 && r.cl.keepAlive > 0 {
		_ = r.cl.nc.SetReadDeadline(time.Now().Add(r.cl.patience()))
	}
	return n, err
}

var (
	errDropped       = errors.New("iottest: CONNECT dropped by a fault")
	errPacketDropped = errors.New("iottest: packet dropped by a fault")
	errCut           = errors.New("iottest: connection cut by a fault")
)

// serveMQTT runs one MQTT connection to its end. nc is raw, or TLS or a
// WebSocket above it.
func (c *Core) serveMQTT(raw *faultConn, nc net.Conn, tr *transport) {
	raw.owned.Store(true)
	cl := &client{core: c, id: raw.id, raw: raw, nc: nc, tr: tr, aliasIn: map[uint16]string{}, aliasOut: map[string]uint16{}}
	cl.br = bufio.NewReader(lifeReader{cl})
	cl.out.limit, cl.out.max = -1, c.quotas.MaxOutboundBytes
	cl.out.cond = sync.NewCond(&cl.out.mu)
	c.wg.Go(cl.writeLoop)
	defer cl.finish()

	if !c.register(cl) {
		return
	}
	_ = nc.SetReadDeadline(time.Now().Add(c.opts.ConnectTimeout))
	pk, _, err := readPacket(cl.br, 5, c.quotas.MaxPacketBytes)
	if err == nil && pk.FixedHeader.Type != packets.Connect {
		err = fmt.Errorf("packet type %d", pk.FixedHeader.Type)
	}
	if err != nil {
		if text := notConnect(cl.br, err); text != "" {
			c.emit(Event{Type: ConnectRefused, Conn: cl.id, Err: errors.New("iottest: " + text), Client: tr.describe(cl, &packets.Packet{})})
		}
		c.forget(cl)
		return
	}
	if !cl.connect(&pk) {
		return
	}
	err = cl.readLoop()
	c.mu.Lock()
	defer c.mu.Unlock()
	var r *refusal
	switch {
	case cl.ended:
	case errors.As(err, &r):
		cl.endLocked(r.code, r.text, "")
	case errors.Is(err, os.ErrDeadlineExceeded):
		cl.endLocked(KeepAliveTimeout, "", "")
	case errors.Is(err, errCloseFrame):
		c.detach(cl, Event{ByClient: true}, false)
	default:
		if errors.Is(err, io.ErrUnexpectedEOF) {
			err = io.EOF
		}
		if w := cl.writeErr.Load(); w != nil {
			err = *w
		}
		c.detach(cl, Event{Err: fmt.Errorf("iottest: connection lost: %w", err)}, true)
	}
}

// register puts the client on the list of all; false when the core is closed.
func (c *Core) register(cl *client) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false
	}
	c.clients[cl] = struct{}{}
	return true
}

func (c *Core) forget(cl *client) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.clients, cl)
}

// detach ends the tie between connection and session. c.mu is held.
func (c *Core) detach(cl *client, e Event, publishWill bool) {
	if cl.ended {
		return
	}
	cl.ended = true
	delete(c.clients, cl)
	c.cancelAlarm(cl.endOfLife)
	s := cl.session
	if s == nil {
		return
	}
	e.Type, e.Conn, e.ClientID, e.Client = Disconnected, cl.id, s.clientID, cl.info
	if e.DisconnectReason == "" {
		e.DisconnectReason = disconnectReason(e)
	}
	c.emit(e)
	if s.client != cl {
		return
	}
	s.client = nil
	c.releaseVersion(s.clientID)
	s.stopReplay()
	will := s.will
	s.will = nil
	if s.expiry <= 0 {
		c.dropSession(s)
	} else {
		s.suspend()
	}
	if publishWill && will != nil && s.principal.allowed(c, s.clientID, "iot:Publish", "topic/"+will.Topic) {
		c.emit(Event{Type: WillPublished, Conn: cl.id, ClientID: s.clientID, Message: will})
		c.route(will, s)
	}
	cl.presenceDisconnected(e)
}

func (cl *client) readLoop() error {
	c := cl.core
	for {
		if cl.keepAlive > 0 {
			_ = cl.nc.SetReadDeadline(time.Now().Add(cl.patience()))
		}
		pk, size, err := readPacket(cl.br, cl.version, c.quotas.MaxPacketBytes)
		if err != nil {
			return err
		}
		now := c.now()
		cl.lastRead.Store(now.UnixNano())
		if wait := cl.throughput.owe(now, size); wait > 0 {
			t := time.NewTimer(wait)
			select {
			case <-t.C:
			case <-cl.raw.done:
				t.Stop()
			}
		}
		c.mu.Lock()
		if cl.ended {
			c.mu.Unlock()
			return net.ErrClosed
		}
		cl.out.cork() // a PUBACK and the answer of a service leave in one write
		done, err := cl.handle(&pk)
		cl.out.uncork()
		c.mu.Unlock()
		if err != nil || done {
			return err
		}
	}
}

// handle processes one packet with core.mu held. done is true after DISCONNECT.
func (cl *client) handle(pk *packets.Packet) (done bool, err error) {
	if cl.drop && pk.FixedHeader.Type != packets.Disconnect {
		if pk.FixedHeader.Type == packets.Publish {
			id := cl.session.clientID
			cl.core.emit(Event{Type: PublishRefused, Conn: cl.id, ClientID: id, Message: messageOf(pk, id), PacketID: pk.PacketID, Err: errPacketDropped})
		}
		return false, nil
	}
	switch pk.FixedHeader.Type {
	case packets.Publish:
		return false, cl.publish(pk)
	case packets.Puback:
		s := cl.session
		if d, ok := s.inflight[pk.PacketID]; ok {
			delete(s.inflight, pk.PacketID)
			s.forget(d)
			cl.core.emit(Event{Type: Acknowledged, Conn: cl.id, ClientID: s.clientID, PacketID: pk.PacketID, Reason: ReasonCode(pk.ReasonCode)})
			s.pump()
		}
		return false, nil
	case packets.Subscribe:
		return false, cl.subscribe(pk)
	case packets.Unsubscribe:
		return false, cl.unsubscribe(pk)
	case packets.Pingreq:
		cl.core.emit(Event{Type: Pinged, Conn: cl.id, ClientID: cl.session.clientID})
		cl.sendAck(packet(packets.Pingresp))
		return false, nil
	case packets.Disconnect:
		return true, cl.disconnect(pk)
	case packets.Connect:
		return false, refuse(ProtocolError, "second CONNECT")
	case packets.Auth:
		return false, refuse(ProtocolError, "AUTH is not supported")
	}
	return false, refuse(ProtocolError, "packet type %d is not supported", pk.FixedHeader.Type)
}

func (cl *client) disconnect(pk *packets.Packet) error {
	s := cl.session
	if cl.version == 5 && pk.Properties.SessionExpiryIntervalFlag {
		wanted := time.Duration(pk.Properties.SessionExpiryInterval) * time.Second
		if s.expiry == 0 && wanted > 0 {
			return refuse(ProtocolError, "DISCONNECT must not raise a session expiry of 0")
		}
		s.expiry = min(wanted, cl.core.quotas.MaxSessionExpiry)
	}
	code := ReasonCode(pk.ReasonCode)
	cl.core.detach(cl, Event{Reason: code, ByClient: true}, code == disconnectWithWill)
	return nil
}

// publish handles PUBLISH.
func (cl *client) publish(pk *packets.Packet) error {
	c, s := cl.core, cl.session
	if pk.Properties.TopicAliasFlag {
		alias := pk.Properties.TopicAlias
		if alias == 0 || alias > c.quotas.TopicAliasMaximum {
			return refuse(TopicAliasInvalid, "topic alias %d, the maximum is %d", alias, c.quotas.TopicAliasMaximum)
		}
		if pk.TopicName != "" {
			cl.aliasIn[alias] = pk.TopicName
		} else if pk.TopicName = cl.aliasIn[alias]; pk.TopicName == "" {
			return refuse(ProtocolError, "topic alias %d is not known", alias)
		}
	}
	if pk.TopicName == "" {
		return refuse(ProtocolError, "PUBLISH without topic")
	}
	if len(pk.Properties.SubscriptionIdentifier) > 0 {
		return refuse(ProtocolError, "PUBLISH with subscription identifier")
	}
	qos := pk.FixedHeader.Qos
	if qos > 0 && pk.PacketID == 0 {
		return refuse(ProtocolError, "PUBLISH with packet id 0")
	}
	m := messageOf(pk, s.clientID)
	refused := Event{Type: PublishRefused, Conn: cl.id, ClientID: s.clientID, Message: m, PacketID: pk.PacketID}
	if qos == 2 {
		refused.Reason, refused.Err = QoSNotSupported, errQoS2
		c.emit(refused)
		return nil // no answer at all
	}
	if hasWildcard(m.Topic) {
		return refuse(TopicNameInvalid, "topic has a wildcard")
	}
	if qos == 1 && cl.unacked >= int(c.quotas.ReceiveMaximum) {
		return refuse(ReceiveMaximumExceeded, "more than %d unacknowledged publishes", c.quotas.ReceiveMaximum)
	}
	if r, discard := cl.mayPublish(m); r != nil {
		refused.Reason, refused.Err = r.code, r
		c.emit(refused)
		switch {
		case cl.version == 5 && qos == 1:
			ack := packet(packets.Puback)
			ack.PacketID, ack.ReasonCode, ack.Properties.ReasonString = pk.PacketID, byte(r.code), r.text
			cl.sendAck(ack)
			return nil
		case discard:
			return nil
		}
		return r
	}
	c.emit(Event{Type: Published, Conn: cl.id, ClientID: s.clientID, Message: m, PacketID: pk.PacketID})
	if qos == 1 {
		ack := packet(packets.Puback)
		ack.PacketID = pk.PacketID
		cl.sendAck(ack)
	}
	c.route(m, s)
	c.callService(m, cl)
	return nil
}

var errQoS2 = errors.New("iottest: QoS 2 is not supported")

// mayPublish applies quotas, topic rules and policies. discard reports that a
// refused publish that cannot be answered is only dropped; otherwise it ends
// the connection.
func (cl *client) mayPublish(m *Message) (r *refusal, discard bool) {
	c := cl.core
	if cl.refusing != Success {
		return refuse(cl.refusing, "refused by a fault"), false
	}
	if !cl.publishes.take(c.nowLocked(), 1) {
		return refuse(QuotaExceeded, "more than %d publishes a second", c.quotas.PublishRate), true
	}
	if wrong := c.quotas.checkShape(m.Topic); wrong != "" {
		return refuse(TopicNameInvalid, "%s", wrong), false
	}
	if !mayPublish(m.Topic) {
		return refuse(TopicNameInvalid, "reserved topic"), false
	}
	if len(m.Payload) > c.quotas.MaxPayloadBytes {
		return refuse(QuotaExceeded, "payload has %d bytes, the limit is %d", len(m.Payload), c.quotas.MaxPayloadBytes), false
	}
	if !cl.allowed("iot:Publish", "topic/"+m.Topic) {
		return refuse(NotAuthorized, "iot:Publish is not allowed on the topic"), false
	}
	if m.Retain {
		if m.Topic[0] == '$' {
			return refuse(TopicNameInvalid, "reserved topics retain nothing"), false
		}
		if !cl.allowed("iot:RetainPublish", "topic/"+m.Topic) {
			return refuse(NotAuthorized, "iot:RetainPublish is not allowed on the topic"), false
		}
	}
	return nil, false
}

func (cl *client) allowed(action, resource string) bool {
	return cl.principal.allowed(cl.core, cl.session.clientID, action, resource)
}

// subscribe handles SUBSCRIBE.
func (cl *client) subscribe(pk *packets.Packet) error {
	c, s := cl.core, cl.session
	switch {
	case pk.PacketID == 0 || len(pk.Filters) == 0:
		return refuse(ProtocolError, "SUBSCRIBE without packet id or filters")
	case len(pk.Properties.SubscriptionIdentifier) > 0:
		return refuse(SubscriptionIDsNotSupported, "subscription identifiers are not supported")
	case len(pk.Filters) > c.quotas.MaxFiltersPerSubscribe:
		return refuse(QuotaExceeded, "more than %d filters in a SUBSCRIBE", c.quotas.MaxFiltersPerSubscribe)
	}
	for _, f := range pk.Filters {
		if f.Qos == 2 {
			c.emit(Event{Type: Subscribed, Conn: cl.id, ClientID: s.clientID, Filter: f.Filter, PacketID: pk.PacketID, Reason: QoSNotSupported, Err: errQoS2})
			return nil // no answer at all
		}
	}
	ack := packet(packets.Suback)
	ack.PacketID = pk.PacketID
	var retained []*subscription
	var granted []string
	for _, f := range pk.Filters {
		sub, r := cl.checkFilter(f)
		e := Event{Type: Subscribed, Conn: cl.id, ClientID: s.clientID, Filter: f.Filter, PacketID: pk.PacketID}
		if r != nil {
			if cl.version < 5 {
				e.Reason, e.Err = r.code, r
				c.emit(e)
				return r
			}
			e.Reason, e.Err = r.code, r
			ack.ReasonCodes = append(ack.ReasonCodes, byte(r.code))
			ack.Properties.ReasonString = r.text
		} else {
			isNew := c.addSub(s, f.Filter, sub)
			if f.RetainHandling == 0 || f.RetainHandling == 1 && isNew {
				retained = append(retained, sub)
			}
			e.Reason = ReasonCode(sub.qos)
			ack.ReasonCodes = append(ack.ReasonCodes, sub.qos)
			granted = append(granted, f.Filter)
		}
		c.emit(e)
	}
	s.keep()
	cl.sendAck(ack)
	for _, sub := range retained {
		c.sendRetained(s, sub)
	}
	cl.presenceFilters("subscribed", granted)
	return nil
}

func (cl *client) checkFilter(f packets.Subscription) (*subscription, *refusal) {
	c, s := cl.core, cl.session
	if cl.refusing != Success {
		return nil, refuse(cl.refusing, "refused by a fault")
	}
	group, filter, ok := splitShare(f.Filter)
	if !ok || !validFilter(filter) {
		return nil, refuse(TopicFilterInvalid, "invalid topic filter")
	}
	if wrong := c.quotas.checkShape(filter); wrong != "" {
		return nil, refuse(TopicFilterInvalid, "%s", wrong)
	}
	if !maySubscribe(filter) {
		return nil, refuse(TopicFilterInvalid, "reserved topic")
	}
	if group != "" && f.NoLocal {
		return nil, refuse(TopicFilterInvalid, "shared subscription with No Local")
	}
	if !cl.allowed("iot:Subscribe", "topicfilter/"+f.Filter) {
		return nil, refuse(NotAuthorized, "iot:Subscribe is not allowed on the topic filter")
	}
	if _, exists := s.subs[f.Filter]; !exists && len(s.subs) >= c.quotas.MaxSubscriptions {
		return nil, refuse(QuotaExceeded, "more than %d subscriptions", c.quotas.MaxSubscriptions)
	}
	return &subscription{session: s, filter: filter, group: group, qos: f.Qos, noLocal: f.NoLocal,
		asPublish: f.RetainAsPublished}, nil
}

// unsubscribe handles UNSUBSCRIBE. The service does not report whether a
// subscription existed.
func (cl *client) unsubscribe(pk *packets.Packet) error {
	c, s := cl.core, cl.session
	if pk.PacketID == 0 || len(pk.Filters) == 0 {
		return refuse(ProtocolError, "UNSUBSCRIBE without packet id or filters")
	}
	ack := packet(packets.Unsuback)
	ack.PacketID = pk.PacketID
	var removed []string
	for _, f := range pk.Filters {
		if c.removeSub(s, f.Filter) {
			removed = append(removed, f.Filter)
		}
		ack.ReasonCodes = append(ack.ReasonCodes, byte(Success))
		c.emit(Event{Type: Unsubscribed, Conn: cl.id, ClientID: s.clientID, Filter: f.Filter, PacketID: pk.PacketID})
	}
	s.keep()
	cl.sendAck(ack)
	cl.presenceFilters("unsubscribed", removed)
	return nil
}
