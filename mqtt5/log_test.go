// SPDX-License-Identifier: Apache-2.0

package mqtt5_test

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/mqtttest"
)

// A log of warnings has what went wrong, and not what the program asked for.
func TestLog_warnings(t *testing.T) {
	bubble(t, "loss, failure, reconnect and stop", func(t *testing.T) {
		core, logs := observer.New(zap.WarnLevel)
		srv := mqtttest.NewServer(t)
		d := newDevice(t, srv, func(o *mqtt5.ClientOptions) { o.Logger = zap.New(core) })
		d.start()
		srv.RefuseDial(nil)
		_ = srv.Conns()[0].Reset()
		time.Sleep(time.Hour)
		want(t, "Reconnect", d.Reconnect(d.ctx), nil)
		want(t, "Stop", d.Stop(d.ctx, nil), nil)
		srv.HangDial()
		want(t, "Start", d.Start(), nil)
		synctest.Wait()
		want(t, "Stop", d.Stop(d.ctx, nil), nil)
		synctest.Wait()
		var got []string
		for _, e := range logs.All() {
			got = append(got, e.Message)
		}
		if all := []string{"disconnected", "connection attempt failed"}; !slices.Equal(got, all) {
			t.Errorf("logged %q, want %q", got, all)
		}
	})
}
