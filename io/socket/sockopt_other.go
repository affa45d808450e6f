// SPDX-License-Identifier: Apache-2.0

//go:build !unix && !windows

package socket

const hasBuffers = false

func setSendBuffer(uintptr, int) error { return ErrUnsupported }

func setReceiveBuffer(uintptr, int) error { return ErrUnsupported }

func isNoOption(error) bool { return false }
