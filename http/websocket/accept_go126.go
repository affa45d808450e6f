// SPDX-License-Identifier: Apache-2.0

//go:build go1.26

package websocket

import "crypto/fips140"

// unenforced runs f, although what f does is forbidden by GODEBUG=fips140=only.
func unenforced(f func()) { fips140.WithoutEnforcement(f) }
