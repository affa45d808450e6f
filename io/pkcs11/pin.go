// SPDX-License-Identifier: Apache-2.0

package pkcs11

import (
	"context"
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

// call asks for the PIN, and turns a panic into an error.
func (f pinFunc) call(ctx context.Context) (pin string, err error) {
	defer func() {
		if r := recover(); r != nil {
			// The value may hold anything, so it is not printed.
			pin, err = "", fmt.Errorf("PINFunc panicked with a value of type %T", r)
		}
	}()
	p, err := f(ctx)
	return string(p), err
}
