// SPDX-License-Identifier: Apache-2.0

package iottest_test

import (
	"context"
	"errors"
	"testing"

	"github.com/gocrt/aws-iot-device-sdk-go/iot/iottest"
)

func TestSendDirectMessage(t *testing.T) {
	t.Parallel()
	c := iottest.Start(t, plain)
	cl := serviceClient(t, c, "device")
	other := serviceClient(t, c, "other")
	m := iottest.Message{Topic: "to/device", Payload: []byte("p"), ContentType: "text/plain", ResponseTopic: "answers"}
	if err := c.SendDirectMessage(t.Context(), "device", m); err != nil {
		t.Fatal(err)
	}
	if f := cl.expectMessage("to/device", "p"); f.qos() != 0 || string(f.props[pResponseTopic]) != "answers" {
		t.Errorf("message %+v", f)
	}
	m.QoS = 1
	done := make(chan error)
	go func() { done <- c.SendDirectMessage(t.Context(), "device", m) }()
	f := cl.expect(tPublish)
	select {
	case err := <-done:
		t.Fatalf("sent before it was acknowledged: %v", err)
	default:
	}
	cl.puback(f.id)
	if err := <-done; err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() { done <- c.SendDirectMessage(ctx, "device", m) }()
	cl.expect(tPublish)
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("given up: %v", err)
	}
	other.nothing()

	var rejected *iottest.ServiceError
	if err := c.SendDirectMessage(t.Context(), "nobody", m); !errors.As(err, &rejected) || rejected.Status != 404 {
		t.Errorf("to nobody: %v", err)
	}
	d := c.Device(t, "deaf", iottest.WithPolicy(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"iot:Connect","Resource":"*"}]}`))
	dialDevice(t, c, d).mustConnect(connectOptions{id: "deaf"})
	if err := c.SendDirectMessage(t.Context(), "deaf", m); !errors.As(err, &rejected) || rejected.Status != 403 {
		t.Errorf("without the right to receive: %v", err)
	}
	if err := c.SendDirectMessage(t.Context(), "device", iottest.Message{Topic: "a/+"}); err == nil {
		t.Error("sent to a filter")
	}
}
