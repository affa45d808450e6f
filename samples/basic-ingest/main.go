// SPDX-License-Identifier: Apache-2.0

// Command basic-ingest publishes messages that go to a rule directly.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"

	"github.com/gocrt/aws-iot-device-sdk-go/iot/ingest"
	"github.com/gocrt/aws-iot-device-sdk-go/iot/iottest"
	"github.com/gocrt/aws-iot-device-sdk-go/samples/internal/sample"
)

func main() {
	app := sample.New("basic-ingest", "Publishes messages that go to a rule directly.")
	files := app.CertFlags()
	rule := flag.String("rule", "sample", "`name` of the rule")
	app.Allow("rule")

	app.Run(func(ctx context.Context) (err error) {
		topic, err := ingest.Topic(*rule, app.Topic)
		if err != nil {
			return err
		}
		arrived := make(chan string, 1024)
		if app.Local() {
			remove, err := app.Core.AddRule(*rule, func(m *iottest.Message) {
				arrived <- fmt.Sprintf("%s: %s", m.Topic, m.Payload)
			})
			if err != nil {
				return err
			}
			defer remove()
			app.Printf("Made the rule %s there.", *rule)
		}
		session := app.NewSession()
		client, err := files.Client(append(app.Options(), session.Options()...)...)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, session.Stop(client)) }()
		if err := session.Connect(ctx, client); err != nil {
			return err
		}
		for i := 1; i <= max(app.Count, 1); i++ {
			if err := session.Publish(ctx, client, topic, fmt.Sprintf("%s [%d]", app.Message, i)); err != nil {
				return err
			}
			if app.Local() {
				app.Printf("The rule got %s", <-arrived)
			}
		}
		app.Printf("Published %d messages to %s.", max(app.Count, 1), topic)
		return nil
	})
}
