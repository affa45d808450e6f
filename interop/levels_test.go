// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// levels are what a client takes from the process, and has to return.
type levels struct {
	goroutines int
	files      map[string]int // what they lead to, and how often
}

func currentLevels() levels {
	l := levels{goroutines: runtime.NumGoroutine(), files: map[string]int{}}
	const folder = "/proc/self/fd" // where there is none, no files are counted
	entries, _ := os.ReadDir(folder)
	for _, e := range entries {
		to, err := os.Readlink(filepath.Join(folder, e.Name()))
		if err != nil {
			continue // the one that was open to list them
		}
		if kind, _, ok := strings.Cut(to, ":["); ok {
			to = kind // sockets and pipes have no names
		}
		l.files[to]++
	}
	return l
}

func (l levels) String() string {
	return fmt.Sprintf("%d goroutines, open files %v", l.goroutines, l.files)
}

// within reports whether there is nothing that was not there in other.
func (l levels) within(other levels) bool {
	for to, n := range l.files {
		if n > other.files[to] {
			return false
		}
	}
	return l.goroutines <= other.goroutines
}

// returned waits until the levels are at most what they were at the start:
// servers and relays of the same process see the end of a connection a moment
// later than the client.
func (l levels) returned(t *testing.T) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(20 * time.Second); ; {
		now := currentLevels()
		if now.within(l) {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			stacks := make([]byte, 1<<20)
			t.Fatalf("%v at the start, %v now\n%s", l, now, stacks[:runtime.Stack(stacks, true)])
		}
	}
}
