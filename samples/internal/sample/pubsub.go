// SPDX-License-Identifier: Apache-2.0

package sample

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/iot"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
)

// Main runs the sample whose point is how it connects: new makes the client,
// with the options it is given; then the client connects, subscribes to the
// topic, publishes to it, receives what it published, unsubscribes and stops.
func (a *App) Main(newClient func(ctx context.Context, options []iot.Option) (*mqtt5.Client, error)) {
	a.Run(func(ctx context.Context) error {
		session := a.NewSession()
		client, err := newClient(ctx, append(a.Options(), session.Options()...))
		if err != nil {
			return err
		}
		return session.PublishAndReceive(ctx, client)
	})
}

// Session watches a client.
type Session struct {
	app      *App
	received chan mqtt5.Message
	failed   chan error
	stopped  chan struct{}
}

// NewSession returns a session for a client to be made with its Options.
func (a *App) NewSession() *Session {
	return &Session{app: a, received: make(chan mqtt5.Message, 1024), failed: make(chan error, 1), stopped: make(chan struct{}, 1)}
}

// Options make the client report to the session.
func (s *Session) Options() []iot.Option {
	return []iot.Option{
		iot.WithOnMessage(func(_ context.Context, m mqtt5.Message) { s.received <- m }),
		// A sample gives up at the first failure; a device would go on.
		iot.WithClientOptions(func(o *mqtt5.ClientOptions) {
			o.ShouldRetry = func(r mqtt5.RetryInfo) bool {
				select {
				case s.failed <- r.Err:
				default:
				}
				return false
			}
			report := o.OnStopped
			o.OnStopped = func(e *mqtt5.Stopped) {
				report(e)
				select {
				case s.stopped <- struct{}{}:
				default:
				}
			}
		}),
	}
}

// Connect starts the client and waits until it is connected, or has failed.
func (s *Session) Connect(ctx context.Context, client *mqtt5.Client) error {
	if err := client.Start(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, Timeout)
	defer cancel()
	err := client.WaitConnected(ctx)
	if errors.Is(err, mqtt5.ErrGaveUp) {
		return <-s.failed
	}
	return err
}

// Stop ends the connection with a DISCONNECT, also after Ctrl-C.
func (s *Session) Stop(client *mqtt5.Client) error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	err := client.Stop(ctx, nil)
	if err == nil {
		select {
		case <-s.stopped: // the last event
		case <-ctx.Done():
		}
	}
	return errors.Join(err, client.Close())
}

// PublishAndReceive is what most samples do with a client.
func (s *Session) PublishAndReceive(ctx context.Context, client *mqtt5.Client) (err error) {
	defer func() { err = errors.Join(err, s.Stop(client)) }()
	a := s.app
	if err := s.Connect(ctx, client); err != nil {
		return err
	}
	if err := s.Subscribe(ctx, client, a.Topic); err != nil {
		return err
	}
	if a.Count == 0 {
		return s.forever(ctx, client)
	}
	received := make(chan error, 1)
	go func() { received <- s.Receive(ctx, a.Count, "") }()
	for i := 1; i <= a.Count; i++ {
		if err := s.Publish(ctx, client, a.Topic, fmt.Sprintf("%s [%d]", a.Message, i)); err != nil {
			return err
		}
	}
	a.Printf("Published %d messages with QoS 1 to %s, all acknowledged.", a.Count, a.Topic)
	if err := <-received; err != nil {
		return err
	}
	return s.Unsubscribe(ctx, client, a.Topic)
}

// Subscribe subscribes with QoS 1.
func (s *Session) Subscribe(ctx context.Context, client *mqtt5.Client, filter string) error {
	ctx, cancel := context.WithTimeout(ctx, Timeout)
	defer cancel()
	suback, err := client.Subscribe(ctx, &mqtt5.SubscribePacket{
		Subscriptions: []mqtt5.Subscription{{TopicFilter: filter, QoS: mqtt5.AtLeastOnce}},
	})
	if err != nil {
		return err
	}
	s.app.Printf("Subscribed to %s: %v", filter, suback.ReasonCodes[0])
	return nil
}

// Publish publishes with QoS 1 and waits for the acknowledgement.
func (s *Session) Publish(ctx context.Context, client *mqtt5.Client, topic, text string) error {
	ctx, cancel := context.WithTimeout(ctx, Timeout)
	defer cancel()
	_, err := client.Publish(ctx, &mqtt5.PublishPacket{Topic: topic, Payload: []byte(text), QoS: mqtt5.AtLeastOnce})
	return err
}

// Receive prints messages until there were count of them.
func (s *Session) Receive(ctx context.Context, count int, prefix string) error {
	timeout := time.NewTimer(Timeout)
	defer timeout.Stop()
	for i := 1; i <= count; i++ {
		select {
		case m := <-s.received:
			s.app.Printf("%sReceived %d of %d: %s: %s", prefix, i, count, m.Topic, m.Payload)
		case <-timeout.C:
			return fmt.Errorf("only %d of %d messages came back within %v: check that a policy allows iot:Receive on topic/%s", i-1, count, Timeout, s.app.Topic)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// Unsubscribe ends a subscription.
func (s *Session) Unsubscribe(ctx context.Context, client *mqtt5.Client, filter string) error {
	ctx, cancel := context.WithTimeout(ctx, Timeout)
	defer cancel()
	if _, err := client.Unsubscribe(ctx, &mqtt5.UnsubscribePacket{TopicFilters: []string{filter}}); err != nil {
		return err
	}
	s.app.Printf("Unsubscribed from %s.", filter)
	return nil
}

// forever publishes every second and prints what comes, until Ctrl-C.
func (s *Session) forever(ctx context.Context, client *mqtt5.Client) error {
	s.app.Printf("Publishing every second; Ctrl-C ends it.")
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for i := 1; ; {
		select {
		case m := <-s.received:
			s.app.Printf("Received: %s: %s", m.Topic, m.Payload)
		case <-tick.C:
			if err := s.Publish(ctx, client, s.app.Topic, fmt.Sprintf("%s [%d]", s.app.Message, i)); err != nil {
				return err
			}
			i++
		case <-ctx.Done():
			s.app.Printf("Interrupted: disconnecting.")
			return ctx.Err()
		}
	}
}

// Next waits for the next message.
func (s *Session) Next(ctx context.Context) (mqtt5.Message, error) {
	select {
	case m := <-s.received:
		return m, nil
	case <-ctx.Done():
		return mqtt5.Message{}, ctx.Err()
	}
}
