// SPDX-License-Identifier: Apache-2.0

package iottest

import (
	"fmt"
	"time"
)

// EventType says what happened.
type EventType int

// Types of events.
const (
	// HandshakeFailed: TLS could not be established; Err says why.
	HandshakeFailed EventType = iota + 1
	// RequestRefused: an HTTP request, such as a WebSocket upgrade, was
	// refused; Err says why, Status is the HTTP status.
	RequestRefused
	// Connected: a CONNECT was accepted.
	Connected
	// ConnectRefused: a CONNECT was answered with Reason, or, when Reason is
	// Success, with silence; Err says why.
	ConnectRefused
	// Disconnected: a connection that had been accepted has ended. Reason is
	// the code of the DISCONNECT, if any was sent or received; Err says why;
	// ByClient reports whether the client sent DISCONNECT.
	Disconnected
	// Published: a PUBLISH arrived and was accepted.
	Published
	// PublishRefused: a PUBLISH arrived and was refused or discarded; Reason
	// and Err say why.
	PublishRefused
	// Delivered: a PUBLISH was sent to a client.
	Delivered
	// Acknowledged: a PUBACK arrived from a client.
	Acknowledged
	// Subscribed: a filter of a SUBSCRIBE was answered with Reason (the granted
	// QoS or an error).
	Subscribed
	// Unsubscribed: a filter was removed.
	Unsubscribed
	// Pinged: a PINGREQ arrived.
	Pinged
	// WillPublished: a will was published.
	WillPublished
	// SessionExpired: a session without a connection reached its expiry and was
	// forgotten.
	SessionExpired
	// Dropped: a message for a client, or for a handler of [Core.Subscribe]
	// when ClientID is empty, was dropped, or a message was not retained; Err
	// says why.
	Dropped
	// EventsDropped: [Options.OnEvent] was so far behind that Count events were
	// not passed to it.
	EventsDropped
	// CredentialsIssued: temporary credentials were issued; AccessKeyID names
	// them, Source the endpoint.
	CredentialsIssued
	// ServiceRequest: a request reached a device service; Service names it, Err
	// says why it was rejected.
	ServiceRequest
	// ServiceAnswer: a device service sent Message, an answer or a
	// notification.
	ServiceAnswer
	// ServiceChanged: the state of a device service changed; Service.Status is
	// the new state, if it has a name.
	ServiceChanged
	// ServiceDisturbed: a [ServiceFault] struck; Message is what it disturbed,
	// nil for a request.
	ServiceDisturbed
)

var eventNames = [...]string{"", "HandshakeFailed", "RequestRefused", "Connected", "ConnectRefused", "Disconnected",
	"Published", "PublishRefused", "Delivered", "Acknowledged", "Subscribed", "Unsubscribed", "Pinged", "WillPublished",
	"SessionExpired", "Dropped", "EventsDropped",
	"CredentialsIssued", "ServiceRequest", "ServiceAnswer", "ServiceChanged", "ServiceDisturbed"}

// String gives the name of the constant.
func (t EventType) String() string {
	if t > 0 && int(t) < len(eventNames) {
		return eventNames[t]
	}
	return fmt.Sprintf("EventType(%d)", int(t))
}

// Event is something that happened in the core. Only the fields that make sense
// for its type are set.
type Event struct {
	Time     time.Time
	Type     EventType
	Conn     int64  // number of the connection, from 1
	ClientID string // as in CONNECT, or as assigned
	Reason   ReasonCode
	Err      error
	Status   int         // HTTP status
	ByClient bool        // the client sent DISCONNECT
	Client   *ClientInfo // Connected, ConnectRefused
	Message  *Message    // Published, PublishRefused, Delivered, WillPublished, Dropped, ServiceAnswer; do not modify
	PacketID uint16      // Published, Delivered, Acknowledged, Subscribed, Unsubscribed
	Filter   string      // Subscribed, Unsubscribed
	Count    int         // EventsDropped

	// DisconnectReason is how the service's presence messages name the end of a
	// connection, such as [ReasonConnectionLost].
	DisconnectReason string // Disconnected

	AccessKeyID string // CredentialsIssued
	Source      string // CredentialsIssued: "role-alias", "cognito", "sts", "sso", "imds" or "container"

	Service *ServiceEvent // events of device services; do not modify
}

// String is a line for logs. It has no payload and no secret.
func (e Event) String() string {
	s := fmt.Sprintf("%s conn=%d client=%q", e.Type, e.Conn, e.ClientID)
	if e.Filter != "" {
		s += fmt.Sprintf(" filter=%q", e.Filter)
	}
	if e.Message != nil {
		s += fmt.Sprintf(" topic=%q qos=%d retain=%t bytes=%d", e.Message.Topic, e.Message.QoS, e.Message.Retain, len(e.Message.Payload))
	}
	if e.Count != 0 {
		s += fmt.Sprintf(" count=%d", e.Count)
	}
	if e.PacketID != 0 {
		s += fmt.Sprintf(" id=%d", e.PacketID)
	}
	if e.AccessKeyID != "" {
		s += fmt.Sprintf(" key=%s source=%s", e.AccessKeyID, e.Source)
	}
	if v := e.Service; v != nil {
		s += fmt.Sprintf(" service=%s operation=%s thing=%q key=%q", v.Service, v.Operation, v.Thing, v.Key)
		if v.Status != "" {
			s += " state=" + v.Status
		}
	}
	if e.Status != 0 {
		s += fmt.Sprintf(" status=%d", e.Status)
	}
	if e.Reason != 0 {
		s += fmt.Sprintf(" reason=%q", e.Reason)
	}
	if e.DisconnectReason != "" {
		s += " cause=" + e.DisconnectReason
	}
	if e.Err != nil {
		s += fmt.Sprintf(" error=%q", e.Err)
	}
	return s
}
