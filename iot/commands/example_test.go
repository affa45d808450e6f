// SPDX-License-Identifier: Apache-2.0

package commands_test

import (
	"context"
	"log"

	"github.com/gocrt/aws-iot-device-sdk-go/iot/commands"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/request"
)

// An executor for the commands of a thing, such as {"command": "set-target",
// "celsius": 21}.
func Example() {
	var client *mqtt5.Client // from package iot
	requests, err := request.New(client, request.Options{})
	if err != nil {
		log.Fatal(err)
	}
	executor, err := commands.New(requests, commands.Thing("thermostat-7"), commands.Options{
		StateFile: "/var/lib/thermostat/commands.json",
		Handlers: map[string]commands.Handler{
			"set-target": func(ctx context.Context, c *commands.Command) (commands.Result, error) {
				var p struct{ Celsius float64 }
				if err := c.Decode(&p); err != nil {
					return nil, err
				}
				if p.Celsius > 30 {
					return nil, commands.Reject("TOO_HOT", "at most 30 degrees")
				}
				return commands.Result{"changed": commands.Bool(true)}, nil
			},
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	log.Print(executor.Run(context.Background()))
}

// A handler that takes its time says how far it is.
func ExampleCommand_Progress() {
	flush := func(ctx context.Context, c *commands.Command) (commands.Result, error) {
		if err := c.Progress(ctx, "DRAINING", "the tank is half empty"); err != nil {
			log.Print(err) // the handler may go on
		}
		return nil, nil
	}
	_ = commands.Options{Default: flush}
}
