// SPDX-License-Identifier: Apache-2.0

// Command jobs carries out the AWS IoT jobs of a thing: it runs a handler for
// each, reports progress and the result, and goes on after a restart.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"path/filepath"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/iot/iottest"
	"github.com/gocrt/aws-iot-device-sdk-go/iot/jobs"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/request"
	"github.com/gocrt/aws-iot-device-sdk-go/samples/internal/sample"
)

func main() {
	app := sample.New("jobs", "Carries out the jobs of a thing and reports their results.")
	files := app.CertFlags()
	thing := flag.String("thing", "", "`name` of the thing (default: the client identifier)")
	state := flag.String("state", "", "`file` in which jobs survive a restart (default: a temporary one)")
	app.Allow("state")

	app.Run(func(ctx context.Context) (err error) {
		if *thing == "" {
			*thing = app.ClientID
		}
		if *state == "" {
			dir, err := app.TempDir()
			if err != nil {
				return err
			}
			*state = filepath.Join(dir, "jobs.json")
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
		calls, err := jobs.NewClient(requests, *thing, jobs.Options{})
		if err != nil {
			return err
		}
		reported := make(chan struct{}, 100)
		runner, err := jobs.NewRunner(calls, jobs.RunnerOptions{
			StateFile:   *state,
			StepTimeout: 5 * time.Minute,
			Handlers: map[string]jobs.Handler{
				"greet":     func(ctx context.Context, job *jobs.Job) error { return greet(app, job) },
				"calibrate": func(context.Context, *jobs.Job) error { return errors.New("the sensor does not answer") },
			},
			OnEvent: func(e jobs.Event) {
				switch {
				case e.Type == jobs.EventError:
					app.Printf("Job %s: %v", e.JobID, e.Err)
				case e.Status != "":
					app.Printf("Job %s: %s as %s", e.JobID, e.Type, e.Status)
					reported <- struct{}{}
				default:
					app.Printf("Job %s: %s", e.JobID, e.Type)
				}
			},
		})
		if err != nil {
			return err
		}
		if !app.Local() {
			app.Printf("Waiting for jobs of %s; Ctrl-C ends it.", *thing)
			return runner.Run(ctx)
		}
		return local(ctx, app, *thing, runner, reported)
	})
}

// greet is the handler of a job document such as {"operation": "greet", "name": "World"}.
func greet(app *sample.App, job *jobs.Job) error {
	var document struct{ Name string }
	if err := job.Decode(&document); err != nil {
		return jobs.Reject(err.Error())
	}
	if document.Name == "" {
		return jobs.Reject("the document has no name")
	}
	app.Printf("Hello, %s!", document.Name)
	return job.Progress(map[string]string{"greeted": document.Name})
}

// local gives the runner jobs, and ends it after the last one.
func local(ctx context.Context, app *sample.App, thing string, runner *jobs.Runner, reported <-chan struct{}) error {
	documents := []string{
		`{"operation": "greet", "name": "World"}`,
		`{"operation": "greet"}`,
		`{"operation": "calibrate"}`,
		`{"operation": "explode"}`,
	}
	ctx, cancel := context.WithTimeout(ctx, sample.Timeout)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- runner.Run(ctx) }()
	for i, document := range documents {
		id := fmt.Sprint("sample-", i+1)
		if _, err := app.Core.CreateJob(iottest.Job{ID: id, Things: []string{thing}, Document: document}); err != nil {
			return err
		}
		select {
		case <-reported:
		case err := <-ended:
			return err
		}
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		return err
	}
	for _, e := range app.Core.JobExecutions(thing) {
		app.Printf("The service has %s as %s %v", e.JobID, e.Status, e.StatusDetails)
	}
	return nil
}
