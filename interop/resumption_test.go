// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"crypto/tls"
	"testing"

	"github.com/gocrt/aws-iot-device-sdk-go/io/tlsctx"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
)

// TestResumption wants every reconnect to resume the TLS session, if the broker does.
func TestResumption(t *testing.T) {
	for _, b := range secureBrokers(t) {
		for _, version := range tlsVersions {
			t.Run(b.name+" "+tls.VersionName(version), func(t *testing.T) {
				cert, key := b.files(t, "device")
				f, seen := b.fixture(tlsctx.FromPath(cert, key), func(o *tlsctx.Options) {
					o.MinVersion, o.MaxVersion = version, version
				})
				d := f.connected(t, "d")
				d.subscribe(mqtt5.AtMostOnce, f.topic("a"))
				const cuts = 3
				for i := range cuts {
					d.relay.cut()
					await[*mqtt5.ConnectionSuccess](d)
					d.subscribe(mqtt5.AtMostOnce, f.topic("a"))
					d.publish(mqtt5.AtLeastOnce, f.topic("a"), number(i))
					d.expect(number(i))
				}
				states := seen.all()
				if len(states) != cuts+1 {
					t.Errorf("%d handshakes, want %d", len(states), cuts+1)
				}
				for i, s := range states {
					if s.DidResume != (i > 0 && b.resumes) || s.Version != version {
						t.Errorf("handshake %d: %s, resumed %v", i, tls.VersionName(s.Version), s.DidResume)
					}
				}
			})
		}
	}
}
