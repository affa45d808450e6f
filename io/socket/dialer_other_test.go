// SPDX-License-Identifier: Apache-2.0

//go:build !windows

package socket

import "syscall"

// errRefused is what the system says when nobody listens.
const errRefused = syscall.ECONNREFUSED
