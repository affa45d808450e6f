// SPDX-License-Identifier: Apache-2.0

package mqtt5

import (
	"fmt"

	"go.uber.org/zap"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/internal/engine"
)

// handleResubscribed reports how restoring the subscriptions of a lost session
// went.
func (c *Client) handleResubscribed(ev *engine.Event) {
	r := &Resubscription{Restored: ev.Restored}
	if ev.Err != nil {
		r.Err = operationError("subscribe", true, ev.Err)
	}
	for _, refused := range ev.Refused {
		if r.Refused == nil {
			r.Refused = make(map[string]error)
		}
		r.Refused[refused.Filter] = c.refusedFilter(refused)
	}
	if r.Err != nil || r.Refused != nil {
		c.log.Warn("not all subscriptions are restored", zap.Error(r.Err), zap.Int("restored", len(r.Restored)), zap.Int("refused", len(r.Refused)))
	}
	tell(c, "OnResubscribe", c.opts.OnResubscribe, r)
}

func (c *Client) refusedFilter(r engine.RefusedFilter) error {
	if r.Err != nil {
		return operationError("subscribe", false, r.Err)
	}
	return &AckError{
		Operation:    "subscribe",
		Failures:     []string{fmt.Sprintf("%q: %s", r.Filter, SubackReasonCode(r.Code))},
		ReasonCode:   uint8(r.Code),
		ReasonString: deref(r.Text),
		Hint:         c.hint(Refusal{Operation: "subscribe", Subject: r.Filter, ReasonCode: uint8(r.Code)}),
	}
}
