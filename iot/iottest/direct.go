// SPDX-License-Identifier: Apache-2.0

package iottest

import (
	"bytes"
	"context"
)

// This file is direct messages, which reach one client without a subscription.

// SendDirectMessage sends a message to a client, whatever it subscribed to, as
// the operation of that name does. With QoS 1 it waits for the client's
// acknowledgement, or until ctx ends. Errors of the service are of type
// [*ServiceError]: the client is not connected, or its policy does not allow it
// to receive the topic.
func (c *Core) SendDirectMessage(ctx context.Context, clientID string, m Message) error {
	if m.Topic == "" || hasWildcard(m.Topic) || m.QoS > 1 {
		return refuse(TopicNameInvalid, "cannot publish to %q with QoS %d", m.Topic, m.QoS)
	}
	m.Payload = bytes.Clone(m.Payload)
	if err := c.deliverDirect(clientID, &m); err != nil || m.QoS == 0 {
		return err
	}
	var sent Event
	_, err := c.WaitFor(ctx, func(e Event) bool {
		if e.Type == Delivered && e.Message == &m {
			sent = e
		}
		return sent.PacketID != 0 && e.Type == Acknowledged && e.Conn == sent.Conn && e.PacketID == sent.PacketID
	})
	return err
}

func (c *Core) deliverDirect(clientID string, m *Message) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	what := ServiceEvent{Service: ServiceDirect, Operation: "send", Thing: clientID}
	var err *ServiceError
	s := c.sessions[clientID]
	switch {
	case s == nil || s.client == nil:
		err = &ServiceError{Service: ServiceDirect, Status: 404, Code: "ResourceNotFound", Message: "Client " + clientID + " is not connected"}
	case !s.principal.allowed(c, clientID, "iot:Receive", "topic/"+m.Topic):
		err = &ServiceError{Service: ServiceDirect, Status: 403, Code: "Forbidden", Message: "iot:Receive is not allowed on the topic"}
	}
	c.emitService(ServiceRequest, &what, err, m)
	if err != nil {
		return err
	}
	s.deliver(m, m.QoS, false, expiryTime(c.nowLocked(), m.Expiry))
	return nil
}
