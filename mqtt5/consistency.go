// SPDX-License-Identifier: Apache-2.0

package mqtt5

import "go.uber.org/zap"

// idleOption is an option that is set and has no effect.
type idleOption struct{ option, because string }

// withoutEffect returns the options that have no effect beside the others. They
// are no errors: the server may still keep a session that the CONNECT did not
// ask for, and a program may set options for several clients alike. What
// PrepareConnect completes is not known yet.
func (o *ClientOptions) withoutEffect() (idle []idleOption) {
	without := func(set bool, option, because string) {
		if set {
			idle = append(idle, idleOption{option, because})
		}
	}
	connect, aliases := &o.Connect, &o.TopicAliasing
	if final := o.PrepareConnect == nil; final {
		expiry := connect.SessionExpiryIntervalSeconds
		without(o.SessionBehavior != SessionClean && (expiry == nil || *expiry == 0), "SessionBehavior",
			"Connect.SessionExpiryIntervalSeconds is 0: the server forgets the session when the connection ends")
		without(connect.WillDelayIntervalSeconds != nil && connect.Will == nil, "Connect.WillDelayIntervalSeconds", "there is no will")
	}
	without(aliases.OutboundCacheSize != 0 && aliases.Outbound != TopicAliasLRU, "TopicAliasing.OutboundCacheSize", "Outbound is not TopicAliasLRU")
	without(aliases.InboundCacheSize != 0 && !aliases.Inbound, "TopicAliasing.InboundCacheSize", "Inbound is false")
	without(o.RejectUnhandled != 0 && o.OnMessage != nil, "RejectUnhandled", "OnMessage takes every message")
	without(o.OnResubscribe != nil && !o.Resubscribe, "OnResubscribe", "Resubscribe is false")
	without(o.QueueFullPolicy != BlockWhenFull && o.MaxQueuedOperations < 0 && o.MaxQueuedBytes < 0, "QueueFullPolicy", "the queue has no bounds")
	if o.Durable.Store == nil {
		const none = "there is no store"
		without(o.Durable.ReturnWhenStored, "Durable.ReturnWhenStored", none)
		without(o.Durable.OnFailure != RefuseWhenNotStored, "Durable.OnFailure", none)
		without(o.Durable.DiscardMismatch, "Durable.DiscardMismatch", none)
		without(o.OnUndelivered != nil, "OnUndelivered", none)
		without(o.OnStoreFailed != nil, "OnStoreFailed", none)
	}
	return idle
}

func (c *Client) warnWithoutEffect() {
	if !c.log.Core().Enabled(zap.WarnLevel) {
		return
	}
	for _, i := range c.opts.withoutEffect() {
		c.log.Warn("an option has no effect", zap.String("option", i.option), zap.String("because", i.because))
	}
}
