// SPDX-License-Identifier: Apache-2.0

//go:build !linux && !darwin

package socket

import "time"

const (
	hasUserTimeout = false
	hasInterface   = false
)

func setUserTimeout(uintptr, time.Duration) error { return ErrUnsupported }

func bindToInterface(uintptr, string, string) error { return ErrUnsupported }
