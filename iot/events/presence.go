// SPDX-License-Identifier: Apache-2.0

package events

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/iot/internal/jsonobject"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
)

// The conditions that errors of this package match with [errors.Is].
var (
	// ErrInvalidArgument is a client identifier without events.
	ErrInvalidArgument = errors.New("events: invalid argument")
	// ErrInvalidEvent is a message that is no event of the kind asked for.
	ErrInvalidEvent = errors.New("events: invalid event")
)

// All stands for every type, client, command or status in the functions that
// return topic filters.
const All = "+"

// Type is the type of an event about a client.
type Type string

// The types.
const (
	Connected     Type = "connected"
	Disconnected  Type = "disconnected"
	ConnectFailed Type = "connect_failed"
	Subscribed    Type = "subscribed"
	Unsubscribed  Type = "unsubscribed"
)

// DisconnectReason says why a connection ended.
type DisconnectReason string

// The reasons. The will is published for all but ClientInitiated.
const (
	AuthError            DisconnectReason = "AUTH_ERROR"
	ClientInitiated      DisconnectReason = "CLIENT_INITIATED_DISCONNECT"
	ClientError          DisconnectReason = "CLIENT_ERROR"
	ConnectionLost       DisconnectReason = "CONNECTION_LOST"
	DuplicateClientID    DisconnectReason = "DUPLICATE_CLIENTID"
	ForbiddenAccess      DisconnectReason = "FORBIDDEN_ACCESS"
	KeepAliveTimeout     DisconnectReason = "MQTT_KEEP_ALIVE_TIMEOUT"
	ServerError          DisconnectReason = "SERVER_ERROR"
	ServerInitiated      DisconnectReason = "SERVER_INITIATED_DISCONNECT"
	APIInitiated         DisconnectReason = "API_INITIATED_DISCONNECT"
	Throttled            DisconnectReason = "THROTTLED"
	WebSocketExpired     DisconnectReason = "WEBSOCKET_TTL_EXPIRATION"
	CustomAuthorizerTime DisconnectReason = "CUSTOMAUTH_TTL_EXPIRATION"
)

// Presence is an event about a connection. Events may be missing, come twice and
// out of order; a [Tracker] puts up with that.
type Presence struct {
	Type     Type
	ClientID string
	// ThingName is set if the certificate is attached to one thing exclusively.
	ThingName string
	// Time may be wrong by two minutes.
	Time time.Time
	// SessionID is the same in the two events about one connection.
	SessionID string
	// PrincipalID is the certificate, or whatever else the client authenticated with.
	PrincipalID string
	// IPAddress is set for Connected and ConnectFailed.
	IPAddress string
	// Version increases with each connection of a client, and is the same in the
	// two events about it. It starts over after an hour without connection.
	Version int64
	// Reason is set for Disconnected.
	Reason DisconnectReason
	// FailureReason is set for ConnectFailed.
	FailureReason string
}

// milliseconds is a time as events have it.
type milliseconds struct{ time.Time }

// UnmarshalJSON reads a number of milliseconds since the epoch. Null is no time.
func (m *milliseconds) UnmarshalJSON(data []byte) error {
	if string(data) == "null" {
		return nil
	}
	var n float64
	if err := json.Unmarshal(data, &n); err != nil {
		return err
	}
	if n < -1e15 || n > 1e15 {
		return errors.New("the timestamp is out of range")
	}
	m.Time = time.UnixMilli(int64(n)).UTC()
	return nil
}

// PresenceFilter returns the topic filter for the events of a type, or [All],
// about a client, or All. It fails with [ErrInvalidArgument] for an identifier
// with '+' or '#', about which there are no events.
func PresenceFilter(t Type, clientID string) (string, error) {
	return filter("presence", t, clientID)
}

// SubscriptionFilter is PresenceFilter for [Subscribed] and [Unsubscribed].
func SubscriptionFilter(t Type, clientID string) (string, error) {
	return filter("subscriptions", t, clientID)
}

