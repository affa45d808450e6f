// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestFailures(t *testing.T) {
	var f failures
	first := errors.New("0\nand more")
	for i := range 20 {
		err := fmt.Errorf("%d", i%10)
		if i == 0 {
			err = first
		}
		f.add(err)
	}
	var got []string
	f.each(func(text string, times int64) { got = append(got, fmt.Sprint(times, " x ", text)) })
	want := []string{"1 x 0; and more", "2 x 1", "2 x 2", "2 x 3", "2 x 4"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if f.count() != 20 || f.first() != first {
		t.Errorf("%d, the first: %v", f.count(), f.first())
	}
}
