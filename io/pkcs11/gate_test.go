// SPDX-License-Identifier: Apache-2.0

package pkcs11

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
)

func TestGate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g gate
		ctx := context.Background()
		var order []string
		enter := func(name string, alone bool) {
			go func() {
				if _, err := g.enter(ctx, alone); err != nil {
					t.Error(err)
				}
				order = append(order, name)
			}()
			synctest.Wait()
		}
		want := func(names ...string) {
			t.Helper()
			if len(order) != len(names) || len(names) > 0 && order[len(order)-1] != names[len(names)-1] {
				t.Errorf("inside were %q, want %q", order, names)
			}
		}
		enter("one", false)
		enter("two", false)
		enter("alone", true)
		enter("three", false) // does not wait for who waits
		want("one", "two", "three")
		for range 3 {
			g.leave()
			synctest.Wait()
		}
		want("one", "two", "three", "alone")
		enter("four", false)
		enter("alone too", true)
		want("one", "two", "three", "alone")

		cancelled, cancel := context.WithCancelCause(ctx)
		stop := errors.New("stop")
		cancel(stop)
		if _, err := g.enter(cancelled, false); err != stop {
			t.Errorf("got %v", err)
		}
		g.leave()
		synctest.Wait()
		g.leave()
		synctest.Wait()
		if len(order) != 6 {
			t.Errorf("inside were %q", order)
		}
		g.leave()
		if g.inside != 0 || g.alone || g.left != nil {
			t.Errorf("left behind: %+v", &g)
		}
	})
}
