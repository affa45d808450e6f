// SPDX-License-Identifier: Apache-2.0

// Command x509 connects with the certificate of a device over mutual TLS,
// subscribes, publishes, receives what it published, and stops. The whole flow
// of a program is here; package sample has its flags, and the embedded AWS IoT
// Core for those who give no endpoint.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/iot"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
	"github.com/gocrt/aws-iot-device-sdk-go/samples/internal/sample"
)

func main() {
	app := sample.New("x509", "Connects with a device certificate over mutual TLS, subscribes, publishes and receives.")
	cert := flag.String("cert", "", "PEM `file` with the certificate of the device")
	key := flag.String("key", "", "PEM `file` with its private key")

	app.Run(func(ctx context.Context) (err error) {
		if app.Local() {
			*cert, *key, err = app.DeviceFiles()
		} else {
			err = app.Require("cert", "key")
		}
		if err != nil {
			return err
		}
		return run(ctx, app, *cert, *key)
	})
}

func run(ctx context.Context, app *sample.App, cert, key string) (err error) {
	received := make(chan mqtt5.Message, 16)
	failed := make(chan error, 1)

	// The options of app are the client id, handlers that print the lifecycle
	// events, and what the flags say about port, CA and proxy.
	client, err := iot.NewMTLSFromPath(app.Endpoint, cert, key, append(app.Options(),
		iot.WithOnMessage(func(_ context.Context, m mqtt5.Message) { received <- m }),
		iot.WithClientOptions(func(o *mqtt5.ClientOptions) {
			// This program gives up at the first failure; a device goes on trying.
			o.ShouldRetry = func(r mqtt5.RetryInfo) bool {
				failed <- r.Err
				return false
			}
		}))...)
	if err != nil {
		return err
	}
	defer func() {
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), sample.Timeout)
		defer cancel()
		err = errors.Join(err, client.Stop(stop, nil), client.Close())
	}()
	if err := client.Start(); err != nil {
		return err
	}
	wait, cancel := context.WithTimeout(ctx, sample.Timeout)
	defer cancel()
	if err := client.WaitConnected(wait); errors.Is(err, mqtt5.ErrGaveUp) {
		return <-failed
	} else if err != nil {
		return err
	}

	suback, err := client.Subscribe(wait, &mqtt5.SubscribePacket{
		Subscriptions: []mqtt5.Subscription{{TopicFilter: app.Topic, QoS: mqtt5.AtLeastOnce}},
	})
	if err != nil {
		return err
	}
	app.Printf("Subscribed to %s: %v", app.Topic, suback.ReasonCodes[0])

	for i := 1; app.Count == 0 || i <= app.Count; i++ {
		if err := exchange(ctx, app, client, received, i); err != nil {
			return err
		}
		if app.Count == 0 { // until Ctrl-C
			select {
			case <-time.After(time.Second):
			case <-ctx.Done():
			}
		}
	}
	app.Printf("Published %d messages with QoS 1 to %s, all acknowledged.", app.Count, app.Topic)

	if _, err := client.Unsubscribe(ctx, &mqtt5.UnsubscribePacket{TopicFilters: []string{app.Topic}}); err != nil {
		return err
	}
	app.Printf("Unsubscribed from %s.", app.Topic)
	return nil
}

// exchange publishes a message and waits for it to come back.
func exchange(ctx context.Context, app *sample.App, client *mqtt5.Client, received <-chan mqtt5.Message, i int) error {
	ctx, cancel := context.WithTimeout(ctx, sample.Timeout)
	defer cancel()
	_, err := client.Publish(ctx, &mqtt5.PublishPacket{
		Topic: app.Topic, Payload: fmt.Appendf(nil, "%s [%d]", app.Message, i), QoS: mqtt5.AtLeastOnce,
	})
	if err != nil {
		return err
	}
	select {
	case m := <-received:
		if app.Count == 0 {
			app.Printf("Received: %s: %s", m.Topic, m.Payload)
		} else {
			app.Printf("Received %d of %d: %s: %s", i, app.Count, m.Topic, m.Payload)
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("message %d did not come back: %w", i, context.Cause(ctx))
	}
}