func filter(kind string, t Type, clientID string) (string, error) {
	if clientID == "" || clientID != All && strings.ContainsAny(clientID, "+#") {
		return "", fmt.Errorf("%w: there are no events about the client %q", ErrInvalidArgument, clientID)
	}
	if t == "" || t != All && strings.ContainsAny(string(t), "+#/") {
		return "", fmt.Errorf("%w: event type %q", ErrInvalidArgument, t)
	}
	if clientID == All {
		clientID = "#" // identifiers may have slashes
	}
	return "$aws/events/" + kind + "/" + string(t) + "/" + clientID, nil
}

// ParsePresence reads an event about a connection. It fails with
// [ErrInvalidEvent].
func ParsePresence(m mqtt5.Message) (*Presence, error) {
	t, clientID, err := split(m.Topic, "$aws/events/presence/")
	if err != nil {
		return nil, err
	}
	var body struct {
		ClientID          string           `json:"clientId"`
		ThingName         string           `json:"thingName"`
		Timestamp         milliseconds     `json:"timestamp"`
		SessionIdentifier string           `json:"sessionIdentifier"`
		Principal         string           `json:"principalIdentifier"`
		IPAddress         string           `json:"ipAddress"`
		Version           int64            `json:"versionNumber"`
		ClientInitiated   bool             `json:"clientInitiatedDisconnect"`
		Reason            DisconnectReason `json:"disconnectReason"`
		FailureReason     string           `json:"connectFailureReason"`
	}
	if err := decode(m, &body); err != nil {
		return nil, err
	}
	if body.ClientID == "" {
		body.ClientID = clientID
	}
	if body.Reason == "" && body.ClientInitiated {
		body.Reason = ClientInitiated
	}
	return &Presence{
		Type: t, ClientID: body.ClientID, ThingName: body.ThingName, Time: body.Timestamp.Time, SessionID: body.SessionIdentifier,
		PrincipalID: body.Principal, IPAddress: body.IPAddress, Version: body.Version, Reason: body.Reason, FailureReason: body.FailureReason,
	}, nil
}

// split finds the type and the client identifier, which may have slashes, in a topic.
func split(topic, prefix string) (Type, string, error) {
	rest, ok := strings.CutPrefix(topic, prefix)
	if !ok {
		return "", "", fmt.Errorf("%w: topic %q", ErrInvalidEvent, topic)
	}
	t, id, _ := strings.Cut(rest, "/")
	if t == "" || id == "" {
		return "", "", fmt.Errorf("%w: topic %q", ErrInvalidEvent, topic)
	}
	return Type(t), id, nil
}

func decode(m mqtt5.Message, v any) error {
	if err := jsonobject.Decode(m.Payload, v); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrInvalidEvent, m.Topic, err)
	}
	return nil
}

// versionMemory is how long the service remembers the version of a client that is
// not connected, less the error of its times.
const versionMemory = time.Hour - 4*time.Minute

// Tracker knows which clients are connected, from events that come twice and out
// of order. The zero value knows none. Its methods may be called from several
// goroutines. It remembers each client until Forget.
type Tracker struct {
	mu      sync.Mutex
	clients map[string]Presence
}

// Update takes an event into account. It reports whether that changed whether the
// client is connected, or by which connection; false for an event that comes
// again or too late.
func (t *Tracker) Update(p *Presence) (changed bool) {
	if p.Type != Connected && p.Type != Disconnected {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	last, known := t.clients[p.ClientID]
	switch {
	case !known, p.Version > last.Version:
	case p.Version == last.Version && p.SessionID == last.SessionID:
		if last.Type == p.Type || p.Type == Connected { // a connection ends once
			return false
		}
	case p.Time.Sub(last.Time) < versionMemory: // before the last one, not a new count
		return false
	}
	if t.clients == nil {
		t.clients = map[string]Presence{}
	}
	t.clients[p.ClientID] = *p
	return true
}

// Last returns the newest event about a client.
func (t *Tracker) Last(clientID string) (p Presence, known bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p, known = t.clients[clientID]
	return p, known
}

// Forget drops the state of a client.
func (t *Tracker) Forget(clientID string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.clients, clientID)
}
