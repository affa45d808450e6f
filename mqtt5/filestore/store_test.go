// SPDX-License-Identifier: Apache-2.0

package filestore

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
)

func mustOpen(t testing.TB, dir string, o Options) *Store {
	t.Helper()
	s, err := Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func mustCommit(t testing.TB, s *Store, changes ...mqtt5.StoreChange) mqtt5.Durability {
	t.Helper()
	d, err := s.Commit(changes)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func appendPublish(id uint64, body string) mqtt5.StoreChange {
	return mqtt5.StoreChange{Action: mqtt5.StoreAppend, Record: mqtt5.StoreRecord{Kind: mqtt5.RecordPublish, ID: id, Body: []byte(body)}}
}

func update(id uint64, state string) mqtt5.StoreChange {
	return mqtt5.StoreChange{Action: mqtt5.StoreUpdate, Record: mqtt5.StoreRecord{Kind: mqtt5.RecordPublish, ID: id, State: []byte(state)}}
}

func remove(id uint64) mqtt5.StoreChange {
	return mqtt5.StoreChange{Action: mqtt5.StoreRemove, Record: mqtt5.StoreRecord{Kind: mqtt5.RecordPublish, ID: id}}
}

func records(t testing.TB, s *Store, kind mqtt5.RecordKind, from uint64) []mqtt5.StoreRecord {
	t.Helper()
	var list []mqtt5.StoreRecord
	if err := s.Iterate(kind, from, func(r mqtt5.StoreRecord) bool {
		list = append(list, r)
		return true
	}); err != nil {
		t.Fatal(err)
	}
	return list
}

func TestStore(t *testing.T) {
	dir := filepath.Join(tempDir(t), "a", "device")
	s := mustOpen(t, dir, Options{})
	d := mustCommit(t, s,
		appendPublish(1, "one"), appendPublish(2, "two"), appendPublish(3, ""), appendPublish(math.MaxUint64, "last"),
		mqtt5.StoreChange{Action: mqtt5.StoreAppend, Record: mqtt5.StoreRecord{Kind: mqtt5.RecordSession, State: []byte("s"), Body: []byte("id")}})
	if d != mqtt5.DurabilitySynced {
		t.Errorf("durability %v", d)
	}
	mustCommit(t, s, update(2, "sent"), update(77, "no such record"), remove(1), remove(78))
	mustCommit(t, s)
	want := []mqtt5.StoreRecord{
		{Kind: mqtt5.RecordPublish, ID: 2, State: []byte("sent"), Body: []byte("two")},
		{Kind: mqtt5.RecordPublish, ID: 3},
		{Kind: mqtt5.RecordPublish, ID: math.MaxUint64, Body: []byte("last")},
	}
	look := func(s *Store) {
		t.Helper()
		if diff := cmp.Diff(want, records(t, s, mqtt5.RecordPublish, 0)); diff != "" {
			t.Errorf("records (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(want[1:], records(t, s, mqtt5.RecordPublish, 3)); diff != "" {
			t.Errorf("records from 3 (-want +got):\n%s", diff)
		}
		session := []mqtt5.StoreRecord{{Kind: mqtt5.RecordSession, State: []byte("s"), Body: []byte("id")}}
		if diff := cmp.Diff(session, records(t, s, mqtt5.RecordSession, 0)); diff != "" {
			t.Errorf("session (-want +got):\n%s", diff)
		}
		if n := s.Count(mqtt5.RecordPublish); n != (mqtt5.StoreCount{Records: 3, Bytes: 7, LastID: math.MaxUint64}) {
			t.Errorf("%+v", n)
		}
		if n := s.Count(mqtt5.RecordFilter); n != (mqtt5.StoreCount{}) {
			t.Errorf("filters: %+v", n)
		}
	}
	look(s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
	if _, err := s.Commit(nil); !errors.Is(err, mqtt5.ErrStoreClosed) {
		t.Errorf("Commit after Close: %v", err)
	}
	if err := s.Iterate(mqtt5.RecordPublish, 0, nil); !errors.Is(err, mqtt5.ErrStoreClosed) {
		t.Errorf("Iterate after Close: %v", err)
	}
	look(mustOpen(t, dir, Options{}))
}

func TestIterate_stops(t *testing.T) {
	s := mustOpen(t, tempDir(t), Options{})
	for id := uint64(1); id <= 1000; id++ {
		mustCommitAll(t, s, id)
	}
	n := 0
	if err := s.Iterate(mqtt5.RecordPublish, 10, func(r mqtt5.StoreRecord) bool {
		n++
		if r.ID != uint64(9+n) {
			t.Errorf("record %d is ID %d", n, r.ID)
		}
		// A consumer may commit meanwhile.
		mustCommit(t, s, remove(r.ID))
		return n < 500
	}); err != nil {
		t.Fatal(err)
	}
	if n != 500 {
		t.Errorf("%d records", n)
	}
	if n := s.Count(mqtt5.RecordPublish).Records; n != 500 {
		t.Errorf("%d records left", n)
	}
}

func mustCommitAll(t *testing.T, s *Store, id uint64) {
	t.Helper()
	mustCommit(t, s, appendPublish(id, fmt.Sprint("body of ", id)))
}

// TestIterate_seesWhatIsWrittenMeanwhile reads the end of the log while it grows.
func TestIterate_seesWhatIsWrittenMeanwhile(t *testing.T) {
	s := mustOpen(t, tempDir(t), Options{})
	mustCommitAll(t, s, 1)
	n := uint64(0)
	if err := s.Iterate(mqtt5.RecordPublish, 0, func(r mqtt5.StoreRecord) bool {
		n++
		mustCommitAll(t, s, n+1)
		return n < 300
	}); err != nil {
		t.Fatal(err)
	}
	if n != 300 {
		t.Errorf("%d records", n)
	}
}

// tempDir is a folder that lasts as long as a test. Under Wine, which lacks what
// testing.T.TempDir removes folders with, it stays.
func tempDir(tb testing.TB) string {
	tb.Helper()
	dir, err := os.MkdirTemp("", "filestore-")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			tb.Log(err)
		}
	})
	return dir
}

// Removing works on a full disk, however the records fill their segments.
func TestMaxBytes_removeAtTheBrim(t *testing.T) {
	o, err := Options{SegmentBytes: minSegment, MaxBytes: 2 * minSegment}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	for pad := range 64 {
		s, err := open(newDisk(nil), "disk", o)
		if err != nil {
			t.Fatal(err)
		}
		mustCommit(t, s, appendPublish(1, string(make([]byte, pad))))
		for id := uint64(2); ; id++ {
			if _, err := s.Commit([]mqtt5.StoreChange{appendPublish(id, "")}); errors.Is(err, mqtt5.ErrStoreFull) {
				break
			} else if err != nil {
				t.Fatal(err)
			}
		}
		if _, err := s.Commit([]mqtt5.StoreChange{remove(1)}); err != nil {
			t.Errorf("after a record of %d bytes: %v", pad, err)
		}
		s.Close()
	}
}

// The sync of an interval that is due when the store is closed leaves nothing
// behind.
func TestClose_whileASyncIsDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, err := Options{Sync: SyncInterval}.withDefaults()
		if err != nil {
			t.Fatal(err)
		}
		s, err := open(newDisk(nil), "disk", o)
		if err != nil {
			t.Fatal(err)
		}
		mustCommit(t, s, appendPublish(1, "one"))
		s.Close()
		s.syncNow() // as the timer does that had fired just before
	})
}

