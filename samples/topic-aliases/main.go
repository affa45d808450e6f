// SPDX-License-Identifier: Apache-2.0

// Command topic-aliases replaces a long topic by a number after its first use,
// and says how many bytes that saves.
package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/gocrt/aws-iot-device-sdk-go/iot"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
	"github.com/gocrt/aws-iot-device-sdk-go/samples/internal/sample"
)

func main() {
	app := sample.New("topic-aliases", "Publishes to a long topic without and with topic aliases, and says what that saves.")
	files := app.CertFlags()

	app.Run(func(ctx context.Context) error {
		var sent [2]uint64
		for i, mode := range []mqtt5.TopicAliasMode{mqtt5.TopicAliasDisabled, mqtt5.TopicAliasLRU} {
			n, err := publish(ctx, app, files, mode)
			if err != nil {
				return err
			}
			sent[i] = n
			app.Printf("%d messages took %d bytes with %s.", app.Count, n, [...]string{"full topics", "topic aliases"}[i])
		}
		app.Printf("Topic aliases saved %d bytes.", int64(sent[0])-int64(sent[1]))
		return nil
	})
}

// publish publishes the messages by a client of its own, and returns how many
// bytes they took.
func publish(ctx context.Context, app *sample.App, files *sample.CertFlags, mode mqtt5.TopicAliasMode) (bytes uint64, err error) {
	session := app.NewSession()
	client, err := files.Client(append(append(app.Options(), session.Options()...),
		iot.WithClientOptions(func(o *mqtt5.ClientOptions) {
			// The most recently used topics get an alias: 8 at AWS IoT Core,
			// whatever the size here.
			o.TopicAliasing.Outbound = mode
		}))...)
	if err != nil {
		return 0, err
	}
	defer func() { _ = session.Stop(client) }()
	if err := session.Connect(ctx, client); err != nil {
		return 0, err
	}
	app.Printf("The server allows %d aliases.", client.Settings().TopicAliasMaximumToServer)
	topic := app.Topic + "/" + strings.Repeat("temperature-", 8)
	before := client.Stats().BytesSent
	for i := range app.Count {
		if err := session.Publish(ctx, client, topic, fmt.Sprintf("%s [%d]", app.Message, i+1)); err != nil {
			return 0, err
		}
	}
	return client.Stats().BytesSent - before, nil
}
