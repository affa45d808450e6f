// SPDX-License-Identifier: Apache-2.0

//go:build !windows

package tlsctx

import "syscall"

// errReset is what the operating system calls a connection that the other side has reset.
const errReset = syscall.ECONNRESET
