// SPDX-License-Identifier: Apache-2.0

package interop

import "testing"

// suite is what every broker and every transport has to go through.
var suite = []struct {
	name string
	run  func(*testing.T, *fixture)
}{
	{"connect", testConnect},
	{"refuse", testRefuse},
	{"subscribe", testSubscribe},
	{"quality of service", testQoS},
	{"retained", testRetained},
	{"will", testWill},
	{"resume", testResume},
	{"resubscribe", testResubscribe},
	{"take-over", testTakeOver},
	{"stop drains", testStopDrains},
	{"stop ends the session", testStopEndsSession},
	{"keep alive", testKeepAlive},
	{"half-open", testHalfOpen},
	{"large payload", testLargePayload},
	{"order", testOrder},
	{"properties", testProperties},
	{"will properties", testWillProperties},
	{"subscription identifier", testSubscriptionIdentifier},
	{"shared subscription", testSharedSubscription},
	{"topic aliases", testTopicAliases},
	{"offline queue", testOfflineQueue},
	{"manual acknowledgement", testManualAcknowledgement},
	{"negative acknowledgement", testNegativeAcknowledgement},
}

// runSuite runs all cases on all routes to a broker.
func runSuite(t *testing.T, b *broker, routes []*route) {
	for _, r := range routes {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			for _, c := range suite {
				t.Run(c.name, func(t *testing.T) {
					t.Parallel()
					c.run(t, newFixture(b, r))
				})
			}
		})
	}
}
