// SPDX-License-Identifier: Apache-2.0

//go:build !linux && !darwin && !freebsd

package conn

// sendQueue is not available here.
func sendQueue(uintptr) (int, bool) { return 0, false }
