// SPDX-License-Identifier: Apache-2.0

package mqtt5_test

import (
	"fmt"
	"runtime"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/mqtttest"
)

func TestHandleEvents(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		server := mqtttest.NewServer(t)
		var got []string
		note := func(who string) func(any) {
			return func(event any) { got = append(got, fmt.Sprintf("%s %T", who, event)) }
		}
		client, err := mqtt5.NewClient(mqtt5.ClientOptions{
			Address:             "server:1883",
			Dial:                server.DialContext,
			OnConnectionSuccess: func(e *mqtt5.ConnectionSuccess) { note("option")(e) },
		})
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		remove := client.HandleEvents(note("first"))
		client.HandleEvents(func(any) { panic("of the test") })
		client.HandleEvents(note("second"))
		if err := client.Start(); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		remove()
		if err := client.Stop(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		want := []string{
			"first *mqtt5.AttemptingConnect", "second *mqtt5.AttemptingConnect",
			"option *mqtt5.ConnectionSuccess", "first *mqtt5.ConnectionSuccess", "second *mqtt5.ConnectionSuccess",
			"second *mqtt5.Disconnection", "second *mqtt5.Stopped",
		}
		if !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
		for range 2 {
			if err := client.Close(); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		want = append(want, "second *mqtt5.Closed")
		if !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

// TestHandleEvents_othersEndTheGoroutine checks that each handler gets each event
// when those before it end their goroutine, as a failed test does.
func TestHandleEvents_othersEndTheGoroutine(t *testing.T) {
	bubble(t, "all events", func(t *testing.T) {
		d := newDevice(t, mqtttest.NewServer(t), func(o *mqtt5.ClientOptions) {
			o.OnAttemptingConnect = func(*mqtt5.AttemptingConnect) { runtime.Goexit() }
			o.OnConnectionSuccess = func(*mqtt5.ConnectionSuccess) { runtime.Goexit() }
			o.OnDisconnection = func(*mqtt5.Disconnection) { runtime.Goexit() }
			o.OnStopped = func(*mqtt5.Stopped) { runtime.Goexit() }
		})
		var got []string
		d.HandleEvents(func(any) { runtime.Goexit() })
		d.HandleEvents(func(event any) { got = append(got, fmt.Sprintf("%T", event)) })
		d.start()
		want(t, "stop", d.Stop(d.ctx, nil), nil)
		synctest.Wait()
		all := []string{"*mqtt5.AttemptingConnect", "*mqtt5.ConnectionSuccess", "*mqtt5.Disconnection", "*mqtt5.Stopped"}
		if !slices.Equal(got, all) {
			t.Errorf("got %q, want %q", got, all)
		}
	})
}
