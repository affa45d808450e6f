// SPDX-License-Identifier: Apache-2.0

// Command doctor finds out whether a connection works, and if not, which step
// fails, why, and what to do.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"

	"github.com/gocrt/aws-iot-device-sdk-go/iot"
	"github.com/gocrt/aws-iot-device-sdk-go/samples/internal/sample"
)

func main() {
	app := sample.New("doctor", "Finds out whether a connection works, and if not, which step fails, why, and what to do.")
	app.Out = os.Stderr // standard output is for the report
	connect := app.ConnectFlags()
	asJSON := flag.Bool("json", false, "print the report as JSON")
	app.Allow("json")

	app.Run(func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, 2*sample.Timeout)
		defer cancel()
		o := iot.DiagnoseOptions{}
		flag.Visit(func(f *flag.Flag) {
			if f.Name == "topic" {
				o.Topic = app.Topic
			}
		})
		method, more, err := connect.Way()
		if err != nil {
			return err
		}
		report := iot.Diagnose(ctx, app.Endpoint, method, o, append(app.Options(), more...)...)
		if *asJSON {
			out := json.NewEncoder(os.Stdout)
			out.SetIndent("", "  ")
			out.SetEscapeHTML(false)
			if err := out.Encode(report); err != nil {
				return err
			}
		} else {
			fmt.Print(report)
		}
		return report.Err()
	})
}
