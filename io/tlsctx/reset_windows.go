// SPDX-License-Identifier: Apache-2.0

package tlsctx

import "syscall"

// errReset is what the operating system calls a connection that the other side
// has reset. It is not [syscall.ECONNRESET], which Windows never returns.
const errReset = syscall.WSAECONNRESET
