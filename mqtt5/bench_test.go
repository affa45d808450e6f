// SPDX-License-Identifier: Apache-2.0

package mqtt5

import (
	"context"
	"fmt"
	"testing"
)

// BenchmarkRouter finds the handlers of a topic among those of many filters:
// the cost depends on the levels of the topic, not on how many filters there are.
func BenchmarkRouter(b *testing.B) {
	for _, filters := range []int{1, 10, 100, 1_000, 10_000} {
		b.Run(fmt.Sprint(filters), func(b *testing.B) {
			var r router
			for i := range filters {
				r.add(fmt.Sprintf("devices/%d/+/state", i), func(context.Context, Message) {})
			}
			topic := fmt.Sprintf("devices/%d/lamp/state", filters/2)
			var room [8]route
			b.ReportAllocs()
			for b.Loop() {
				if len(r.match(topic, room[:0])) != 1 {
					b.Fatal("no match")
				}
			}
		})
	}
}
