// SPDX-License-Identifier: Apache-2.0

// Command shared-subscription lets two clients share a subscription: each
// message goes to one of them.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"sync"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/iot"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
	"github.com/gocrt/aws-iot-device-sdk-go/samples/internal/sample"
)

func main() {
	app := sample.New("shared-subscription", "Two clients share a subscription: each message goes to one of them.")
	files := app.CertFlags()
	group := flag.String("group", "sample-group", "`name` of the group of subscribers")

	app.Run(func(ctx context.Context) (err error) {
		filter := "$share/" + *group + "/" + app.Topic
		var mu sync.Mutex
		count := map[string]int{}
		all := make(chan struct{})

		var stop []func() error
		defer func() {
			for _, f := range stop {
				err = errors.Join(err, f())
			}
		}()

		var subscribers []*mqtt5.Client
		var sessions []*sample.Session
		base := app.ClientID
		for _, name := range []string{"-1", "-2", "-publisher"} {
			app.ClientID = base + name
			id := app.ClientID
			session := app.NewSession()
			options := append(app.Options(), session.Options()...)
			options = append(options, iot.WithOnMessage(func(_ context.Context, m mqtt5.Message) {
				mu.Lock()
				defer mu.Unlock()
				count[id]++
				total := 0
				for _, n := range count {
					total += n
				}
				app.Printf("%s received %d of %d: %s", id, total, app.Count, m.Payload)
				if total == app.Count {
					close(all)
				}
			}))
			client, err := files.Client(options...)
			if err != nil {
				return err
			}
			stop = append(stop, func() error { return session.Stop(client) })
			if err := session.Connect(ctx, client); err != nil {
				return err
			}
			subscribers, sessions = append(subscribers, client), append(sessions, session)
		}
		publisher := subscribers[2]
		for i := range 2 {
			if err := sessions[i].Subscribe(ctx, subscribers[i], filter); err != nil {
				return err
			}
		}
		for i := 1; i <= app.Count; i++ {
			if err := sessions[2].Publish(ctx, publisher, app.Topic, fmt.Sprintf("%s [%d]", app.Message, i)); err != nil {
				return err
			}
		}
		if app.Count > 0 {
			timeout := time.NewTimer(sample.Timeout)
			defer timeout.Stop()
			select {
			case <-all:
			case <-timeout.C:
				return fmt.Errorf("not all messages came within %v: check that a policy allows iot:Receive on topic/%s", sample.Timeout, app.Topic)
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		mu.Lock()
		app.Printf("%s-1 got %d messages and %s-2 got %d.", base, count[base+"-1"], base, count[base+"-2"])
		mu.Unlock()
		for i := range 2 {
			if err := sessions[i].Unsubscribe(ctx, subscribers[i], filter); err != nil {
				return err
			}
		}
		return nil
	})
}
