// SPDX-License-Identifier: Apache-2.0

package iottest

import (
	"slices"
	"time"
)

// ServiceFault disturbs a device service. Service, Operation and Thing select
// what it applies to; an empty one selects everything. Operations are those of
// requests and their answers ("get", "update", "start-next", ...) and the names
// of notifications ("delta", "documents", "notify", "notify-next", "request"
// for commands).
//
// A fault with Ignore or Reject is about requests, any other about the messages
// that a service sends. For an error that comes late set two faults.
type ServiceFault struct {
	Service   string
	Operation string
	Thing     string

	// Ignore drops requests: nothing happens, and there is no answer.
	Ignore bool
	// Reject answers requests with this error; nothing else happens.
	Reject *ServiceError
	// Lose carries requests out, but drops the messages about it.
	Lose bool
	// Duplicate sends messages twice.
	Duplicate bool
	// Delay sends messages late, by this time on the core's clock.
	Delay time.Duration
	// Reorder keeps messages back until there are so many of them; then they
	// are sent, the newest first. What is kept back is sent when the faults are
	// replaced.
	Reorder int
	// Times is how many requests or messages are disturbed; 0 is all.
	Times int
}

// serviceFault is a fault in effect. It is guarded by Core.mu.
type serviceFault struct {
	ServiceFault
	left int // when Times > 0
	held []func()
}

// SetServiceFaults replaces the disturbances of the device services. Of several
// that apply the first one strikes.
func (c *Core) SetServiceFaults(faults ...ServiceFault) {
	c.mu.Lock()
	defer c.mu.Unlock()
	old := c.device.faults
	c.device.faults = nil
	for _, f := range faults {
		if f.Reject != nil {
			reject := *f.Reject
			f.Reject = &reject
		}
		c.device.faults = append(c.device.faults, &serviceFault{ServiceFault: f, left: f.Times})
	}
	for _, f := range old {
		f.release()
	}
}

func (f *serviceFault) hold(send func()) {
	f.held = append(f.held, send)
	if len(f.held) >= f.Reorder || f.Times > 0 && f.left == 0 {
		f.release()
	}
}

func (f *serviceFault) release() {
	held := f.held
	f.held = nil
	for _, send := range slices.Backward(held) {
		send()
	}
}

// strikeService returns the first fault that applies, and counts it. c.mu is held.
func (c *Core) strikeService(s *ServiceEvent, kind func(*ServiceFault) bool) *serviceFault {
	selects := func(selector, value string) bool { return selector == "" || selector == value }
	for _, f := range c.device.faults {
		if !kind(&f.ServiceFault) || f.Times > 0 && f.left == 0 ||
			!selects(f.Service, s.Service) || !selects(f.Operation, s.Operation) || !selects(f.Thing, s.Thing) {
			continue
		}
		if f.Times > 0 {
			f.left--
		}
		return f
	}
	return nil
}
