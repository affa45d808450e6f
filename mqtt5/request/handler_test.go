// SPDX-License-Identifier: Apache-2.0

package request_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/mqtttest"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/request"
)

// connected returns a client of the broker.
func connected(t *testing.T, broker *mqtttest.Server, id string) *mqtt5.Client {
	t.Helper()
	c, err := mqtt5.NewClient(mqtt5.ClientOptions{
		Address: "broker:1883", Dial: broker.DialContext,
		Connect: mqtt5.ConnectPacket{ClientID: id, KeepAliveSeconds: mqtt5.Ptr[uint16](0)},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close(); synctest.Wait() })
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	if err := c.WaitConnected(t.Context()); err != nil {
		t.Fatal(err)
	}
	return c
}

// TestDo_inHandler waits for an answer in a handler of the connection, through
// which the answer would have to come: the request times out, and the connection
// goes on. From a goroutine of its own the same request is answered.
func TestDo_inHandler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broker := mqtttest.NewServer(t)
		service := connected(t, broker, "service")
		if _, err := service.Handle("ask", func(ctx context.Context, m mqtt5.Message) {
			if _, err := service.Publish(ctx, &mqtt5.PublishPacket{Topic: *m.ResponseTopic, CorrelationData: m.CorrelationData, QoS: mqtt5.AtLeastOnce}); err != nil {
				t.Error(err)
			}
		}); err != nil {
			t.Fatal(err)
		}
		device := connected(t, broker, "device")
		requests, err := request.New(device, request.Options{Timeout: time.Minute, ReplyTopic: "device/replies"})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = requests.Close(context.Background()) })
		for c, filter := range map[*mqtt5.Client]string{service: "ask", device: "go/#"} {
			if _, err := c.Subscribe(t.Context(), &mqtt5.SubscribePacket{Subscriptions: []mqtt5.Subscription{{TopicFilter: filter, QoS: mqtt5.AtLeastOnce}}}); err != nil {
				t.Fatal(err)
			}
		}
		results := make(chan error, 2)
		if _, err := device.Handle("go/#", func(ctx context.Context, m mqtt5.Message) {
			ask := func(ctx context.Context) {
				_, err := requests.Call(ctx, "ask", nil)
				results <- err
			}
			if m.Topic == "go/wait" {
				ask(ctx)
			} else {
				go ask(context.WithoutCancel(ctx))
			}
		}); err != nil {
			t.Fatal(err)
		}
		for _, topic := range []string{"go/wait", "go/later"} {
			if _, err := service.Publish(t.Context(), &mqtt5.PublishPacket{Topic: topic, QoS: mqtt5.AtLeastOnce}); err != nil {
				t.Fatal(err)
			}
		}
		if err := <-results; !errors.Is(err, request.ErrTimeout) || !errors.Is(err, mqtt5.ErrOutcomeUnknown) {
			t.Errorf("in the handler: %v, want ErrTimeout", err)
		}
		if err := <-results; err != nil {
			t.Errorf("on a goroutine: %v", err)
		}
	})
}
