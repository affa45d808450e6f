// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"errors"
	"regexp"
	"testing"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/iot"
	"github.com/gocrt/aws-iot-device-sdk-go/iot/iottest"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
)

// TestLosses ends connections in the ways of the service: the event says how and
// what to do, and the client connects again.
func TestLosses(t *testing.T) {
	ends := func(code iottest.ReasonCode) func(*testing.T, *iottest.Core, *mqtt5.Client) {
		return func(_ *testing.T, core *iottest.Core, _ *mqtt5.Client) { core.Disconnect("lost", code) }
	}
	publishing := func(topic string) func(*testing.T, *iottest.Core, *mqtt5.Client) {
		return func(_ *testing.T, _ *iottest.Core, client *mqtt5.Client) {
			// The connection may end before or after its write is known to have
			// succeeded.
			client.PublishAsync(&mqtt5.PublishPacket{Topic: topic, Payload: []byte("x")}, func(*mqtt5.PublishResult, error) {})
		}
	}
	for _, tt := range []struct {
		name       string
		quotas     iottest.Quotas
		policy     string
		end        func(*testing.T, *iottest.Core, *mqtt5.Client)
		text, hint string
	}{
		{"cut", iottest.Quotas{}, "", func(_ *testing.T, core *iottest.Core, _ *mqtt5.Client) { core.Cut("lost") }, `closed the connection|EOF|reset`, `a policy does not allow .* same client id, .* 24 hours`},
		{"administrator", iottest.Quotas{}, "", ends(iottest.AdministrativeAction), `administrative action`, `administrator`},
		{"shutdown", iottest.Quotas{}, "", ends(iottest.ServerShuttingDown), `server shutting down`, `connects again by itself`},
		{"busy", iottest.Quotas{}, "", ends(iottest.ServerBusy), `server busy`, `connects again by itself`},
		{"quota", iottest.Quotas{}, "", ends(iottest.QuotaExceeded), `quota exceeded`, `quota of AWS IoT Core`},
		{"malformed", iottest.Quotas{}, "", ends(iottest.MalformedPacket), `malformed packet`, `report it`},
		{"another client", iottest.Quotas{}, "", ends(iottest.SessionTakenOver), `session taken over`, `another connection uses the client id "lost"`},
		{"silence", iottest.Quotas{MaxKeepAlive: 60}, "", func(_ *testing.T, core *iottest.Core, _ *mqtt5.Client) { core.Advance(91 * time.Second) }, `keep alive timeout`, `check the network`},
		{"QoS 0 without permission", iottest.Quotas{}, policy(mayConnect), publishing("a/b"), `not authorized`, `iot:Publish on topic/`},
		{"QoS 0 on a reserved topic", iottest.Quotas{}, "", publishing("$other"), `topic name invalid`, `256 bytes and 7 slashes`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			core := iottest.Start(t, func(o *iottest.Options) { o.Quotas = tt.quotas })
			e, options := watch("lost")
			var opts []iottest.DeviceOption
			if tt.policy != "" {
				opts = append(opts, iottest.WithPolicy(tt.policy))
			}
			client, err := made(device(opts...)(t, core, append(options, withoutChecks, iot.WithDialer(core.DialContext), iot.WithCABytes(core.CAPEM()))))
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			if err := client.Start(); err != nil {
				t.Fatal(err)
			}
			receive(t, e.connected, e.failed, "the connection")
			tt.end(t, core, client)
			lost := receive(t, e.lost, e.failed, "the loss")
			event := (*iot.ConnectError)(nil)
			if !errors.As(lost, &event) || event.Stage != iot.StageMQTT || !regexp.MustCompile(tt.text).MatchString(lost.Error()) || !regexp.MustCompile(tt.hint).MatchString(event.Hint) {
				t.Errorf("got %v", lost)
			}
			receive(t, e.connected, e.failed, "the reconnect")
		})
	}
}
