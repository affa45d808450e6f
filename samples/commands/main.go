// SPDX-License-Identifier: Apache-2.0

// Command commands carries out the AWS IoT commands for a thing and reports their
// results.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"path/filepath"
	"slices"

	"github.com/gocrt/aws-iot-device-sdk-go/iot/commands"
	"github.com/gocrt/aws-iot-device-sdk-go/iot/iottest"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/request"
	"github.com/gocrt/aws-iot-device-sdk-go/samples/internal/sample"
)

func main() {
	app := sample.New("commands", "Carries out the commands for a thing and reports their results.")
	files := app.CertFlags()
	thing := flag.String("thing", "", "`name` of the thing (default: the client identifier)")

	app.Run(func(ctx context.Context) (err error) {
		if *thing == "" {
			*thing = app.ClientID
		}
		dir, err := app.TempDir()
		if err != nil {
			return err
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
		requests, err := request.New(client, request.Options{})
		if err != nil {
			return err
		}
		events := make(chan commands.Event, 100)
		executor, err := commands.New(requests, commands.Thing(*thing), commands.Options{
			StateFile: filepath.Join(dir, "commands.json"),
			Handlers:  map[string]commands.Handler{"set-target": setTarget},
			OnEvent: func(e commands.Event) {
				if e.Err != nil {
					app.Printf("Command %s: %v", e.ExecutionID, e.Err)
				} else if e.ExecutionID != "" {
					app.Printf("Command %s: %s %s", e.ExecutionID, e.Type, e.Status)
				}
				select {
				case events <- e:
				default:
				}
			},
		})
		if err != nil {
			return err
		}
		if !app.Local() {
			app.Printf(`Waiting for commands such as {"command": "set-target", "celsius": 21}; Ctrl-C ends it.`)
			return executor.Run(ctx)
		}
		return local(ctx, app, *thing, executor, events)
	})
}

// setTarget is the handler of {"command": "set-target", "celsius": 21}.
func setTarget(_ context.Context, c *commands.Command) (commands.Result, error) {
	var p struct{ Celsius *float64 }
	if err := c.Decode(&p); err != nil {
		return nil, err
	}
	if p.Celsius == nil {
		return nil, commands.Fail("NO_TARGET", "the command has no field celsius")
	}
	if *p.Celsius > 30 {
		return nil, commands.Reject("TOO_HOT", "at most 30 degrees")
	}
	return commands.Result{"target": commands.String(fmt.Sprint(*p.Celsius)), "changed": commands.Bool(true)}, nil
}

// local sends commands to the executor, and ends it after the last one.
func local(ctx context.Context, app *sample.App, thing string, executor *commands.Executor, events <-chan commands.Event) error {
	ctx, cancel := context.WithTimeout(ctx, sample.Timeout)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- executor.Run(ctx) }()
	wait := func(t commands.EventType) error {
		for {
			select {
			case e := <-events:
				if e.Type == t {
					return nil
				}
			case err := <-ended:
				return err
			}
		}
	}
	if err := wait(commands.EventReady); err != nil {
		return err
	}
	for _, payload := range []string{`{"command": "set-target", "celsius": 21}`, `{"command": "set-target", "celsius": 99}`, `{"command": "dance"}`} {
		id, err := app.Core.SendCommand(iottest.Command{ID: "sample", Thing: thing, Payload: []byte(payload), ContentType: "application/json"})
		if err != nil {
			return err
		}
		if err := wait(commands.EventReported); err != nil {
			return err
		}
		x, _ := app.Core.CommandExecution(id)
		app.Printf("The service has %s as %s %s %v", payload, x.Status, x.ReasonCode, slices.Sorted(maps.Keys(x.Result)))
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}
