// SPDX-License-Identifier: Apache-2.0

package iottest

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
)

// Secret is a password or token that is not revealed when it is printed.
type Secret []byte

// String hides the value.
func (Secret) String() string { return "[redacted]" }

// GoString hides the value.
func (Secret) GoString() string { return "[redacted]" }

// Format hides the value.
func (Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "[redacted]") }

// ClientInfo describes a connection: how it came and what its CONNECT said.
type ClientInfo struct {
	Conn       int64 // number of the connection
	ClientID   string
	Assigned   bool // the client id was assigned by the core
	Version    int  // 3, 4 (MQTT 3.1.1) or 5
	RemoteAddr string

	// How it came.
	Port        string      // "443", "8883" or "1883": the port that the listener stands for
	TLSVersion  uint16      // as in crypto/tls, 0 without TLS
	ALPN        string      // negotiated protocol
	ServerName  string      // SNI
	WebSocket   bool        //
	Header      http.Header // of the WebSocket upgrade; do not modify
	Auth        string      // "x509", "sigv4", "custom" or "none"
	Thing       string      // name of the device
	AccessKeyID string      // of the signature
	Authorizer  string      // name of the custom authorizer

	// What CONNECT said.
	CleanStart           bool
	KeepAlive            uint16 // seconds, as asked for
	ServerKeepAlive      uint16 // seconds, as in effect
	SessionExpiry        time.Duration
	ReceiveMaximum       uint16 // 0: not given
	MaximumPacketSize    uint32 // 0: not given
	TopicAliasMaximum    uint16
	RequestResponse      bool // Request Response Information
	NoProblemInformation bool // Request Problem Information 0
	UserProperties       []UserProperty
	HasUsername          bool
	Username             string
	HasPassword          bool
	Password             Secret
	Will                 *Message // do not modify

	SessionPresent bool // what CONNACK said
}

// Clients returns the connections that exist, by client id.
func (c *Core) Clients() map[string]ClientInfo {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := map[string]ClientInfo{}
	for cl := range c.clients {
		if cl.session != nil && cl.info != nil {
			out[cl.session.clientID] = *cl.info
		}
	}
	return out
}

// Disconnect sends a client DISCONNECT with a reason code and closes the
// connection, as the service does on its own account. A 3.1.1 client sees the
// connection close. It reports whether the client was connected.
func (c *Core) Disconnect(clientID string, reason ReasonCode) bool {
	return c.withClient(clientID, func(cl *client) { cl.endLocked(reason, "", ReasonServerInitiated) })
}

func (tr *transport) describe(cl *client, pk *packets.Packet) *ClientInfo {
	p, con := &pk.Properties, &pk.Connect
	return &ClientInfo{
		Conn: cl.id, ClientID: con.ClientIdentifier, Version: int(pk.ProtocolVersion),
		RemoteAddr: cl.raw.RemoteAddr().String(), Port: tr.port, TLSVersion: tr.tlsVersion, ALPN: tr.alpn,
		ServerName: tr.serverName, WebSocket: tr.webSocket, Header: tr.header,
		CleanStart: con.Clean, KeepAlive: con.Keepalive,
		SessionExpiry:  time.Duration(p.SessionExpiryInterval) * time.Second,
		ReceiveMaximum: p.ReceiveMaximum, MaximumPacketSize: p.MaximumPacketSize, TopicAliasMaximum: p.TopicAliasMaximum,
		RequestResponse:      p.RequestResponseInfo == 1,
		NoProblemInformation: p.RequestProblemInfoFlag && p.RequestProblemInfo == 0,
		UserProperties:       userProperties(p.User),
		HasUsername:          con.UsernameFlag, Username: string(con.Username),
		HasPassword: con.PasswordFlag, Password: Secret(con.Password), Will: willOf(pk, con.ClientIdentifier),
	}
}

// errHangUp marks errors that make the service close a connection without an answer.
var errHangUp = errors.New("closed without an answer")

