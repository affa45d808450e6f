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
		received := &tally{count: map[string]int{}, want: app.Count, all: make(chan struct{})}
		base := app.ClientID
		var members []*member
		defer func() {
			for _, m := range members {
				err = errors.Join(err, m.session.Stop(m.client))
			}
		}()
		for _, name := range []string{"-1", "-2", "-publisher"} {
			app.ClientID = base + name
			m, err := connect(ctx, app, files, received)
			if err != nil {
				return err
			}
			members = append(members, m)
		}
		subscribers, publisher := members[:2], members[2]

		filter := "$share/" + *group + "/" + app.Topic
		for _, m := range subscribers {
			if err := m.session.Subscribe(ctx, m.client, filter); err != nil {
				return err
			}
		}
		for i := 1; i <= app.Count; i++ {
			if err := publisher.session.Publish(ctx, publisher.client, app.Topic, fmt.Sprintf("%s [%d]", app.Message, i)); err != nil {
				return err
			}
		}
		if err := received.wait(ctx, app.Topic); err != nil {
			return err
		}
		app.Printf("%s-1 got %d messages and %s-2 got %d.", base, received.of(base+"-1"), base, received.of(base+"-2"))
		for _, m := range subscribers {
			if err := m.session.Unsubscribe(ctx, m.client, filter); err != nil {
				return err
			}
		}
		return nil
	})
}

// member is a connected client.
type member struct {
	client  *mqtt5.Client
	session *sample.Session
}

// connect makes a client with the client id of the app and connects it.
func connect(ctx context.Context, app *sample.App, files *sample.CertFlags, received *tally) (*member, error) {
	id, session := app.ClientID, app.NewSession()
	options := append(append(app.Options(), session.Options()...), iot.WithOnMessage(func(_ context.Context, m mqtt5.Message) {
		app.Printf("%s received %d of %d: %s", id, received.add(id), app.Count, m.Payload)
	}))
	client, err := files.Client(options...)
	if err != nil {
		return nil, err
	}
	if err := session.Connect(ctx, client); err != nil {
		return nil, errors.Join(err, session.Stop(client))
	}
	return &member{client, session}, nil
}

// tally counts what each client has received.
type tally struct {
	mu    sync.Mutex
	count map[string]int
	total int
	want  int
	all   chan struct{} // closed when want messages have come
}

func (t *tally) add(id string) (total int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.count[id]++
	if t.total++; t.total == t.want {
		close(t.all)
	}
	return t.total
}

func (t *tally) of(id string) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.count[id]
}

func (t *tally) wait(ctx context.Context, topic string) error {
	if t.want == 0 {
		return nil
	}
	timeout := time.NewTimer(sample.Timeout)
	defer timeout.Stop()
	select {
	case <-t.all:
		return nil
	case <-timeout.C:
		return fmt.Errorf("not all messages came within %v: check that a policy allows iot:Receive on topic/%s", sample.Timeout, topic)
	case <-ctx.Done():
		return ctx.Err()
	}
}
