// SPDX-License-Identifier: Apache-2.0

package commit

import (
	"errors"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// slowDisk takes a second of virtual time for each write.
type slowDisk struct {
	mu      sync.Mutex
	batches [][]int
	at      []time.Duration // when each write ended
	done    []uint64
	errs    []error
	fail    map[int]error // by number of the write, from 1
	start   time.Time
}

func newDisk() *slowDisk { return &slowDisk{fail: map[int]error{}, start: time.Now()} }

func (d *slowDisk) config() Config[int] {
	return Config[int]{
		Write: func(batch []int) error {
			time.Sleep(time.Second)
			d.mu.Lock()
			defer d.mu.Unlock()
			d.batches = append(d.batches, slices.Clone(batch))
			d.at = append(d.at, time.Since(d.start))
			return d.fail[len(d.batches)]
		},
		Done: func(through uint64, err error) {
			d.mu.Lock()
			defer d.mu.Unlock()
			d.done = append(d.done, through)
			d.errs = append(d.errs, err)
		},
	}
}

// written returns the batches so far.
func (d *slowDisk) written() [][]int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.batches)
}

func check(t *testing.T, what string, got, want any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// sleep passes time and waits for what happens in it.
func sleep(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func TestAdd_groupsWhatComesDuringAWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		c := New(d.config())
		if n := c.Add(1); n != 1 {
			t.Errorf("number %d", n)
		}
		synctest.Wait() // the write is under way
		for i := 2; i <= 64; i++ {
			before := time.Now()
			if n := c.Add(i); n != uint64(i) {
				t.Errorf("number %d of change %d", n, i)
			}
			if time.Since(before) != 0 {
				t.Error("Add waited for the write")
			}
		}
		c.Close()
		check(t, "sizes", []int{len(d.batches[0]), len(d.batches[1])}, []int{1, 63})
		check(t, "order", slices.Concat(d.batches...)[:5], []int{1, 2, 3, 4, 5})
		check(t, "stored up to", d.done, []uint64{1, 64})
		check(t, "time", d.at, []time.Duration{time.Second, 2 * time.Second})
	})
}

func TestAddLazy_waitsForOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		cfg := d.config()
		cfg.Linger = 10 * time.Second
		c := New(cfg)
		c.AddLazy(1)
		sleep(9 * time.Second)
		check(t, "batches before the time", d.written(), [][]int(nil))
		c.AddLazy(2)
		c.Add(3)
		sleep(2 * time.Second)
		check(t, "with what is urgent", d.written(), [][]int{{1, 2, 3}})

		c.AddLazy(4)
		sleep(10*time.Second + 1500*time.Millisecond)
		check(t, "after the time", d.written(), [][]int{{1, 2, 3}, {4}})
		check(t, "time", d.at[1], 22*time.Second)
		c.Close()
	})
}

func TestAddLazy_duringAWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		cfg := d.config()
		cfg.Linger = 10 * time.Second
		c := New(cfg)
		c.Add(1)
		synctest.Wait()
		c.AddLazy(2)
		sleep(5 * time.Second)
		check(t, "lazy", d.written(), [][]int{{1}})
		sleep(8 * time.Second)
		check(t, "after the time", d.written(), [][]int{{1}, {2}})
	})
}

func TestWrite_failure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		d.fail[1] = errors.New("disk full")
		d.fail[2] = d.fail[1]
		cfg := d.config()
		cfg.Again = func(i int) bool { return i%2 == 0 }
		c := New(cfg)
		c.Add(1, 2, 3, 4)
		synctest.Wait()
		c.Add(5, 6)
		sleep(5 * time.Second)
		c.Add(7)
		c.Close()
		check(t, "batches", d.batches, [][]int{{1, 2, 3, 4}, {2, 4, 5, 6}, {2, 4, 6, 7}})
		check(t, "done", d.done, []uint64{4, 6, 7})
		check(t, "failures", []bool{d.errs[0] != nil, d.errs[1] != nil, d.errs[2] != nil}, []bool{true, true, false})
	})
}

