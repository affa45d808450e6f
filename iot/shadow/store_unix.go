// SPDX-License-Identifier: Apache-2.0

//go:build unix

package shadow

import (
	"errors"
	"os"
)

// syncFolder makes a rename in the folder durable.
func syncFolder(name string) error {
	folder, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}
