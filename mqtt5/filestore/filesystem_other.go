// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package filestore

import "os"

func allocate(f *os.File, from, to int64) error { return f.Truncate(to) }

func syncData(f *os.File) error { return f.Sync() }
