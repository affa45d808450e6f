// SPDX-License-Identifier: Apache-2.0

package tlsctx

// ErrReset is what this system calls a reset connection.
const ErrReset = errReset
