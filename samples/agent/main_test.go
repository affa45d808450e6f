// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"io"
	"log/slog"
	"testing"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/iot"
	"github.com/gocrt/aws-iot-device-sdk-go/iot/iottest"
)

// The agent answers commands and sends telemetry, across a restart of the
// server, and ends when it is told to.
func TestAgent(t *testing.T) {
	core := iottest.Start(t)
	device := core.Device(t, "lamp")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cancelAnswers := core.Subscribe("agents/configuration", func(m *iottest.Message) {
		_ = core.Publish(iottest.Message{Topic: m.ResponseTopic, CorrelationData: m.CorrelationData, Payload: []byte("{}"), QoS: 1})
	})
	defer cancelAnswers()
	got := make(chan string, 1000)
	defer core.Subscribe("agents/lamp/#", func(m *iottest.Message) { got <- m.Topic })()
	wait := func(topic string) {
		t.Helper()
		for {
			select {
			case g := <-got:
				if g == topic {
					return
				}
			case <-ctx.Done():
				t.Fatalf("no message to %s", topic)
			}
		}
	}
	agent, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() {
		ended <- run(agent, slog.New(slog.NewTextHandler(io.Discard, nil)), "lamp", core.Endpoint(), iot.MTLSFromBytes(device.CertPEM(), device.KeyPEM()),
			iot.WithDialer(core.DialContext), iot.WithCABytes(core.CAPEM()))
	}()
	wait("agents/lamp/telemetry")
	command := iottest.Message{Topic: "agents/lamp/commands/on", Payload: []byte("1"), QoS: 1}
	if err := core.Publish(command); err != nil {
		t.Fatal(err)
	}
	wait("agents/lamp/done")
	core.StopListening()
	core.CutAll()
	if err := core.Listen(); err != nil {
		t.Fatal(err)
	}
	if err := core.Publish(command); err != nil {
		t.Fatal(err)
	}
	wait("agents/lamp/done")
	wait("agents/lamp/telemetry")
	stop()
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-ctx.Done():
		t.Error("the agent does not end")
	}
}
