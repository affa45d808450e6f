// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"os"
	"testing"
)

// replaceFile puts a new file in place of another, or of none, in one step.
func replaceFile(t *testing.T, path string, contents []byte) {
	t.Helper()
	if err := os.WriteFile(path+".new", contents, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}
