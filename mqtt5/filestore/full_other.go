// SPDX-License-Identifier: Apache-2.0

//go:build !unix && !windows

package filestore

import (
	"errors"
	"os"
)

func outOfSpace(error) bool { return false }

func readOnly(err error) bool { return errors.Is(err, os.ErrPermission) }
