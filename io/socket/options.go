// SPDX-License-Identifier: Apache-2.0

package socket

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"runtime"
	"time"
)

const minAttemptDelay = 10 * time.Millisecond // RFC 8305, section 8

// Validate reports everything that is wrong with the options, on this platform,
// for TCP. The error wraps [ErrInvalidOptions] or, for options that the
// platform lacks, [ErrUnsupported]. DialContext calls it.
func (d *Dialer) Validate() error {
	var errs []error
	bad := func(option, rule string) {
		errs = append(errs, &OptionError{Option: option, Err: fmt.Errorf("%w: %s", ErrInvalidOptions, rule)})
	}
	lacking := func(option string) {
		errs = append(errs, &OptionError{Option: option, Err: fmt.Errorf("%w: %s lacks it", ErrUnsupported, runtime.GOOS)})
	}
	if d.ConnectTimeout < 0 {
		bad("ConnectTimeout", "negative")
	}
	if d.ResolveTimeout < 0 {
		bad("ResolveTimeout", "negative")
	}
	if d.AttemptDelay != 0 && d.AttemptDelay < minAttemptDelay {
		bad("AttemptDelay", "less than 10ms")
	}
	if d.Family > IPv6 {
		bad("Family", "unknown value")
	}
	if a := d.LocalAddress; a.IsValid() && d.Family != AnyFamily && d.Family != familyOf(a) {
		bad("LocalAddress", "not of the family "+d.Family.String())
	}
	if d.KeepAlive.Idle < 0 {
		bad("KeepAlive.Idle", "negative")
	}
	if d.KeepAlive.Interval < 0 {
		bad("KeepAlive.Interval", "negative")
	}
	if d.KeepAlive.Probes < 0 {
		bad("KeepAlive.Probes", "negative")
	}
	switch {
	case d.UserTimeout < 0:
		bad("UserTimeout", "negative")
	case d.UserTimeout > 0 && !hasUserTimeout:
		lacking("UserTimeout")
	}
	if d.Interface != "" && !hasInterface {
		lacking("Interface")
	}
	if d.SendBuffer < 0 {
		bad("SendBuffer", "negative")
	} else if int64(d.SendBuffer) > math.MaxInt32 {
		bad("SendBuffer", "more than 2 GiB, the most that sockets know")
	} else if d.SendBuffer > 0 && !hasBuffers {
		lacking("SendBuffer")
	}
	if d.ReceiveBuffer < 0 {
		bad("ReceiveBuffer", "negative")
	} else if int64(d.ReceiveBuffer) > math.MaxInt32 {
		bad("ReceiveBuffer", "more than 2 GiB, the most that sockets know")
	} else if d.ReceiveBuffer > 0 && !hasBuffers {
		lacking("ReceiveBuffer")
	}
	return errors.Join(errs...)
}

// validateUnix reports the options that a Unix socket does not have.
func (d *Dialer) validateUnix() error {
	var errs []error
	for _, o := range []struct {
		name string
		set  bool
	}{
		{"Family", d.Family != AnyFamily},
		{"LocalAddress", d.LocalAddress != netip.Addr{}},
		{"Interface", d.Interface != ""},
		{"KeepAlive", d.KeepAlive.Enable},
		{"UserTimeout", d.UserTimeout != 0},
		{"DisableNoDelay", d.DisableNoDelay},
	} {
		if o.set {
			errs = append(errs, &OptionError{Option: o.name, Err: fmt.Errorf("%w: Unix sockets lack it", ErrUnsupported)})
		}
	}
	return errors.Join(errs...)
}
