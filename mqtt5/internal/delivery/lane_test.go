// SPDX-License-Identifier: Apache-2.0

package delivery

import (
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// lane is a Lane with an owner, who wakes it at each unlock.
type lane struct {
	sync.Mutex
	Lane[int]
	handle  func(l *lane, v int)
	handled []int
}

func newLane(pool *sync.Pool, handle func(l *lane, v int)) *lane {
	l := &lane{handle: handle}
	l.Init((*laneOwner)(l), pool)
	return l
}

type laneOwner lane

func (l *laneOwner) Lock() { l.Mutex.Lock() }

func (l *laneOwner) Unlock() {
	l.Wake()
	l.Mutex.Unlock()
}

func (l *laneOwner) HandleValue(v *int) {
	if l.handle != nil {
		l.handle((*lane)(l), *v)
	}
	l.handled = append(l.handled, *v)
}

func (l *lane) add(values ...int) {
	(*laneOwner)(l).Lock()
	for _, v := range values {
		l.Add(v)
	}
	(*laneOwner)(l).Unlock()
}

func (l *lane) want(t *testing.T, n int) {
	t.Helper()
	synctest.Wait()
	if len(l.handled) != n || !slices.IsSorted(l.handled) {
		t.Errorf("handled %v, want %d in order", l.handled, n)
	}
}

func TestLane_keepsOrder(t *testing.T) {
	for name, pool := range map[string]*sync.Pool{"without a pool": nil, "with a pool": new(sync.Pool)} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := 0
				l := newLane(pool, func(l *lane, v int) {
					if v%10 == 0 {
						time.Sleep(time.Second) // more comes meanwhile
					}
					if v%7 == 0 && v < 500 {
						l.add(1000 + v) // and from the function itself, after what is there
					}
				})
				for range 100 {
					l.add(n, n+1, n+2)
					n += 3
				}
				time.Sleep(time.Hour)
				synctest.Wait()
				first := slices.DeleteFunc(slices.Clone(l.handled), func(v int) bool { return v >= 1000 })
				second := slices.DeleteFunc(slices.Clone(l.handled), func(v int) bool { return v < 1000 })
				if len(first) != n || !slices.IsSorted(first) || len(second) != 43 || !slices.IsSorted(second) {
					t.Errorf("handled %v and %v", first, second)
				}
			})
		})
	}
}

func TestLane_oneAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		running := 0
		l := newLane(nil, func(*lane, int) {
			if running++; running > 1 {
				t.Error("two values at a time")
			}
			time.Sleep(time.Second)
			running--
		})
		for v := range 10 {
			l.add(v)
			time.Sleep(time.Second / 2)
		}
		time.Sleep(time.Minute)
		l.want(t, 10)
	})
}

// TestLane_goesOnAfterGoexit ends the goroutine of the lane in the function.
func TestLane_goesOnAfterGoexit(t *testing.T) {
	for name, pool := range map[string]*sync.Pool{"without a pool": nil, "with a pool": new(sync.Pool)} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				calls := 0
				l := newLane(pool, func(_ *lane, v int) {
					if calls++; v%2 == 1 {
						runtime.Goexit()
					}
				})
				l.add(0, 1, 2, 3, 4, 5)
				l.want(t, 3) // 0, 2, 4; the others did not get so far
				l.add(7)
				l.add(8)
				l.want(t, 4)
				if calls != 8 {
					t.Errorf("%d calls for 8 values", calls)
				}
			})
		})
	}
}

// TestLane_atRest checks that a lane at rest has neither goroutine nor memory.
func TestLane_atRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLane(new(sync.Pool), nil)
		l.Wake()
		synctest.Wait()
		for v := range 3 {
			l.add(v)
			synctest.Wait()
			if l.running || l.queue != nil || l.current != nil {
				t.Errorf("running: %v, queue %v, current %v", l.running, l.queue, l.current)
			}
		}
		l.want(t, 3)
	})
}

// TestLane_poolKeepsNothing checks that pooled memory refers to no value, and
// that a burst does not stay in it.
func TestLane_poolKeepsNothing(t *testing.T) {
	pool := new(sync.Pool)
	l := &Lane[*int]{pool: pool}
	small := &values[*int]{list: []*int{new(int), new(int)}, next: 2}
	l.recycle(small)
	if small.next != 0 || len(small.list) != 0 || small.list[:2][0] != nil || small.list[:2][1] != nil {
		t.Errorf("kept %v", small)
	}
	for pool.Get() != nil { // empty it
	}
	l.recycle(&values[*int]{list: make([]*int, maxPooled+1)})
	if pool.Get() != nil {
		t.Error("the memory of a burst was kept")
	}
}
