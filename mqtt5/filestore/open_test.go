// SPDX-License-Identifier: Apache-2.0

package filestore

import (
	"bytes"
	"encoding/binary"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
)

func TestOpen_locked(t *testing.T) {
	dir := tempDir(t)
	s := mustOpen(t, dir, Options{})
	_, err := Open(dir, Options{})
	var e *Error
	if !errors.Is(err, mqtt5.ErrStoreLocked) || !errors.As(err, &e) || e.Path != dir {
		t.Errorf("second Open: %v", err)
	}
	s.Close()
	mustOpen(t, dir, Options{})
}

func TestOpen_options(t *testing.T) {
	for _, o := range []Options{
		{Sync: 9}, {Interval: -1}, {SegmentBytes: 4095}, {SegmentBytes: 1<<30 + 1}, {MaxBytes: -1}, {MaxBytes: 1 << 20},
	} {
		if _, err := Open(tempDir(t), o); err == nil {
			t.Errorf("%+v is accepted", o)
		}
	}
	for _, o := range []Options{
		{}, {Sync: SyncInterval}, {SegmentBytes: minSegment}, {MaxBytes: 2 * defaultSegment}, {SegmentBytes: minSegment, MaxBytes: 2 * minSegment},
	} {
		s, err := Open(tempDir(t), o)
		if err != nil {
			t.Errorf("%+v: %v", o, err)
			continue
		}
		s.Close()
	}
}

// Each directory that is made for a store is synced into the one above, the
// highest first: none is lost whose parent lasts.
func TestMakeDirectory(t *testing.T) {
	base := t.TempDir()
	for _, tt := range []struct {
		path string
		want []string
	}{
		{"a/b/c", []string{"", "a", "a/b"}},
		{"a/b/c", []string{"a/b"}},
		{"a/b/./d/", []string{"a/b"}},
		{"e", []string{""}},
	} {
		var synced []string
		err := makeDirectory(base+"/"+tt.path, func(dir string) error {
			relative, err := filepath.Rel(base, dir)
			synced = append(synced, strings.TrimPrefix(filepath.ToSlash(relative), "."))
			return err
		})
		if err != nil || !slices.Equal(synced, tt.want) {
			t.Errorf("%s: synced %q, %v, want %q", tt.path, synced, err, tt.want)
		}
	}
	broken := errors.New("broken")
	for _, refusal := range []error{broken, os.ErrPermission} {
		err := makeDirectory(filepath.Join(base, refusal.Error()), func(string) error { return refusal })
		if refusal == broken && !errors.Is(err, broken) || refusal != broken && err != nil {
			t.Errorf("%v: %v", refusal, err)
		}
	}
}

// TestOpen_damaged flips bits all over a store: each is noticed, at the latest
// when the record is read, and Open changes nothing.
func TestOpen_damaged(t *testing.T) {
	d, have := filled(t)
	for number := uint32(1); number <= 2; number++ {
		good := d.names[segmentName(number)].now
		for at := 0; at < len(good); at += 3 {
			bad := bytes.Clone(good)
			bad[at] ^= 1 << (at % 8)
			d.names[segmentName(number)].now = bad
			before := content(d)
			s, err := open(d, "disk", small)
			if err == nil {
				checkOneDamaged(t, s, have)
				s.Close()
				continue
			}
			version := errors.Is(err, mqtt5.ErrStoreVersion) && at < headerSize
			if !errors.Is(err, mqtt5.ErrStoreCorrupt) && !version {
				t.Fatalf("segment %d, byte %d: %v", number, at, err)
			}
			if !maps.Equal(before, content(d)) {
				t.Fatalf("segment %d, byte %d: open changed something", number, at)
			}
		}
		d.names[segmentName(number)].now = good
	}
	s := openDisk(t, d)
	if diff := cmp.Diff(have, records(t, s, mqtt5.RecordPublish, 0)); diff != "" {
		t.Errorf("undamaged again (-want +got):\n%s", diff)
	}
}

