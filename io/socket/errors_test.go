// SPDX-License-Identifier: Apache-2.0

package socket

import (
	"context"
	"errors"
	"os"
	"testing"
)

// Time has run out if the stage took too long, or each of the addresses did.
func TestConnectError_timeout(t *testing.T) {
	slow, refused := Attempt{Err: os.ErrDeadlineExceeded}, Attempt{Err: errors.New("refused")}
	for name, tt := range map[string]struct {
		e    ConnectError
		want bool
	}{
		"none":        {ConnectError{}, false},
		"all":         {ConnectError{Attempts: []Attempt{slow, slow}}, true},
		"one of them": {ConnectError{Attempts: []Attempt{slow, refused}}, false},
		"the stage":   {ConnectError{Attempts: []Attempt{refused}, Err: context.DeadlineExceeded}, true},
		"cancelled":   {ConnectError{Attempts: []Attempt{slow}, Err: context.Canceled}, false},
	} {
		if got := tt.e.Timeout(); got != tt.want || tt.e.Temporary() != tt.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
