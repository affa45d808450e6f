// SPDX-License-Identifier: Apache-2.0

//go:build !windows

package certstore

import (
	"fmt"
	"runtime"
)

func find(p Path) (*entry, error) {
	return nil, &Error{Path: p.String(), Err: fmt.Errorf("%w: %s has no Windows certificate store", ErrUnsupported, runtime.GOOS),
		Hint: "use a PEM file, a PKCS#12 bundle, PKCS#11 or another crypto.Signer here"}
}