// connect handles CONNECT and reports whether the connection goes on.
func (cl *client) connect(pk *packets.Packet) bool {
	c := cl.core
	cl.version = pk.ProtocolVersion
	info := cl.tr.describe(cl, pk)
	f, struck := c.faults.strike(func(f *Faults) bool {
		return f.DropConnects || f.CutConnects || f.ConnackDelay > 0 || f.RefuseConnects != Success
	})
	if struck && !cl.disturbConnect(&f, info) {
		return false
	}
	if r := c.checkConnect(pk); r != nil {
		return cl.refuseConnect(info, r, r)
	}
	principal, err := c.authenticate(cl.tr, pk)
	if err != nil {
		return cl.refuseConnect(info, refusalOf(err), err)
	}
	if host, _, err := net.SplitHostPort(cl.raw.RemoteAddr().String()); err == nil {
		principal.sourceIP = host
	}
	info.Auth, info.Thing = principal.kind, principal.thing()
	info.AccessKeyID, info.Authorizer = principal.accessKeyID, principal.authorizer

	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || cl.ended {
		return false
	}
	if r := cl.establish(pk, info, principal); r != nil {
		c.mu.Unlock()
		defer c.mu.Lock()
		return cl.refuseConnect(info, r, r)
	}
	return true
}

// refuseConnect ends an attempt to connect, without an answer if r has no code.
// It returns false.
func (cl *client) refuseConnect(info *ClientInfo, r *refusal, err error) bool {
	cl.core.emit(Event{Type: ConnectRefused, Conn: cl.id, ClientID: info.ClientID, Reason: r.code, Err: err, Client: info})
	if r.code != Success {
		cl.sendConnack(r, info)
	}
	cl.core.forget(cl)
	return false
}

// refusalOf returns how to answer an attempt that is not authenticated.
func refusalOf(err error) *refusal {
	var r *refusal
	switch {
	case errors.Is(err, errHangUp):
		return &refusal{}
	case errors.As(err, &r):
		return r
	}
	return &refusal{code: NotAuthorized}
}

// disturbConnect carries out the faults of a CONNECT, and reports whether it is
// to be handled after that.
func (cl *client) disturbConnect(f *Faults, info *ClientInfo) bool {
	switch {
	case f.DropConnects:
		_ = cl.nc.SetReadDeadline(time.Time{})
		cl.core.emit(Event{Type: ConnectRefused, Conn: cl.id, ClientID: info.ClientID, Err: errDropped, Client: info})
		_, _ = io.Copy(io.Discard, cl.br)
		cl.core.forget(cl)
		return false
	case f.CutConnects:
		_ = cl.raw.Close()
		return cl.refuseConnect(info, &refusal{}, errCut)
	}
	if f.ConnackDelay > 0 {
		t := time.NewTimer(f.ConnackDelay)
		select {
		case <-t.C:
		case <-cl.raw.done:
			t.Stop()
		}
	}
	if f.RefuseConnects != Success {
		r := &refusal{code: f.RefuseConnects}
		return cl.refuseConnect(info, r, r)
	}
	return true
}

// checkConnect looks at what needs no identity.
func (c *Core) checkConnect(pk *packets.Packet) *refusal {
	con := &pk.Connect
	name := string(con.ProtocolName)
	id := con.ClientIdentifier
	switch {
	case name == "MQTT" && (pk.ProtocolVersion == 4 || pk.ProtocolVersion == 5), name == "MQIsdp" && pk.ProtocolVersion == 3:
	default:
		return refuse(UnsupportedProtocolVersion, "protocol %q version %d", name, pk.ProtocolVersion)
	}
	switch {
	case pk.ReservedBit != 0:
		return refuse(MalformedPacket, "reserved connect flag")
	case strings.HasPrefix(id, "$"):
		return refuse(ClientIdentifierNotValid, "client ids that begin with $ are reserved")
	case len(id) > c.quotas.MaxClientIDBytes:
		return refuse(ClientIdentifierNotValid, "client id is longer than %d bytes", c.quotas.MaxClientIDBytes)
	case id == "" && pk.ProtocolVersion < 5 && !con.Clean:
		return refuse(ClientIdentifierNotValid, "empty client id with a persistent session")
	case pk.Properties.AuthenticationMethod != "":
		return refuse(BadAuthenticationMethod, "enhanced authentication is not supported")
	}
	if !con.WillFlag {
		return nil
	}
	switch {
	case con.WillQos > 1:
		return refuse(QoSNotSupported, "a will with QoS 2")
	case con.WillTopic == "" || hasWildcard(con.WillTopic) || !mayPublish(con.WillTopic) || c.quotas.checkShape(con.WillTopic) != "":
		return refuse(TopicNameInvalid, "will topic")
	case len(con.WillPayload) > c.quotas.MaxPayloadBytes:
		return refuse(QuotaExceeded, "will payload")
	}
	return nil
}

