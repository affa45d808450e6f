// SPDX-License-Identifier: Apache-2.0

package iottest

import (
	"encoding/json"
	"strings"

	"github.com/mochi-mqtt/server/v2/packets"
)

// presence publishes the life cycle messages of the service; there are none for client ids with '#' or '+'.
func (c *Core) presence(cl *client, what string, e Event) {
	id := cl.session.clientID
	if c.opts.DisablePresence || strings.ContainsAny(id, "#+/") {
		return
	}
	body := map[string]any{
		"clientId": id, "timestamp": c.nowLocked().UnixMilli(), "eventType": what,
		"principalIdentifier": cl.principal.identifier(), "versionNumber": 0,
	}
	if what == "disconnected" {
		body["clientInitiatedDisconnect"] = e.ByClient
		switch {
		case e.ByClient:
			body["disconnectReason"] = "CLIENT_INITIATED_DISCONNECT"
		case e.Reason == SessionTakenOver:
			body["disconnectReason"] = "DUPLICATE_CLIENTID"
		case e.Reason == KeepAliveTimeout:
			body["disconnectReason"] = "MQTT_KEEP_ALIVE_TIMEOUT"
		case e.Reason >= firstErrorCode:
			body["disconnectReason"] = "SERVER_INITIATED_DISCONNECT"
		default:
			body["disconnectReason"] = "CONNECTION_LOST"
		}
	}
	c.announce("$aws/events/presence/"+what+"/"+id, body)
}

func (c *Core) presenceFilters(cl *client, what string, filters packets.Subscriptions) {
	id := cl.session.clientID
	if c.opts.DisablePresence || strings.ContainsAny(id, "#+/") {
		return
	}
	var topics []string
	for _, f := range filters {
		topics = append(topics, f.Filter)
	}
	c.announce("$aws/events/subscriptions/"+what+"/"+id, map[string]any{
		"clientId": id, "timestamp": c.nowLocked().UnixMilli(), "eventType": what,
		"principalIdentifier": cl.principal.identifier(), "topics": topics,
	})
}

func (c *Core) announce(topic string, body map[string]any) {
	b, err := json.Marshal(body)
	if err != nil {
		return
	}
	c.route(&Message{Topic: topic, Payload: b, QoS: 1}, nil)
}
