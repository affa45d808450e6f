// SPDX-License-Identifier: Apache-2.0

// Command manual-acknowledgement acknowledges a message only after its work is
// done: what a device has not finished, the server sends again.
package main

import (
	"context"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/iot"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
	"github.com/gocrt/aws-iot-device-sdk-go/samples/internal/sample"
)

func main() {
	app := sample.New("manual-acknowledgement", "Acknowledges each message when its work is done; a message whose work was interrupted comes again.")
	files := app.CertFlags()

	app.Run(func(ctx context.Context) error {
		type task struct {
			message mqtt5.Message
			ack     *mqtt5.Ack
		}
		tasks := make(chan task, 16)
		session := app.NewSession()
		client, err := files.Client(append(append(app.Options(), session.Options()...),
			// The server keeps unacknowledged messages for an hour.
			iot.WithSession(mqtt5.SessionRejoinPostSuccess, time.Hour),
			iot.WithOnMessage(func(_ context.Context, m mqtt5.Message) {
				ack, err := m.TakeAck() // from here on the program acknowledges, not the client
				if err != nil {
					app.Printf("Not acknowledged: %v", err)
					return
				}
				tasks <- task{m.Clone(), ack}
			}))...)
		if err != nil {
			return err
		}
		defer func() { _ = session.Stop(client) }()
		if err := session.Connect(ctx, client); err != nil {
			return err
		}
		if err := session.Subscribe(ctx, client, app.Topic); err != nil {
			return err
		}
		if err := session.Publish(ctx, client, app.Topic, app.Message); err != nil {
			return err
		}
		for attempt := 1; attempt <= 2; attempt++ {
			var t task
			select {
			case t = <-tasks:
			case <-ctx.Done():
				return ctx.Err()
			}
			app.Printf("Attempt %d: received %s", attempt, t.message.Payload)
			if attempt == 1 {
				app.Printf("The work is interrupted: the message stays unacknowledged.")
				if err := client.Reconnect(ctx); err != nil {
					return err
				}
				continue
			}
			if err := t.ack.Accept(); err != nil {
				return err
			}
			app.Printf("The work is done: acknowledged.")
		}
		return session.Unsubscribe(ctx, client, app.Topic)
	})
}