// small are options with which tests need few bytes for many segments.
var small = Options{SegmentBytes: minSegment, Interval: time.Hour}

// filled returns the disk of a closed store with three segments or more.
func filled(t *testing.T) (d *disk, have []mqtt5.StoreRecord) {
	t.Helper()
	d = newDisk(nil)
	s := openDisk(t, d)
	for id := uint64(1); id <= 40; id++ {
		mustCommit(t, s, appendPublish(id, string(bytes.Repeat([]byte{byte(id)}, 300))))
	}
	have = records(t, s, mqtt5.RecordPublish, 0)
	if n := s.Info().Segments; n < 3 {
		t.Fatalf("%d segments", n)
	}
	s.Close()
	return d, have
}

func openDisk(t *testing.T, d *disk) *Store {
	t.Helper()
	s, err := open(d, "disk", small)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// content returns the files of a disk.
func content(d *disk) map[string]string {
	m := map[string]string{}
	for name, n := range d.names {
		m[name] = string(n.now)
	}
	return m
}

// TestReclaim lets a million bytes pass through a store that holds little, with
// one record that stays from the beginning.
func TestReclaim(t *testing.T) {
	dir := tempDir(t)
	o := Options{SegmentBytes: 16 << 10}
	s := mustOpen(t, dir, o)
	mustCommit(t, s, appendPublish(1, "stays"), update(1, "state"))
	body := string(make([]byte, 1000))
	for id := uint64(2); id < 1000; id++ {
		mustCommit(t, s, appendPublish(id, body), remove(id-1+btoi(id == 2)))
	}
	if n := s.Info(); n.Segments > 6 {
		t.Errorf("%+v", n)
	}
	s.Close()
	s = mustOpen(t, dir, o)
	got := records(t, s, mqtt5.RecordPublish, 0)
	if len(got) != 2 || string(got[0].Body) != "stays" || string(got[0].State) != "state" || got[1].ID != 999 {
		t.Errorf("%d records: %.80v", len(got), got)
	}
}

func btoi(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}

func TestMaxBytes(t *testing.T) {
	s := mustOpen(t, tempDir(t), Options{SegmentBytes: 16 << 10, MaxBytes: 64 << 10})
	body := string(make([]byte, 1000))
	var id uint64
	fill := func() {
		for {
			if _, err := s.Commit([]mqtt5.StoreChange{appendPublish(id+1, body)}); err != nil {
				if !errors.Is(err, mqtt5.ErrStoreFull) {
					t.Fatal(err)
				}
				return
			}
			id++
		}
	}
	fill()
	if id < 55 || id > 64 {
		t.Errorf("%d records of 1000 bytes in 64 KiB", id)
	}
	if n := s.Info().DiskBytes; n > 64<<10 {
		t.Errorf("%d bytes on the disk", n)
	}
	// Removing works while the store is full, and makes room.
	for i := uint64(1); i <= 40; i++ {
		mustCommit(t, s, remove(i))
	}
	before := id
	fill()
	if id-before < 20 {
		t.Errorf("room for %d records only", id-before)
	}
}

func TestLargeRecords(t *testing.T) {
	dir := tempDir(t)
	o := Options{SegmentBytes: minSegment}
	s := mustOpen(t, dir, o)
	large := string(bytes.Repeat([]byte("x"), 3<<20))
	mustCommit(t, s, appendPublish(1, "small"))
	mustCommit(t, s, appendPublish(2, large), appendPublish(3, large))
	mustCommit(t, s, appendPublish(4, "small"))
	for range 2 {
		got := records(t, s, mqtt5.RecordPublish, 0)
		if len(got) != 4 || string(got[1].Body) != large || string(got[2].Body) != large || string(got[3].Body) != "small" {
			t.Fatalf("%d records", len(got))
		}
		s.Close()
		s = mustOpen(t, dir, o)
	}
}

func TestSyncInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk(nil)
		o, err := Options{Sync: SyncInterval, Interval: 10 * time.Second}.withDefaults()
		if err != nil {
			t.Fatal(err)
		}
		s, err := open(d, "disk", o)
		if err != nil {
			t.Fatal(err)
		}
		if d := mustCommit(t, s, appendPublish(1, "one")); d != mqtt5.DurabilityWritten {
			t.Errorf("durability %v", d)
		}
		time.Sleep(9 * time.Second)
		mustCommit(t, s, appendPublish(2, "two"))
		unsynced := func() int {
			synctest.Wait()
			s.writer <- struct{}{}
			defer func() { <-s.writer }()
			return len(d.names[segmentName(1)].ops)
		}
		if unsynced() == 0 {
			t.Error("synced before the time")
		}
		time.Sleep(1100 * time.Millisecond)
		if unsynced() != 0 {
			t.Error("not synced in time")
		}
		mustCommit(t, s, appendPublish(3, "three"))
		s.writer <- struct{}{}
		d.failSync = errors.New("broken")
		<-s.writer
		time.Sleep(11 * time.Second)
		synctest.Wait()
		if _, err := s.Commit([]mqtt5.StoreChange{appendPublish(4, "")}); !errors.Is(err, mqtt5.ErrStoreIO) {
			t.Errorf("after a failed sync: %v", err)
		}
		s.Close()
	})
}

