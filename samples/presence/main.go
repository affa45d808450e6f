// SPDX-License-Identifier: Apache-2.0

// Command presence watches which clients connect and disconnect.
package main

import (
	"context"
	"errors"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/iot/events"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
	"github.com/gocrt/aws-iot-device-sdk-go/samples/internal/sample"
)

func main() {
	app := sample.New("presence", "Watches which clients connect and disconnect.")
	files := app.CertFlags()

	app.Run(func(ctx context.Context) (err error) {
		session := app.NewSession()
		client, err := files.Client(append(app.Options(), session.Options()...)...)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, session.Stop(client)) }()
		if err := session.Connect(ctx, client); err != nil {
			return err
		}
		filter, err := events.PresenceFilter(events.All, events.All)
		if err != nil {
			return err
		}
		changes := make(chan *events.Presence, 100)
		var tracker events.Tracker
		if _, err := client.Handle(filter, func(_ context.Context, m mqtt5.Message) {
			p, err := events.ParsePresence(m)
			if err != nil {
				app.Printf("%v", err)
				return
			}
			if tracker.Update(p) {
				app.Printf("%s %s %s", p.ClientID, p.Type, p.Reason)
				select {
				case changes <- p:
				default:
				}
			}
		}); err != nil {
			return err
		}
		if err := session.Subscribe(ctx, client, filter); err != nil {
			return err
		}
		if !app.Local() {
			app.Printf("Ctrl-C ends it.")
			<-ctx.Done()
			return ctx.Err()
		}
		return local(ctx, app, files, changes)
	})
}

// local lets another client come and go.
func local(ctx context.Context, app *sample.App, files *sample.CertFlags, changes <-chan *events.Presence) error {
	const guest = "guest"
	app.ClientID = guest
	other := app.NewSession()
	client, err := files.Client(append(app.Options(), other.Options()...)...)
	if err != nil {
		return err
	}
	if err := other.Connect(ctx, client); err != nil {
		return errors.Join(err, client.Close())
	}
	if err := other.Stop(client); err != nil {
		return err
	}
	timeout := time.NewTimer(sample.Timeout)
	defer timeout.Stop()
	for {
		select {
		case p := <-changes:
			if p.ClientID == guest && p.Type == events.Disconnected {
				return nil
			}
		case <-timeout.C:
			return errors.New("the events did not come: check that a policy allows iot:Receive on topic/$aws/events/presence/*")
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
