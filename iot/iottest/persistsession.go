// SPDX-License-Identifier: Apache-2.0

package iottest

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

type keptRetained struct {
	Message  *Message
	Expires  time.Time
	Modified time.Time
}

func (c *Core) loadRetained(topic string, raw []byte) error {
	var kept keptRetained
	if err := json.Unmarshal(raw, &kept); err != nil {
		return err
	}
	if kept.Message == nil {
		return fmt.Errorf("no message")
	}
	r := &stored{msg: kept.Message, expires: kept.Expires}
	c.retain(r)
	r.modified = kept.Modified
	return nil
}

type keptSession struct {
	ID        string
	Version   byte
	Expiry    time.Duration
	ExpiresAt time.Time // zero while connected
	Principal keptPrincipal
	Subs      []keptSubscription
}

type keptPrincipal struct {
	Kind, Certificate, AccessKeyID, Authorizer, PrincipalID string
	SourceIP                                                string
	Restricted                                              bool // Policies decide, even if there are none
	Policies                                                []string
}

type keptSubscription struct {
	As, Filter, Group  string
	QoS                byte
	NoLocal, AsPublish bool
}

// keep is called after each change of a session but those of its queue. core.mu is held.
func (s *session) keep() {
	if s.core.state == nil {
		return
	}
	if s.expiry <= 0 {
		if s.kept {
			s.kept = false
			s.core.state.remove(bucketSessions, s.clientID)
		}
		return
	}
	p := s.principal
	kept := keptSession{ID: s.id, Version: s.version, Expiry: s.expiry, Principal: keptPrincipal{Kind: p.kind, AccessKeyID: p.accessKeyID,
		Authorizer: p.authorizer, PrincipalID: p.principalID, SourceIP: p.sourceIP, Restricted: p.policies != nil, Policies: documents(p.policies)}}
	if p.device != nil {
		kept.Principal.Certificate = p.device.id
	}
	if s.client == nil {
		kept.ExpiresAt = s.expiresAt
	}
	for as, sub := range s.subs {
		kept.Subs = append(kept.Subs, keptSubscription{as, sub.filter, sub.group, sub.qos, sub.noLocal, sub.asPublish})
	}
	s.kept = true
	s.core.state.put(bucketSessions, s.clientID, kept)
}

func (c *Core) loadSession(id string, raw []byte) error {
	var kept keptSession
	if err := json.Unmarshal(raw, &kept); err != nil {
		return err
	}
	k := kept.Principal
	p := &principal{kind: k.Kind, accessKeyID: k.AccessKeyID, authorizer: k.Authorizer, principalID: k.PrincipalID, sourceIP: k.SourceIP,
		device: c.devices[k.Certificate]}
	var err error
	if p.policies, err = parsePolicies(k.Policies); err != nil {
		return err
	}
	if k.Restricted && p.policies == nil {
		p.policies = []*Policy{}
	}
	s := &session{core: c, clientID: id, id: kept.ID, version: kept.Version, expiry: kept.Expiry, principal: p, kept: true,
		subs: map[string]*subscription{}, inflight: map[uint16]*delivery{}}
	c.sessions[id] = s
	for _, sub := range kept.Subs {
		c.addSub(s, sub.As, &subscription{session: s, filter: sub.Filter, group: sub.Group, qos: sub.QoS, noLocal: sub.NoLocal, asPublish: sub.AsPublish})
	}
	s.suspend()
	if !kept.ExpiresAt.IsZero() { // else the core ended without a goodbye, and the time counts from now
		s.expireAt(kept.ExpiresAt)
	}
	return nil
}

type keptDelivery struct {
	Message *Message
	Retain  bool
	Expires time.Time
}

// queueKey orders the messages of a session by their number. A client id has no NUL.
func (s *session) queueKey(seq int64) string { return fmt.Sprintf("%s\x00%016x", s.clientID, seq) }

// keepDelivery stores a message of the queue. core.mu is held.
func (s *session) keepDelivery(d *delivery) {
	if s.core.state != nil && s.expiry > 0 {
		d.kept = true
		s.core.state.put(bucketQueues, s.queueKey(d.seq), keptDelivery{d.msg, d.retain, d.expires})
	}
}

func (c *Core) loadDelivery(key string, raw []byte) error {
	id, number, _ := strings.Cut(key, "\x00")
	s := c.sessions[id]
	if s == nil {
		c.state.remove(bucketQueues, key)
		return nil
	}
	var kept keptDelivery
	if err := json.Unmarshal(raw, &kept); err != nil {
		return err
	}
	d := &delivery{msg: kept.Message, retain: kept.Retain, expires: kept.Expires, kept: true}
	if _, err := fmt.Sscanf(number, "%x", &d.seq); err != nil || d.msg == nil {
		return fmt.Errorf("not a stored message")
	}
	s.pending = append(s.pending, d)
	s.queued += len(d.msg.Payload)
	s.nextSeq = d.seq + 1
	return nil
}
