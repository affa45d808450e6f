// SPDX-License-Identifier: Apache-2.0

package pkcs11

import (
	"context"
	"fmt"
)

// await runs f, which calls into the library and so cannot be cancelled. It
// returns the result of f, or a [*pendingError] when the context ends first; f
// then runs on, and late receives its result.
func await[T any](ctx context.Context, f func() (T, error), late func(T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	// Without a buffer, so that the result has one receiver: the caller or late.
	done := make(chan result)
	go func() {
		value, err := f()
		select {
		case done <- result{value, err}:
		case <-ctx.Done():
			late(value, err)
		}
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case <-ctx.Done():
		var zero T
		return zero, &pendingError{context.Cause(ctx)}
	}
}

// pendingError reports a caller who left while a call into the library was under way.
type pendingError struct{ cause error }

func (e *pendingError) Error() string {
	return fmt.Sprintf("%v: a call into the library has not returned", e.cause)
}

func (e *pendingError) Unwrap() error { return e.cause }
