// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"os"

	"github.com/gocrt/aws-iot-device-sdk-go/cmd/internal/cli"
	"github.com/gocrt/aws-iot-device-sdk-go/iot/iottest/desk"
)

func coreCommand() *cli.Command {
	return &cli.Command{
		Name: "core", Summary: "run an AWS IoT Core on this machine",
		Details: `Runs an emulation of AWS IoT Core for tests of devices in any language, until Ctrl-C: broker, credentials, data plane, device services, a console for the browser. It prints how to connect, and then what clients do. After "source DIR/env" the other commands connect to it without flags.`,
		Define: func(set *cli.Flags) func(context.Context, []string) error {
			var config desk.Config
			set.Group("Flags", func() { config.Flags(set.FlagSet) })
			set.Files("dir", "policy")
			return func(ctx context.Context, args []string) error {
				if err := noOperands(args); err != nil {
					return err
				}
				return desk.Run(ctx, config, os.Stdout)
			}
		},
	}
}
