// SPDX-License-Identifier: Apache-2.0

package filestore

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
)

// FuzzOpen opens stores whose last segment is whatever the fuzzer makes of it:
// the result is an error that says so, or a store that can be used.
func FuzzOpen(f *testing.F) {
	d := newDisk(rand.New(rand.NewPCG(1, 1)))
	o, _ := Options{SegmentBytes: minSegment}.withDefaults()
	s, err := open(d, "disk", o)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(bytes.Clone(d.names[segmentName(1)].now[:s.log.size]))
	for id := uint64(1); id < 6; id++ {
		mustCommit(f, s, appendPublish(id, "body"), update(id, "s"), remove(id/2))
	}
	f.Add(bytes.Clone(d.names[segmentName(1)].now[:s.log.size]))
	s.Close()
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		d := newDisk(rand.New(rand.NewPCG(1, 1)))
		d.names[segmentName(1)] = &inode{now: bytes.Clone(b)}
		s, err := open(d, "disk", o)
		if err != nil {
			if !errors.Is(err, mqtt5.ErrStoreCorrupt) && !errors.Is(err, mqtt5.ErrStoreVersion) {
				t.Fatal(err)
			}
			return
		}
		before, err := read(s)
		if err != nil && !errors.Is(err, mqtt5.ErrStoreCorrupt) {
			t.Fatal(err)
		}
		mustCommit(t, s, appendPublish(1<<40, "new"))
		s.Close()
		if s, err = open(d, "disk", o); err != nil {
			t.Fatalf("again: %v", err)
		}
		if after, err := read(s); err == nil && len(after) != len(before)+1 && before != nil {
			t.Fatalf("%d records, then %d", len(before), len(after))
		}
	})
}