// checkOneDamaged checks that the store reports one record as damaged and has all
// others.
func checkOneDamaged(t *testing.T, s *Store, have []mqtt5.StoreRecord) {
	t.Helper()
	var got []mqtt5.StoreRecord
	damaged, from := 0, uint64(0)
	for {
		err := s.Iterate(mqtt5.RecordPublish, from, func(r mqtt5.StoreRecord) bool {
			got = append(got, r)
			return true
		})
		if err == nil {
			break
		}
		var e *mqtt5.RecordError
		if !errors.As(err, &e) || !errors.Is(err, mqtt5.ErrStoreCorrupt) || e.Kind != mqtt5.RecordPublish {
			t.Fatal(err)
		}
		damaged++
		got = append(got, have[e.ID-1])
		from = e.ID + 1
	}
	same := func(a, b mqtt5.StoreRecord) bool { return a.ID == b.ID && bytes.Equal(a.Body, b.Body) }
	if damaged != 1 || !slices.EqualFunc(have, got, same) {
		t.Fatalf("%d damaged records, %d in all, want %d", damaged, len(got), len(have))
	}
}

func TestOpen_missing(t *testing.T) {
	d, _ := filled(t)
	for _, number := range []uint32{1, 2} {
		good := d.names[segmentName(number)]
		delete(d.names, segmentName(number))
		if _, err := open(d, "disk", small); !errors.Is(err, mqtt5.ErrStoreCorrupt) {
			t.Errorf("without segment %d: %v", number, err)
		}
		d.names[segmentName(number)] = good
	}
}

// TestOpen_damagedEnd damages the last segment, in front of a commit that says
// that everything before it was synced.
func TestOpen_damagedEnd(t *testing.T) {
	d := newDisk(nil)
	s := openDisk(t, d)
	for id := uint64(1); id <= 3; id++ {
		mustCommitAll(t, s, id)
	}
	s.Close()
	d.names[segmentName(1)].now[headerSize+frameHeaderSize+5] ^= 1
	if _, err := open(d, "disk", small); !errors.Is(err, mqtt5.ErrStoreCorrupt) {
		t.Errorf("damaged first commit: %v", err)
	}
}

func TestOpen_torn(t *testing.T) {
	d := newDisk(nil)
	s := openDisk(t, d)
	mustCommitAll(t, s, 1)
	mustCommitAll(t, s, 2)
	end := s.log.size
	mustCommitAll(t, s, 3)
	last := s.log.size
	s.Close()
	n := d.names[segmentName(1)]
	whole := bytes.Clone(n.now)
	for size := end; size <= last; size++ {
		n.now = bytes.Clone(whole[:size])
		s := openDisk(t, d)
		want := uint64(2)
		if size == last {
			want = 3
		}
		if got := records(t, s, mqtt5.RecordPublish, 0); uint64(len(got)) != want {
			t.Fatalf("%d records after %d bytes of the last commit", len(got), size-end)
		}
		if torn := s.Info().TornBytes; size < last && torn != size-end {
			t.Errorf("%d bytes torn, want %d", torn, size-end)
		}
		mustCommitAll(t, s, want+1)
		s.Close()
		s = openDisk(t, d)
		if got := records(t, s, mqtt5.RecordPublish, 0); uint64(len(got)) != want+1 {
			t.Fatalf("%d records after one more", len(got))
		}
		s.Close()
	}
}

func TestOpen_newer(t *testing.T) {
	d, _ := filled(t)
	binary.LittleEndian.PutUint16(d.names[segmentName(3)].now[8:], formatVersion+1)
	before := content(d)
	if _, err := open(d, "disk", small); !errors.Is(err, mqtt5.ErrStoreVersion) {
		t.Errorf("newer version: %v", err)
	}
	if !maps.Equal(before, content(d)) {
		t.Error("open changed something")
	}
}

func TestOpen_notADirectory(t *testing.T) {
	path := filepath.Join(tempDir(t), "file")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path, Options{}); !errors.Is(err, mqtt5.ErrStoreIO) {
		t.Errorf("%v", err)
	}
}
