// SPDX-License-Identifier: Apache-2.0

package eventloop

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestGate_grantsInOrder(t *testing.T) {
	g := NewGroup(Options{DialLimit: 2}).Gate()
	var got []int
	waiters := make([]Waiter, 6)
	for i := range waiters {
		waiters[i].Init(func() { got = append(got, i) })
		g.Acquire(&waiters[i])
	}
	step := func(want ...int) {
		t.Helper()
		if d := cmp.Diff(want, got); d != "" {
			t.Fatal(d)
		}
	}
	step(0, 1)
	g.Acquire(&waiters[4]) // waits already
	if !g.Cancel(&waiters[3]) || g.Cancel(&waiters[3]) {
		t.Error("Cancel should report true once")
	}
	if g.Cancel(&waiters[0]) {
		t.Error("cancelled what was granted")
	}
	g.Release()
	step(0, 1, 2)
	g.Acquire(&waiters[3]) // at the end
	g.Release()
	g.Release()
	g.Release()
	step(0, 1, 2, 4, 5, 3)
	g.Release()
	g.Release()
	g.Release() // one too many
	g.Acquire(&waiters[0])
	g.Acquire(&waiters[1])
	g.Acquire(&waiters[2])
	step(0, 1, 2, 4, 5, 3, 0, 1)
}

func TestGate_cancelAnywhere(t *testing.T) {
	for victim := range 3 {
		g := NewGroup(Options{DialLimit: 1}).Gate()
		var first Waiter
		first.Init(func() {})
		g.Acquire(&first)
		var got []int
		waiters := make([]Waiter, 3)
		var want []int
		for i := range waiters {
			waiters[i].Init(func() { got = append(got, i); g.Release() })
			g.Acquire(&waiters[i])
			if i != victim {
				want = append(want, i)
			}
		}
		if !g.Cancel(&waiters[victim]) {
			t.Fatal("did not wait")
		}
		g.Release()
		if d := cmp.Diff(want, got); d != "" {
			t.Error(d)
		}
	}
}

func TestGate_releaseInsideGrantDoesNotNest(t *testing.T) {
	g := NewGroup(Options{DialLimit: 1}).Gate()
	var first Waiter
	first.Init(func() {})
	g.Acquire(&first)
	depth, granted := 0, 0
	waiters := make([]Waiter, 10_000)
	for i := range waiters {
		waiters[i].Init(func() {
			if depth++; depth > 1 {
				t.Fatal("nested")
			}
			granted++
			g.Release()
			if granted == 1 {
				g.Acquire(&waiters[0]) // to the end of the queue
			}
			depth--
		})
		g.Acquire(&waiters[i])
	}
	g.Release()
	if granted != len(waiters)+1 {
		t.Errorf("%d granted", granted)
	}
}

func TestGate_survivesAPanicInGrant(t *testing.T) {
	g := NewGroup(Options{DialLimit: 1}).Gate()
	var bad, good Waiter
	bad.Init(func() { panic("bad") })
	granted := false
	good.Init(func() { granted = true })
	func() {
		defer func() { recover() }()
		g.Acquire(&bad)
	}()
	g.Acquire(&good)
	g.Release()
	if !granted {
		t.Error("not granted")
	}
}

func TestGate_acquireWithoutInitPanics(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	NewGroup(Options{}).Gate().Acquire(new(Waiter))
}

func TestGate_fromManyGoroutines(t *testing.T) {
	const limit = 3
	g := NewGroup(Options{DialLimit: limit}).Gate()
	var held, most atomic.Int32
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(i), 2))
			granted := make(chan struct{}, 1)
			var w Waiter
			w.Init(func() {
				n := held.Add(1)
				for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
				}
				granted <- struct{}{}
			})
			for range 300 {
				g.Acquire(&w)
				if rng.IntN(3) == 0 && g.Cancel(&w) {
					select {
					case <-granted:
						t.Error("granted after a cancel")
					default:
					}
					continue
				}
				<-granted
				held.Add(-1)
				g.Release()
			}
		})
	}
	wg.Wait()
	if n := most.Load(); n > limit {
		t.Errorf("%d at a time", n)
	}
	if g.held != 0 || g.head != nil || g.tail != nil {
		t.Errorf("left over: %d held", g.held)
	}
}
