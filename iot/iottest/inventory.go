// SPDX-License-Identifier: Apache-2.0

package iottest

import (
	"cmp"
	"slices"
	"time"
)

// What a core has, as lists for consoles.

// Sessions returns what the core keeps for all client ids, in their order.
func (c *Core) Sessions() []SessionInfo {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := make([]SessionInfo, 0, len(c.sessions))
	for _, s := range c.sessions {
		out = append(out, s.info())
	}
	slices.SortFunc(out, func(a, b SessionInfo) int { return cmp.Compare(a.ClientID, b.ClientID) })
	return out
}

// info describes a session. core.mu is held.
func (s *session) info() SessionInfo {
	info := SessionInfo{ClientID: s.clientID, Connected: s.client != nil, Version: int(s.version), Expiry: s.expiry,
		Queued: len(s.pending), Unacked: len(s.inflight), Bytes: s.queued}
	if s.client == nil {
		info.ExpiresAt = s.expiresAt
	}
	for f := range s.subs {
		info.Subscriptions = append(info.Subscriptions, f)
	}
	slices.Sort(info.Subscriptions)
	return info
}

// RetainedMessage is a retained message and when it was set.
type RetainedMessage struct {
	*Message  // do not modify
	Modified  time.Time
	ExpiresAt time.Time // zero: never
}

// RetainedMessages returns all retained messages by topic.
func (c *Core) RetainedMessages() []RetainedMessage {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := make([]RetainedMessage, 0, len(c.retained))
	for _, r := range c.retained {
		out = append(out, RetainedMessage{r.msg, r.modified, r.expires})
	}
	slices.SortFunc(out, func(a, b RetainedMessage) int { return cmp.Compare(a.Topic, b.Topic) })
	return out
}

// Devices returns the registered devices by name.
func (c *Core) Devices() []*Device {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := make([]*Device, 0, len(c.devices))
	for _, d := range c.devices {
		out = append(out, d)
	}
	slices.SortFunc(out, func(a, b *Device) int { return cmp.Or(cmp.Compare(a.name, b.name), cmp.Compare(a.id, b.id)) })
	return out
}

// Status is the state of the certificate.
func (d *Device) Status() CertificateStatus {
	d.core.mu.Lock()
	defer d.core.mu.Unlock()
	return d.status
}

// Policies are the policies of the device, as JSON documents.
func (d *Device) Policies() []string {
	d.core.mu.Lock()
	defer d.core.mu.Unlock()
	return documents(d.policies)
}

// ShadowInfo names a shadow.
type ShadowInfo struct {
	Thing   string
	Name    string // empty for the classic shadow
	Version int64
	State   []byte // JSON: desired and reported
}

// Shadows returns all shadows by thing and name.
func (c *Core) Shadows() []ShadowInfo {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := []ShadowInfo{}
	for key, s := range c.device.shadows {
		if s.Deleted.IsZero() {
			state := map[string]any{}
			if s.Desired != nil {
				state["desired"] = s.Desired
			}
			if s.Reported != nil {
				state["reported"] = s.Reported
			}
			out = append(out, ShadowInfo{key.thing, key.name, s.Version, encodeJSON(state)})
		}
	}
	slices.SortFunc(out, func(a, b ShadowInfo) int { return cmp.Or(cmp.Compare(a.Thing, b.Thing), cmp.Compare(a.Name, b.Name)) })
	return out
}

// AllJobExecutions returns the job executions of all things, in the order in
// which they were queued.
func (c *Core) AllJobExecutions() []JobExecution {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []*execution
	for _, j := range c.device.jobs {
		all = append(all, j.Executions...)
	}
	slices.SortFunc(all, func(a, b *execution) int { return cmp.Compare(a.Seq, b.Seq) })
	out := make([]JobExecution, len(all))
	for i, e := range all {
		out[i] = e.JobExecution
	}
	return out
}

// CommandExecutions returns the executions of commands that the core remembers,
// the oldest first.
func (c *Core) CommandExecutions() []CommandExecution {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := []CommandExecution{}
	for _, id := range c.device.commandOrder {
		if x := c.device.commands[id]; x != nil {
			out = append(out, x.CommandExecution)
		}
	}
	return out
}