// establish gives the connection its session and answers CONNECT. core.mu is held.
func (cl *client) establish(pk *packets.Packet, info *ClientInfo, p *principal) *refusal {
	c, con := cl.core, &pk.Connect
	if con.ClientIdentifier == "" {
		con.ClientIdentifier = "$GEN/" + uuid()
		info.ClientID, info.Assigned = con.ClientIdentifier, true
	}
	id := con.ClientIdentifier
	if r := cl.authorize(con, p); r != nil {
		return r
	}
	now := c.nowLocked()
	if !c.takeConnect(id, now) {
		return refuse(QuotaExceeded, "more than %d CONNECTs a second for one client id", c.quotas.ConnectRate)
	}
	s, present := cl.openSession(con)
	info.SessionPresent = present
	c.cancelAlarm(s.expire)
	s.client, s.principal, s.will = cl, p, willOf(pk, id)
	cl.session, cl.principal, cl.info = s, p, info
	cl.presence = c.nextVersion(id)
	cl.publishes, cl.throughput = newBucket(c.quotas.PublishRate, now), newBucket(c.quotas.Throughput, now)
	cl.lastRead.Store(now.UnixNano())

	ack := packet(packets.Connack)
	ack.SessionPresent = present
	cl.negotiate(pk, &ack.Properties)
	if p.lifetime > 0 {
		cl.endOfLife = c.alarmIn(p.lifetime, cl.endOfLifeLocked)
	}
	s.keep()
	_ = cl.send(&ack)
	c.emit(Event{Type: Connected, Conn: cl.id, ClientID: id, Client: info})
	if present {
		s.resume()
	}
	cl.presenceConnected()
	return nil
}

// authorize asks the policies whether the client may connect, with the will it
// has. core.mu is held.
func (cl *client) authorize(con *packets.ConnectParams, p *principal) *refusal {
	c, id := cl.core, con.ClientIdentifier
	if !p.allowedWith(c, id, "iot:Connect", "client/"+id, p.attributes(con)) {
		cl.presenceFailed(id, p)
		return refuse(NotAuthorized, "iot:Connect is not allowed on the client id")
	}
	if con.WillFlag && !p.allowedWith(c, id, "iot:Publish", "topic/"+con.WillTopic, nil) {
		return refuse(NotAuthorized, "iot:Publish is not allowed on the will topic")
	}
	if con.WillFlag && con.WillRetain && !p.allowedWith(c, id, "iot:RetainPublish", "topic/"+con.WillTopic, nil) {
		return refuse(NotAuthorized, "iot:RetainPublish is not allowed on the will topic")
	}
	return nil
}

// takeConnect reports whether Quotas.ConnectRate allows one more CONNECT of a
// client id. c.mu is held.
func (c *Core) takeConnect(id string, now time.Time) bool {
	if c.quotas.ConnectRate <= 0 {
		return true
	}
	if c.connects[id] == nil {
		c.connects[id] = newBucket(c.quotas.ConnectRate, now)
		c.forgetConnects(id)
	}
	return c.connects[id].take(now, 1)
}

