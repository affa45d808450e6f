// SPDX-License-Identifier: Apache-2.0

package pkcs11

import (
	"context"
	"errors"
	"fmt"
	"io"
)

// PIN is the secret that opens a token. Printed in any way, it is [redacted].
type PIN string

const redacted = "[redacted]"

// Format prints [redacted], whatever the verb.
func (p PIN) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// String returns [redacted].
func (p PIN) String() string { return redacted }

// MarshalText returns [redacted], so that encoders that find a PIN inside of
// something do not reveal it.
func (p PIN) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// pinFunc is the caller's code that gives a PIN.
type pinFunc func(ctx context.Context) (PIN, error)

// call asks for the PIN no longer than the context lasts, and turns a panic into
// an error. The caller's code runs on a goroutine of its own: one that does not
// return must not keep the token from being opened.
func (f pinFunc) call(ctx context.Context) (string, error) {
	type result struct {
		pin PIN
		err error
	}
	done := make(chan result, 1)
	go func() {
		r := result{err: errors.New("PINFunc ended its goroutine")}
		defer func() { done <- r }()
		defer func() {
			if v := recover(); v != nil {
				// The value may hold anything, so it is not printed.
				r = result{err: fmt.Errorf("PINFunc panicked with a value of type %T", v)}
			}
		}()
		pin, err := f(ctx)
		r = result{pin, err}
	}()
	select {
	case r := <-done:
		return string(r.pin), r.err
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
}
