// SPDX-License-Identifier: Apache-2.0

// Command defender reports metrics of this machine, and one of its own, to AWS
// IoT Device Defender.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"runtime"

	"github.com/gocrt/aws-iot-device-sdk-go/iot/defender"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/request"
	"github.com/gocrt/aws-iot-device-sdk-go/samples/internal/sample"
)

func main() {
	app := sample.New("defender", "Reports metrics of this machine to AWS IoT Device Defender.")
	files := app.CertFlags()
	thing := flag.String("thing", "", "`name` of the thing (default: the client identifier)")
	metric := flag.String("metric", "goroutines", "`name` of a custom metric of type number, defined in the account")
	app.Allow("metric")

	app.Run(func(ctx context.Context) (err error) {
		if *thing == "" {
			*thing = app.ClientID
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
		options := defender.Options{
			Format: defender.CBOR,
			Custom: func(context.Context) (map[string]defender.Custom, error) {
				return map[string]defender.Custom{*metric: defender.Number(float64(runtime.NumGoroutine()))}, nil
			},
			OnReport: func(id int64, err error) { app.Printf("Report %d: %v", id, err) },
		}
		if runtime.GOOS != "linux" {
			options.Read = defender.CustomOnly
		}
		reporter, err := defender.New(requests, *thing, options)
		if err != nil {
			return err
		}
		if !app.Local() {
			app.Printf("Reporting every five minutes; Ctrl-C ends it.")
			return reporter.Run(ctx)
		}
		limited, cancel := context.WithTimeout(ctx, sample.Timeout)
		defer cancel()
		id, err := reporter.Report(limited)
		if err != nil {
			return err
		}
		app.Printf("The service accepted report %d.", id)
		if _, err := reporter.Report(limited); !errors.Is(err, defender.ErrTooSoon) {
			return fmt.Errorf("another report at once: %w", err)
		}
		app.Printf("The next one is possible in five minutes.")
		for _, r := range app.Core.DefenderReports(*thing) {
			app.Printf("It has %d metrics of the system and the custom metrics %v.", len(r.Metrics), r.CustomMetrics)
		}
		return nil
	})
}