// countingSync counts the syncs of a file system, each of which takes a while.
type countingSync struct {
	fileSystem
	syncs atomic.Int64
}

type countingFile struct {
	file
	c *countingSync
}

func (c *countingSync) Create(name string) (file, error) {
	f, err := c.fileSystem.Create(name)
	return &countingFile{f, c}, err
}

func (f *countingFile) Sync() error {
	f.c.syncs.Add(1)
	time.Sleep(time.Second)
	return f.file.Sync()
}

// TestCommit_group has 64 goroutines share syncs.
func TestCommit_group(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := &countingSync{fileSystem: newDisk(nil)}
		o, _ := Options{}.withDefaults()
		s, err := open(fs, "disk", o)
		if err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		syncs := fs.syncs.Load()
		var wg sync.WaitGroup
		for g := range uint64(64) {
			wg.Go(func() {
				for i := range uint64(10) {
					mustCommit(t, s, appendPublish(1+g*10+i, "body"))
				}
			})
		}
		wg.Wait()
		if n := fs.syncs.Load() - syncs; n > 22 {
			t.Errorf("%d syncs for 64 goroutines with 10 commits each", n)
		}
		if d := time.Since(begin); d > 22*time.Second {
			t.Errorf("took %v of syncs of 1 s", d)
		}
		if n := s.Count(mqtt5.RecordPublish).Records; n != 640 {
			t.Errorf("%d records", n)
		}
		s.Close()
	})
}

func TestError(t *testing.T) {
	err := error(&Error{Op: "commit", Path: "x", Condition: mqtt5.ErrStoreFull, Err: os.ErrInvalid})
	if !errors.Is(err, mqtt5.ErrStoreFull) || !errors.Is(err, os.ErrInvalid) || err.Error() != "filestore: commit x: store is full: invalid argument" {
		t.Error(err)
	}
}
