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
		session, network := app.NewSession(), &network{cable: app.Cable(), lost: make(chan struct{}, 1), back: make(chan struct{}, 1)}
		options := append(append(app.Options(), session.Options()...), network.options()...)
		client, err := files.Client(options...)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, session.Stop(client)) }()
		if err := session.Connect(ctx, client); err != nil {
			return err
		}
		<-network.back
		if err := session.Subscribe(ctx, client, app.Topic); err != nil {
			return err
		}

		app.Printf("Unplugging the network.")
		network.cable.Unplug()
		if err := wait(ctx, network.lost); err != nil {
			return err
		}
		results, err := publishOffline(ctx, app, client)
		if err != nil {
			return err
		}
		app.Printf("Plugging the network in again.")
		network.cable.Plug()
		if err := wait(ctx, network.back); err != nil {
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

// network is a network that can be unplugged, and signals of the client about it.
type network struct {
	cable      *sample.Cable
	lost, back chan struct{}
}

func (n *network) options() []iot.Option {
	return []iot.Option{
		iot.WithDialer(n.cable.DialContext),
		iot.WithSession(mqtt5.SessionRejoinPostSuccess, time.Hour),
		iot.WithClientOptions(func(o *mqtt5.ClientOptions) {
			o.OfflineQueuePolicy = mqtt5.FailQoS0PublishOnDisconnect // the default: QoS 1 waits, QoS 0 does not
			o.MaxQueuedOperations = 1000
			o.QueueFullPolicy = mqtt5.RejectWhenFull
			o.MinReconnectDelay, o.MaxReconnectDelay = 200*time.Millisecond, time.Second
			lost, connected, giveUp := o.OnDisconnection, o.OnConnectionSuccess, o.ShouldRetry
			o.OnDisconnection = func(d *mqtt5.Disconnection) {
				lost(d)
				offer(n.lost)
			}
			o.OnConnectionSuccess = func(s *mqtt5.ConnectionSuccess) {
				connected(s)
				offer(n.back)
			}
			// Failures are meant to happen once the cable is out.
			o.ShouldRetry = func(r mqtt5.RetryInfo) bool { return n.cable.Unplugged() || giveUp(r) }
		}),
	}
}

// publishOffline publishes while there is no network: messages with QoS 1 wait,
// one with QoS 0 is refused. Each publish that waits has a result later.
func publishOffline(ctx context.Context, app *sample.App, client *mqtt5.Client) (results <-chan error, err error) {
	outcomes := make(chan error, app.Count)
	for i := 1; i <= app.Count; i++ {
		client.PublishAsync(&mqtt5.PublishPacket{
			Topic: app.Topic, Payload: fmt.Appendf(nil, "%s [%d]", app.Message, i), QoS: mqtt5.AtLeastOnce,
		}, func(_ *mqtt5.PublishResult, err error) { outcomes <- err })
	}
	app.Printf("Published %d messages without a network; %d operations wait.", app.Count, client.Stats().QueuedOperations)
	_, err = client.Publish(ctx, &mqtt5.PublishPacket{Topic: app.Topic, QoS: mqtt5.AtMostOnce})
	app.Printf("A message with QoS 0 does not wait: %v", err)
	if !errors.Is(err, mqtt5.ErrOfflinePolicy) {
		return nil, fmt.Errorf("the message with QoS 0 was not refused: %w", err)
	}
	return outcomes, nil
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
