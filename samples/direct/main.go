// SPDX-License-Identifier: Apache-2.0

// Command direct answers messages that are sent to this client alone, without a
// subscription.
package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/iot/direct"
	"github.com/gocrt/aws-iot-device-sdk-go/iot/iottest"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
	"github.com/gocrt/aws-iot-device-sdk-go/samples/internal/sample"
)

func main() {
	app := sample.New("direct", "Answers messages that are sent to this client alone, without a subscription.")
	files := app.CertFlags()

	app.Run(func(ctx context.Context) (err error) {
		session := app.NewSession()
		client, err := files.Client(append(app.Options(), session.Options()...)...)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, session.Stop(client)) }()

		remove, err := direct.Handle(client, app.Topic+"/#", func(_ context.Context, m mqtt5.Message) ([]byte, error) {
			app.Printf("Received %s: %s", m.Topic, m.Payload)
			if m.Topic != app.Topic+"/status" {
				return nil, errors.New("no such request")
			}
			return []byte(`{"celsius":21.5}`), nil
		}, direct.Options{
			ContentType: "application/json",
			OnError:     func(m mqtt5.Message, err error) { app.Printf("%s: %v", m.Topic, err) },
		})
		if err != nil {
			return err
		}
		defer remove()
		if err := session.Connect(ctx, client); err != nil {
			return err
		}
		if !app.Local() {
			app.Printf("Send a message to the client %s on the topic %s/status. Ctrl-C ends it.", app.ClientID, app.Topic)
			<-ctx.Done()
			return ctx.Err()
		}
		return backend(ctx, app)
	})
}

// backend sends a request that the device knows, and one that it does not know.
func backend(ctx context.Context, app *sample.App) error {
	ctx, cancel := context.WithTimeout(ctx, sample.Timeout)
	defer cancel()
	answers := make(chan string, 1)
	defer app.Core.Subscribe("backend/answers", func(m *iottest.Message) {
		answers <- fmt.Sprintf("%s (%s) for request %s", m.Payload, m.ContentType, m.CorrelationData)
	})()
	for id, what := range []string{"status", "reboot"} {
		if err := app.Core.SendDirectMessage(ctx, app.ClientID, iottest.Message{
			Topic: app.Topic + "/" + what, Payload: []byte("please"), QoS: 1, Expiry: time.Minute,
			ResponseTopic: "backend/answers", CorrelationData: fmt.Append(nil, id+1),
		}); err != nil {
			return err
		}
	}
	select {
	case answer := <-answers:
		app.Printf("The backend got %s", answer)
	case <-ctx.Done():
		return ctx.Err()
	}
	// The confirmation of the second message is a refusal with a reason.
	for _, e := range app.Core.Events() {
		if e.Type == iottest.Acknowledged && e.Reason >= 0x80 {
			app.Printf("The device refused a message: %v", e.Reason)
		}
	}
	return nil
}
