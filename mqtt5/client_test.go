// SPDX-License-Identifier: Apache-2.0

package mqtt5_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/mqtttest"
)

func TestClient_endToEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := mqtttest.NewServer(t)
		got := make(chan string, 10)
		var events []string
		c, err := mqtt5.NewClient(mqtt5.ClientOptions{
			Address:             "server:1883",
			Dial:                srv.DialContext,
			Connect:             mqtt5.ConnectPacket{ClientID: "c1"},
			OnMessage:           func(_ context.Context, m mqtt5.Message) { got <- m.Topic + "=" + string(m.Payload) },
			OnAttemptingConnect: func(*mqtt5.AttemptingConnect) { events = append(events, "attempting") },
			OnConnectionSuccess: func(*mqtt5.ConnectionSuccess) { events = append(events, "success") },
			OnConnectionFailure: func(e *mqtt5.ConnectionFailure) { events = append(events, "failure "+e.Err.Error()) },
			OnDisconnection:     func(e *mqtt5.Disconnection) { events = append(events, "disconnection "+e.Err.Error()) },
			OnStopped:           func(*mqtt5.Stopped) { events = append(events, "stopped") },
		})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := c.Subscribe(ctx, &mqtt5.SubscribePacket{Subscriptions: []mqtt5.Subscription{{TopicFilter: "a/#", QoS: mqtt5.ExactlyOnce}}}); err != nil {
			t.Fatal(err)
		}
		for qos := range mqtt5.QoS(3) {
			res, err := c.Publish(ctx, &mqtt5.PublishPacket{Topic: "a/b", Payload: []byte(qos.String()), QoS: qos})
			if err != nil {
				t.Fatal(qos, err)
			}
			if (res.Puback == nil) != (qos == 0) {
				t.Errorf("%v: puback %v", qos, res.Puback)
			}
			if m := <-got; m != "a/b="+qos.String() {
				t.Errorf("received %q", m)
			}
		}
		if err := c.Stop(ctx, nil); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		t.Log(events)
		if len(events) != 4 {
			t.Errorf("events %q", events)
		}
		t.Logf("%+v", c.Stats())
	})
}
