// SPDX-License-Identifier: Apache-2.0

//go:build !cgo

package pkcs11

import (
	"errors"
	"strings"
	"testing"
)

func TestOpen_withoutCgo(t *testing.T) {
	for _, open := range []func() error{
		func() error { _, err := Open("/usr/lib/x.so", InitDefault); return err },
		func() error { _, err := New(Options{LibraryPath: "/usr/lib/x.so"}); return err },
	} {
		if err := open(); !errors.Is(err, ErrUnsupported) || !strings.Contains(err.Error(), "CGO_ENABLED=1") {
			t.Errorf("got %v", err)
		}
	}
}
