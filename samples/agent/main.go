// SPDX-License-Identifier: Apache-2.0

// Command agent is a device program for the field: commands, telemetry that is
// queued during an outage, a request, a log, and an end that loses nothing.
package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/iot"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/request"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	if len(os.Args) != 5 {
		log.Error("usage: agent ENDPOINT THING CERT KEY")
		os.Exit(2)
	}
	if err := run(ctx, log, os.Args[2], os.Args[1], iot.MTLSFromPath(os.Args[3], os.Args[4])); err != nil {
		log.Error("agent", "error", err)
		os.Exit(1)
	}
}

// run is the agent, until ctx ends; tests choose the method and the options.
func run(ctx context.Context, log *slog.Logger, thing, endpoint string, m iot.Method, options ...iot.Option) error {
	client, err := iot.NewClient(endpoint, m, append([]iot.Option{
		iot.WithClientID(thing),
		iot.WithSlog(log), // a first failure to connect is a warning there
		iot.WithKeepAlive(time.Minute),
		iot.WithSession(mqtt5.SessionRejoinPostSuccess, time.Hour), // the server keeps commands for an hour
	}, options...)...)
	if err != nil {
		return err
	}
	defer client.Close()

	// Commands are handled one at a time, and answered without waiting.
	if _, err := client.Handle("agents/"+thing+"/commands/+", func(_ context.Context, m mqtt5.Message) {
		log.Info("command", "topic", m.Topic, "payload", string(m.Payload))
		client.PublishAsync(&mqtt5.PublishPacket{Topic: "agents/" + thing + "/done", Payload: m.Payload, QoS: mqtt5.AtLeastOnce}, nil)
	}); err != nil {
		return err
	}
	requests, err := request.New(client, request.Options{Timeout: 30 * time.Second})
	if err != nil {
		return err
	}
	if err := client.Start(); err != nil {
		return err
	}
	go begin(ctx, log, client, requests, thing) // waits for the connection; telemetry does not
	telemetry(ctx, log, client, thing)

	// What is queued gets ten seconds to leave.
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	return client.Stop(end, nil)
}

// begin subscribes to the commands and requests the configuration.
func begin(ctx context.Context, log *slog.Logger, client *mqtt5.Client, requests *request.Client, thing string) {
	commands := mqtt5.Subscription{TopicFilter: "agents/" + thing + "/commands/+", QoS: mqtt5.AtLeastOnce}
	if _, err := client.Subscribe(ctx, &mqtt5.SubscribePacket{Subscriptions: []mqtt5.Subscription{commands}}); err != nil {
		log.Error("no commands", "error", err)
	}
	if answer, err := requests.Call(ctx, "agents/configuration", []byte(thing)); err != nil {
		log.Warn("no configuration, the defaults stay", "error", err)
	} else {
		log.Info("configuration", "payload", string(answer.Payload))
	}
}

// telemetry publishes every second; the client queues what cannot leave now.
func telemetry(ctx context.Context, log *slog.Logger, client *mqtt5.Client, thing string) {
	for tick := time.NewTicker(time.Second); ; {
		select {
		case now := <-tick.C:
			packet := &mqtt5.PublishPacket{Topic: "agents/" + thing + "/telemetry", Payload: fmt.Appendf(nil, `{"at":%q}`, now.UTC().Format(time.RFC3339)), QoS: mqtt5.AtLeastOnce}
			client.PublishAsync(packet, func(_ *mqtt5.PublishResult, err error) {
				if err != nil {
					log.Warn("telemetry is lost", "error", err)
				}
			})
		case <-ctx.Done():
			return
		}
	}
}