// openSession ends the connection that the client id has, if any, and returns
// the session that goes on, or a new one. core.mu is held.
func (cl *client) openSession(con *packets.ConnectParams) (s *session, present bool) {
	c, id := cl.core, con.ClientIdentifier
	s = c.sessions[id]
	if s != nil && s.client != nil {
		s.client.endLocked(SessionTakenOver, "", "")
		s = c.sessions[id]
	}
	if s != nil && (con.Clean || s.version != cl.version) {
		c.dropSession(s)
		s = nil
	}
	if s != nil {
		return s, true
	}
	s = &session{core: c, clientID: id, id: uuid(), version: cl.version, subs: map[string]*subscription{}, inflight: map[uint16]*delivery{}}
	c.sessions[id] = s
	return s, false
}

// negotiate settles the limits of the connection, and fills the properties of
// CONNACK that say them. core.mu is held.
func (cl *client) negotiate(pk *packets.Packet, props *packets.Properties) {
	q, con, s := &cl.core.quotas, &pk.Connect, cl.session
	switch {
	case cl.version < 5 && con.Clean:
		s.expiry = 0
	case cl.version < 5:
		s.expiry = q.MaxSessionExpiry
	default:
		s.expiry = min(time.Duration(pk.Properties.SessionExpiryInterval)*time.Second, q.MaxSessionExpiry)
		if pk.Properties.SessionExpiryIntervalFlag {
			props.SessionExpiryInterval, props.SessionExpiryIntervalFlag = uint32(s.expiry/time.Second), true
		}
	}
	cl.keepAlive = con.Keepalive
	switch {
	case con.Keepalive == 0 || con.Keepalive > q.MaxKeepAlive:
		cl.keepAlive = q.MaxKeepAlive
	case con.Keepalive < q.MinKeepAlive:
		cl.keepAlive = q.MinKeepAlive
	}
	cl.info.ServerKeepAlive = cl.keepAlive
	if cl.keepAlive != con.Keepalive {
		props.ServerKeepAlive, props.ServerKeepAliveFlag = cl.keepAlive, true
	}
	cl.window = q.MaxInflight
	if rm := int(pk.Properties.ReceiveMaximum); cl.version == 5 && rm > 0 {
		cl.window = min(cl.window, rm)
	}
	cl.maxPacket = pk.Properties.MaximumPacketSize
	if !cl.core.opts.DisableOutboundAliases {
		cl.aliasMax = min(pk.Properties.TopicAliasMaximum, q.TopicAliasMaximum)
	}
	if cl.info.Assigned {
		props.AssignedClientID = con.ClientIdentifier
	}
	props.ReceiveMaximum = q.ReceiveMaximum
	props.TopicAliasMaximum = q.TopicAliasMaximum
	props.MaximumQos, props.MaximumQosFlag = 1, true
	props.RetainAvailable, props.RetainAvailableFlag = 1, true
	props.MaximumPacketSize = q.MaxPacketBytes
	props.WildcardSubAvailable, props.WildcardSubAvailableFlag = 1, true
	props.SubIDAvailable, props.SubIDAvailableFlag = 0, true
	props.SharedSubAvailable, props.SharedSubAvailableFlag = 1, true
}

// endOfLifeLocked ends a connection that has lasted as long as its
// authentication holds. core.mu is held.
func (cl *client) endOfLifeLocked() {
	why := ReasonCustomAuthTTL
	if cl.principal.kind == "sigv4" {
		why = ReasonWebSocketTTL
	}
	cl.endLocked(AdministrativeAction, "end of the connection's life", why)
}

// forgetConnects drops the bucket of a client id once it is full again. c.mu is held.
func (c *Core) forgetConnects(id string) {
	c.alarmIn(2*time.Second, func() {
		if b := c.connects[id]; b != nil && c.nowLocked().Sub(b.last) < time.Second {
			c.forgetConnects(id)
			return
		}
		delete(c.connects, id)
	})
}

func (cl *client) sendConnack(r *refusal, info *ClientInfo) {
	ack := packet(packets.Connack)
	ack.ReasonCode = byte(r.code)
	if cl.version < 5 {
		ack.ReasonCode = byte(r.code.connack3())
	} else if !info.NoProblemInformation {
		ack.Properties.ReasonString = r.text
	}
	cl.version = min(cl.version, 5) // a later version than we know is told in the words of the last one
	_ = cl.send(&ack)
}

func uuid() string {
	h := randomHex(16)
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}
