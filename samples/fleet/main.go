// SPDX-License-Identifier: Apache-2.0

// Command fleet runs many clients in one process: they share event loops, the
// TLS context and the dialer, so that a client at rest costs one goroutine and a
// few kilobytes.
package main

import (
	"context"
	"flag"
	"fmt"
	"runtime"
	"sync"

	"github.com/gocrt/aws-iot-device-sdk-go/io/eventloop"
	"github.com/gocrt/aws-iot-device-sdk-go/io/tlsctx"
	"github.com/gocrt/aws-iot-device-sdk-go/iot"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
	"github.com/gocrt/aws-iot-device-sdk-go/samples/internal/sample"
)

func main() {
	app := sample.New("fleet", "Runs many clients that share event loops and a TLS context; each publishes the messages.")
	clients := flag.Int("clients", 20, "`number` of clients")
	files := app.CertFlags()
	app.Allow("clients")

	app.Run(func(ctx context.Context) error {
		if err := files.Files(); err != nil {
			return err
		}
		// One loop per processor for all clients; of these, 8 connect at a time.
		loops := eventloop.NewGroup(eventloop.Options{DialLimit: 8})
		defer loops.Close()
		trust, err := app.TLS(tlsctx.Options{
			Identity: tlsctx.FromPath(*files.Cert, *files.Key),
			ALPN:     []string{"x-amzn-mqtt-ca"}, // what port 443 of AWS IoT Core asks for
		})
		if err != nil {
			return err
		}
		base := app.ClientID
		var fleet []*mqtt5.Client
		defer func() {
			for _, c := range fleet {
				_ = c.Close()
			}
		}()
		for i := range *clients {
			app.ClientID = fmt.Sprintf("%s-%d", base, i)
			client, err := iot.NewForBroker(app.Endpoint, append([]iot.Option{
				iot.WithPort(443), iot.WithEventLoops(loops), iot.WithTLSContext(trust), iot.WithAWSProfile(true),
			}, app.NetworkOptions()...)...)
			if err != nil {
				return err
			}
			fleet = append(fleet, client)
		}
		return run(ctx, app, fleet)
	})
}

// run connects all clients, has each publish, and stops them.
func run(ctx context.Context, app *sample.App, fleet []*mqtt5.Client) error {
	ctx, cancel := context.WithTimeout(ctx, sample.Timeout)
	defer cancel()
	if err := each(fleet, func(c *mqtt5.Client) error {
		if err := c.Start(); err != nil {
			return err
		}
		return c.WaitConnected(ctx)
	}); err != nil {
		return err
	}
	app.Printf("%d clients are connected; the process has %d goroutines.", len(fleet), runtime.NumGoroutine())
	if err := each(fleet, func(c *mqtt5.Client) error {
		for i := range app.Count {
			if _, err := c.Publish(ctx, &mqtt5.PublishPacket{
				Topic: app.Topic + "/" + c.Settings().ClientID, Payload: fmt.Appendf(nil, "%s [%d]", app.Message, i+1), QoS: mqtt5.AtLeastOnce,
			}); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		return err
	}
	app.Printf("%d messages with QoS 1 are acknowledged.", len(fleet)*app.Count)
	return each(fleet, func(c *mqtt5.Client) error { return c.Stop(ctx, nil) })
}

// each calls do for all clients at once, and returns the first error.
func each(fleet []*mqtt5.Client, do func(*mqtt5.Client) error) error {
	errs := make(chan error, len(fleet))
	var wg sync.WaitGroup
	for _, c := range fleet {
		wg.Go(func() {
			if err := do(c); err != nil {
				errs <- err
			}
		})
	}
	wg.Wait()
	close(errs)
	return <-errs
}
