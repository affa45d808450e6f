// SPDX-License-Identifier: Apache-2.0

package request

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
)

// quota is the state of a [Quota]. It is guarded by Client.mu.
type quota struct {
	inFlight  int
	queue     []*call   // wait for their turn, oldest first
	holdUntil time.Time // the service asked for fewer requests
	failures  int       // throttled answers in a row
	timer     *time.Timer
}

func (q *quota) stop() {
	if q.timer != nil {
		q.timer.Stop()
	}
}

// quotaOf returns the quota of a call.
func (c *Client) quotaOf(k *call) *quota {
	q := c.quotas[k.req.Quota.Name]
	if q == nil {
		q = new(quota)
		c.quotas[k.req.Quota.Name] = q
	}
	return q
}

// limited reports whether anything ties the call to others of its quota.
func (k *call) limited() bool { return k.req.Quota != Quota{} }

// takeTurn reports whether the call is within its quota; otherwise it is queued
// and signalled when to ask again.
func (c *Client) takeTurn(k *call) bool {
	if k.turn || !k.limited() {
		return true
	}
	q := c.quotaOf(k)
	place := slices.Index(q.queue, k)
	if place < 0 {
		place = len(q.queue)
		q.queue = append(q.queue, k)
	}
	if place > 0 || k.req.Quota.InFlight > 0 && q.inFlight >= k.req.Quota.InFlight {
		return false
	}
	if d := time.Until(q.holdUntil); d > 0 {
		c.admitAfter(q, d)
		return false
	}
	q.queue = q.queue[1:]
	q.inFlight++
	k.turn = true
	q.admit()
	return true
}

// admit signals the call that is next.
func (q *quota) admit() {
	if len(q.queue) > 0 {
		q.queue[0].signal()
	}
}

func (c *Client) admitAfter(q *quota, d time.Duration) {
	if q.timer != nil {
		q.timer.Reset(d)
		return
	}
	q.timer = time.AfterFunc(d, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		q.admit()
	})
}

// giveTurn ends the turn of a call, or its wait for it.
func (c *Client) giveTurn(k *call) {
	q := c.quotas[k.req.Quota.Name]
	if !k.limited() || q == nil {
		return
	}
	if k.turn {
		k.turn = false
		q.inFlight--
	}
	q.queue = slices.DeleteFunc(q.queue, func(other *call) bool { return other == k })
	q.admit()
	if q.inFlight == 0 && len(q.queue) == 0 && q.failures == 0 {
		q.stop()
		delete(c.quotas, k.req.Quota.Name)
	}
}

func (c *Client) leaveTurn(k *call) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.giveTurn(k)
}

// succeeded notes that the service did not throttle the call.
func (c *Client) succeeded(k *call) {
	if !k.limited() {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if q := c.quotas[k.req.Quota.Name]; q != nil {
		q.failures = 0
	}
}

// throttled reports whether an attempt ended because the service is too busy.
func (k *call) throttled(answer *mqtt5.Message, err error) bool {
	if err == nil {
		return k.req.Throttled != nil && k.req.Throttled(answer)
	}
	var refused *mqtt5.AckError
	return errors.As(err, &refused) && refused.Operation == "publish" && mqtt5.PubackReasonCode(refused.ReasonCode) == mqtt5.PubackQuotaExceeded
}

// backOff waits until the call may be sent again. It is over before that if the
// call ends, or if an answer arrives that does not ask for fewer requests: that
// to an earlier attempt, of which the service throttled a copy only.
func (c *Client) backOff(ctx context.Context, k *call, attempt int) (answer *mqtt5.Message, again bool) {
	timer := time.NewTimer(c.holdBack(k, attempt))
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
			return nil, true
		case <-ctx.Done():
			return nil, false
		case <-k.wake:
		}
		c.mu.Lock()
		answer, k.answer = k.answer, nil
		k.claim.answered = k.claim.answered && answer == nil
		ended := k.err != nil
		c.mu.Unlock()
		switch {
		case ended:
			return nil, true // the next attempt fails
		case answer != nil && !k.throttled(answer, nil):
			return answer, false
		}
	}
}

// holdBack notes that the service throttled the call, and returns how long the
// call and the others of its quota have to wait.
func (c *Client) holdBack(k *call, attempt int) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stats.Throttled++
	k.answer, k.claim.answered = nil, false
	delay := c.retryDelay(attempt)
	if k.limited() {
		q := c.quotaOf(k)
		q.failures++
		delay = max(delay, c.retryDelay(q.failures))
		if until := time.Now().Add(delay); until.After(q.holdUntil) {
			q.holdUntil = until
		}
	}
	return delay
}
