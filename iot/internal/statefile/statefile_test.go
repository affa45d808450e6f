// SPDX-License-Identifier: Apache-2.0

package statefile

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

func TestFile(t *testing.T) {
	name := filepath.Join(t.TempDir(), "state.json")
	f, old, err := Open[int](name, "thing")
	if err != nil || old != nil {
		t.Fatal(old, err)
	}
	if err := f.Save(func() []int { return []int{1, 2} }); err != nil {
		t.Fatal(err)
	}
	if _, old, err = Open[int](name, "thing"); err != nil || !slices.Equal(old, []int{1, 2}) {
		t.Error(old, err)
	}
	if _, _, err := Open[int](name, "another"); err == nil || !strings.Contains(err.Error(), `belongs to "thing"`) {
		t.Error(err)
	}
	if _, _, err := Open[string](name, "thing"); err == nil {
		t.Error("numbers were read as strings")
	}
	for _, text := range []string{`{"version":2,"owner":"thing"}`, `[]`, `{`} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, _, err := Open[int](name, "thing"); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", text, err)
		}
	}
	if err := (&File[int]{name: filepath.Join(name, "no folder"), writing: make(chan struct{}, 1)}).Save(func() []int { return nil }); err == nil {
		t.Error("no error without a folder")
	}
	none, old, err := Open[int]("", "thing")
	if err != nil || old != nil {
		t.Error(old, err)
	}
	if err := none.Save(func() []int { t.Error("asked for records without a file"); return nil }); err != nil {
		t.Error(err)
	}
}

// The last of concurrent writes has the newest content.
func TestFile_concurrent(t *testing.T) {
	name := filepath.Join(t.TempDir(), "state.json")
	f, _, err := Open[int](name, "thing")
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	newest := 0
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			mu.Lock()
			newest++
			mu.Unlock()
			if err := f.Save(func() []int {
				mu.Lock()
				defer mu.Unlock()
				return []int{newest}
			}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if _, got, err := Open[int](name, "thing"); err != nil || !slices.Equal(got, []int{20}) {
		t.Error(got, err)
	}
}
