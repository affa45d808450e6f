// SPDX-License-Identifier: Apache-2.0

// Command offline-queue publishes while there is no network: the messages wait
// in a bounded queue and leave when the connection is back.
package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/iot"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
	"github.com/gocrt/aws-iot-device-sdk-go/samples/internal/sample"
)

func main() {
	app := sample.New("offline-queue", "Publishes while there is no network; the messages leave when the connection is back.")
	files := app.CertFlags()

	app.Run(func(ctx context.Context) (err error) {
		session := app.NewSession()
		cable := app.Cable()
		offline, back := make(chan struct{}, 1), make(chan struct{}, 1)
		options := append(app.Options(), session.Options()...)
		options = append(options,
			iot.WithDialer(cable.DialContext),
			iot.WithSession(mqtt5.SessionRejoinPostSuccess, time.Hour),
			iot.WithClientOptions(func(o *mqtt5.ClientOptions) {
				o.OfflineQueuePolicy = mqtt5.FailQoS0PublishOnDisconnect // the default: QoS 1 waits, QoS 0 does not
				o.MaxQueuedOperations = 1000
				o.QueueFullPolicy = mqtt5.RejectWhenFull
				o.MinReconnectDelay, o.MaxReconnectDelay = 200*time.Millisecond, time.Second
				lost, connected, giveUp := o.OnDisconnection, o.OnConnectionSuccess, o.ShouldRetry
				o.OnDisconnection = func(d *mqtt5.Disconnection) {
					lost(d)
					offer(offline)
				}
				o.OnConnectionSuccess = func(s *mqtt5.ConnectionSuccess) {
					connected(s)
					offer(back)
				}
				// Failures are meant to happen once the cable is out.
				o.ShouldRetry = func(r mqtt5.RetryInfo) bool { return cable.Unplugged() || giveUp(r) }
			}))
		client, err := files.Client(options...)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, session.Stop(client)) }()
		if err := session.Connect(ctx, client); err != nil {
			return err
		}
		<-back
		if err := session.Subscribe(ctx, client, app.Topic); err != nil {
			return err
		}

		app.Printf("Unplugging the network.")
		cable.Unplug()
		if err := wait(ctx, offline); err != nil {
			return err
		}
		results := make(chan error, app.Count)
		for i := 1; i <= app.Count; i++ {
			client.PublishAsync(&mqtt5.PublishPacket{
				Topic: app.Topic, Payload: fmt.Appendf(nil, "%s [%d]", app.Message, i), QoS: mqtt5.AtLeastOnce,
			}, func(_ *mqtt5.PublishResult, err error) { results <- err })
		}
		app.Printf("Published %d messages without a network; %d operations wait.", app.Count, client.Stats().QueuedOperations)
		_, err = client.Publish(ctx, &mqtt5.PublishPacket{Topic: app.Topic, QoS: mqtt5.AtMostOnce})
		app.Printf("A message with QoS 0 does not wait: %v", err)
		if !errors.Is(err, mqtt5.ErrOfflinePolicy) {
			return fmt.Errorf("the message with QoS 0 was not refused: %w", err)
		}

		app.Printf("Plugging the network in again.")
		cable.Plug()
		if err := wait(ctx, back); err != nil {
			return err
		}
		for range app.Count {
			select {
			case err := <-results: // each publish has exactly one
				if err != nil {
					return err
				}
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		app.Printf("All %d messages are acknowledged.", app.Count)
		if err := session.Receive(ctx, app.Count, ""); err != nil {
			return err
		}
		return session.Unsubscribe(ctx, client, app.Topic)
	})
}

// offer signals an event without waiting for the receiver.
func offer(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

func wait(ctx context.Context, ch <-chan struct{}) error {
	ctx, cancel := context.WithTimeout(ctx, sample.Timeout)
	defer cancel()
	select {
	case <-ch:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
