// SPDX-License-Identifier: Apache-2.0

package filestore

import (
	"bufio"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
)

var killRounds = flag.Int("kill.rounds", 10, "processes that TestKill kills")

// killedWriters is the number of goroutines that commit in the process that is
// killed.
const killedWriters = 4

// TestMain is also the process that TestKill kills.
func TestMain(m *testing.M) {
	if dir := os.Getenv("FILESTORE_KILLED"); dir != "" {
		commitForever(dir)
	}
	os.Exit(m.Run())
}

// commitForever commits as fast as it can, and prints each record that was
// committed and each that is about to be removed.
func commitForever(dir string) {
	s, err := Open(dir, Options{SegmentBytes: 64 << 10})
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	first := uint64(1)
	s.Iterate(mqtt5.RecordPublish, 0, func(r mqtt5.StoreRecord) bool {
		first = r.ID + killedWriters // IDs ascend
		return true
	})
	var out sync.Mutex
	say := func(what string, id uint64) {
		out.Lock()
		defer out.Unlock()
		fmt.Println(what, id)
	}
	for w := range uint64(killedWriters) {
		go func() {
			for id := first/killedWriters*killedWriters + w + killedWriters; ; id += killedWriters {
				body := make([]byte, 8+rand.IntN(2000))
				binary.LittleEndian.PutUint64(body, id)
				_, err := s.Commit([]mqtt5.StoreChange{appendPublish(id, string(body))})
				if err == nil {
					say("stored", id)
					if old := id - 20*killedWriters; old < id {
						say("removing", old)
						_, err = s.Commit([]mqtt5.StoreChange{remove(old)})
					}
				}
				if err != nil {
					fmt.Println("error", err)
					os.Exit(1)
				}
			}
		}()
	}
	select {}
}

// TestKill kills processes that commit, and looks for what they had reported.
func TestKill(t *testing.T) {
	dir := tempDir(t)
	want := map[uint64]bool{} // stored, not removed
	total := 0
	for range *killRounds {
		cmd := exec.Command(os.Args[0], "-test.run=^$")
		cmd.Env = append(os.Environ(), "FILESTORE_KILLED="+dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		left := rand.IntN(200) // lines until it is killed; it goes on meanwhile
		for lines := bufio.NewScanner(out); lines.Scan(); left-- {
			if left == 0 {
				time.AfterFunc(time.Duration(rand.IntN(3000))*time.Microsecond, func() { cmd.Process.Kill() })
			}
			var what, number string
			if fmt.Sscan(lines.Text(), &what, &number); what == "error" {
				t.Fatal(lines.Text())
			}
			id, err := strconv.ParseUint(number, 10, 64)
			switch {
			case err != nil: // a line that was cut off
			case what == "stored":
				want[id] = true
				total++
			case what == "removing":
				delete(want, id)
			}
		}
		cmd.Wait()
		s := mustOpen(t, dir, Options{SegmentBytes: 64 << 10})
		have := map[uint64]bool{}
		for _, r := range records(t, s, mqtt5.RecordPublish, 0) {
			if binary.LittleEndian.Uint64(r.Body) != r.ID {
				t.Fatalf("record %d has the body of another one", r.ID)
			}
			have[r.ID] = true
		}
		s.Close()
		for id := range want {
			if !have[id] {
				t.Fatalf("record %d was stored and is gone", id)
			}
		}
	}
	if total < *killRounds*10 {
		t.Errorf("%d records only", total)
	}
	t.Logf("%d records in %d rounds", total, *killRounds)
}

// TestOpen_lockedByProcess opens a store that another process has. The lock ends
// with that process, however it ends.
func TestOpen_lockedByProcess(t *testing.T) {
	dir := tempDir(t)
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), "FILESTORE_KILLED="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Process.Kill()
	lines := bufio.NewScanner(out)
	if !lines.Scan() { // it has stored something
		t.Fatal("the other process says nothing")
	}
	if _, err := Open(dir, Options{}); !errors.Is(err, mqtt5.ErrStoreLocked) {
		t.Errorf("Open beside another process: %v", err)
	}
	cmd.Process.Kill()
	for lines.Scan() {
	}
	cmd.Wait()
	mustOpen(t, dir, Options{SegmentBytes: 64 << 10})
}
