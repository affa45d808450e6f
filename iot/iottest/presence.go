// SPDX-License-Identifier: Apache-2.0

package iottest

import (
	"encoding/json"
	"errors"
	"net"
	"strings"
	"time"
)

// Reasons for the end of a connection, as in the presence messages of the
// service and in [Event.DisconnectReason]. The will is published for all of
// them but the first.
const (
	ReasonClientInitiated = "CLIENT_INITIATED_DISCONNECT" // DISCONNECT, or the Close frame of a WebSocket
	ReasonClientError     = "CLIENT_ERROR"                // the client broke the protocol or a limit
	ReasonConnectionLost  = "CONNECTION_LOST"
	ReasonDuplicateID     = "DUPLICATE_CLIENTID"
	ReasonForbidden       = "FORBIDDEN_ACCESS" // an operation that no policy allows
	ReasonAuthError       = "AUTH_ERROR"       // the certificate is no longer active or registered
	ReasonKeepAlive       = "MQTT_KEEP_ALIVE_TIMEOUT"
	ReasonServerError     = "SERVER_ERROR"
	ReasonServerInitiated = "SERVER_INITIATED_DISCONNECT"
	ReasonAPIInitiated    = "API_INITIATED_DISCONNECT" // DeleteConnection of the data plane
	ReasonThrottled       = "THROTTLED"
	ReasonWebSocketTTL    = "WEBSOCKET_TTL_EXPIRATION"  // signed WebSockets last 24 hours
	ReasonCustomAuthTTL   = "CUSTOMAUTH_TTL_EXPIRATION" // DisconnectAfter of the authorizer
)

// versionMemory is how long the version number of a client id is remembered
// after its last connection.
const versionMemory = time.Hour

// presenceVersion counts the connections of a client id.
type presenceVersion struct {
	number int64
	forget *alarm
}

// nextVersion is the version number of presence messages for a new connection.
// c.mu is held.
func (c *Core) nextVersion(clientID string) int64 {
	v := c.versions[clientID]
	if v == nil {
		v = &presenceVersion{number: -1}
		c.versions[clientID] = v
	}
	c.cancelAlarm(v.forget)
	v.forget = nil
	v.number++
	return v.number
}

// releaseVersion forgets the version number of a client id that stays away. c.mu is held.
func (c *Core) releaseVersion(clientID string) {
	if v := c.versions[clientID]; v != nil && v.forget == nil {
		v.forget = c.alarmIn(versionMemory, func() { delete(c.versions, clientID) })
	}
}

// lifecycle is the body of the life cycle messages of the service.
type lifecycle struct {
	ClientID            string   `json:"clientId"`
	ThingName           string   `json:"thingName,omitempty"`
	Timestamp           int64    `json:"timestamp"`
	EventType           string   `json:"eventType"`
	ByClient            *bool    `json:"clientInitiatedDisconnect,omitempty"`
	DisconnectReason    string   `json:"disconnectReason,omitempty"`
	FailureReason       string   `json:"connectFailureReason,omitempty"`
	SessionIdentifier   string   `json:"sessionIdentifier"`
	PrincipalIdentifier string   `json:"principalIdentifier"`
	IPAddress           string   `json:"ipAddress,omitempty"`
	VersionNumber       *int64   `json:"versionNumber,omitempty"`
	Topics              []string `json:"topics,omitempty"`
}

// announce publishes a life cycle message; there are none for client ids with
// '#' or '+'. c.mu is held.
func (c *Core) announce(kind string, l lifecycle) {
	if c.opts.DisablePresence || strings.ContainsAny(l.ClientID, "#+") {
		return
	}
	l.Timestamp = c.nowLocked().UnixMilli()
	b, err := json.Marshal(l)
	if err != nil {
		return
	}
	c.route(&Message{Topic: "$aws/events/" + kind + "/" + l.EventType + "/" + l.ClientID, Payload: b, QoS: 1}, nil)
}

func (cl *client) lifecycle(what string) lifecycle {
	l := lifecycle{ClientID: cl.session.clientID, EventType: what, SessionIdentifier: cl.session.id,
		PrincipalIdentifier: cl.principal.identifier()}
	if d := cl.principal.device; d != nil && d.thing.Exclusive {
		l.ThingName = d.name
	}
	return l
}

func (cl *client) presenceConnected() {
	l := cl.lifecycle("connected")
	l.IPAddress, l.VersionNumber = cl.ip(), &cl.presence
	cl.core.announce("presence", l)
}

func (cl *client) presenceDisconnected(e Event) {
	l := cl.lifecycle("disconnected")
	byClient := e.DisconnectReason == ReasonClientInitiated
	l.ByClient, l.DisconnectReason, l.VersionNumber = &byClient, e.DisconnectReason, &cl.presence
	cl.core.announce("presence", l)
}

// presenceFailed reports that a policy refused a client id.
func (cl *client) presenceFailed(clientID string, p *principal) {
	cl.core.announce("presence", lifecycle{ClientID: clientID, EventType: "connect_failed", SessionIdentifier: uuid(),
		PrincipalIdentifier: p.identifier(), FailureReason: "AUTHORIZATION_FAILED", IPAddress: cl.ip()})
}

// presenceFilters reports which filters were added or removed; what was refused
// is not among them.
func (cl *client) presenceFilters(what string, filters []string) {
	if len(filters) > 0 {
		l := cl.lifecycle(what)
		l.Topics = filters
		cl.core.announce("subscriptions", l)
	}
}

// ip is the address of the client without its port.
func (cl *client) ip() string {
	host, _, err := net.SplitHostPort(cl.raw.RemoteAddr().String())
	if err != nil {
		return ""
	}
	return host
}

// disconnectReason names the reason for the end of a connection as the service does.
func disconnectReason(e Event) string {
	switch {
	case e.ByClient:
		return ReasonClientInitiated
	case errors.Is(e.Err, errNotReading):
		return ReasonServerError
	}
	switch e.Reason {
	case Success:
		return ReasonConnectionLost
	case SessionTakenOver:
		return ReasonDuplicateID
	case KeepAliveTimeout:
		return ReasonKeepAlive
	case NotAuthorized:
		return ReasonForbidden
	case QuotaExceeded:
		return ReasonThrottled
	}
	return ReasonClientError
}
