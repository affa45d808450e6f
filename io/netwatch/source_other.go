// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package netwatch

func newSource() (source, error) { return nil, ErrUnsupported }