// TestWrite_endsTheGoroutine has a write end its goroutine, as a failed test does.
func TestWrite_endsTheGoroutine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		cfg := d.config()
		write := cfg.Write
		cfg.Write = func(batch []int) error {
			if batch[0] == 1 {
				runtime.Goexit()
			}
			return write(batch)
		}
		c := New(cfg)
		c.Add(1)
		synctest.Wait()
		c.Add(2)
		c.Close()
		check(t, "batches", d.batches, [][]int{{2}})
		check(t, "done", d.done, []uint64{1, 2})
		check(t, "failures", []bool{d.errs[0] != nil, d.errs[1] != nil}, []bool{true, false})
	})
}

func TestWrite_failureRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		d.fail[1] = errors.New("disk full")
		cfg := d.config()
		cfg.Again = func(i int) bool { return i%2 == 0 }
		cfg.Retry = 10 * time.Second
		c := New(cfg)
		c.Add(1, 2)
		sleep(10 * time.Second)
		check(t, "before the time", d.written(), [][]int{{1, 2}})
		sleep(3 * time.Second)
		check(t, "after the time", d.written(), [][]int{{1, 2}, {2}})
		c.Close()
		check(t, "done", d.done, []uint64{2, 2})
	})
}

func TestBatch_bounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		cfg := d.config()
		cfg.MaxChanges, cfg.MaxBytes = 3, 100
		cfg.Size = func(i int) int { return i }
		c := New(cfg)
		c.Add(1, 2, 3, 4, 90, 20, 500, 5)
		c.Close()
		check(t, "batches", d.batches, [][]int{{1, 2, 3}, {4, 90}, {20}, {500}, {5}})
		check(t, "done", d.done, []uint64{3, 5, 6, 7, 8})
	})
}

func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		cfg := d.config()
		cfg.Linger = time.Hour
		c := New(cfg)
		c.AddLazy(1)
		c.Add(2)
		c.AddLazy(3)
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(c.Close)
		}
		wg.Wait()
		check(t, "written", slices.Concat(d.batches...), []int{1, 2, 3})
		if c.Add(4) != 0 || c.AddLazy(5) != 0 {
			t.Error("added after Close")
		}
		c.Flush()
		c.Close()
		synctest.Wait()
		check(t, "written", slices.Concat(d.batches...), []int{1, 2, 3})
	})
}

// What failed is not written again after Close: the disk may be closed by then.
func TestClose_afterAFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		d.fail[1], d.fail[2] = errors.New("full"), errors.New("full")
		cfg := d.config()
		cfg.Again = func(int) bool { return true }
		cfg.Retry = time.Minute
		c := New(cfg)
		c.Add(1)
		sleep(2 * time.Second)
		c.Close()
		sleep(time.Hour)
		check(t, "written", d.written(), [][]int{{1}, {1}})
	})
}

// Lazy changes wait for the whole of Linger, whatever waited before them.
func TestAddLazy_afterOthersWereWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		cfg := d.config()
		cfg.Linger = time.Hour
		c := New(cfg)
		c.AddLazy(1)
		sleep(30 * time.Minute)
		c.Add(2)
		sleep(time.Minute)
		c.AddLazy(3)
		sleep(59 * time.Minute)
		check(t, "written", d.written(), [][]int{{1, 2}})
		sleep(2 * time.Minute)
		check(t, "written", d.written(), [][]int{{1, 2}, {3}})
	})
}

// TestDone_mayAdd is what a client does: what was stored leads to more changes.
func TestDone_mayAdd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		cfg := d.config()
		var c *Committer[int]
		cfg.Done = func(through uint64, err error) {
			d.done = append(d.done, through)
			if through < 5 {
				c.Add(int(through) + 1)
			}
		}
		c = New(cfg)
		c.Add(1)
		sleep(time.Minute)
		c.Close()
		check(t, "done", d.done, []uint64{1, 2, 3, 4, 5})
	})
}
