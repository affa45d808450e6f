// SPDX-License-Identifier: Apache-2.0

package jobs_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/iot/jobs"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/request"
)

// A runner takes the jobs of a thing. It survives restarts by its state file.
func Example() {
	var client *mqtt5.Client // from package iot
	requests, err := request.New(client, request.Options{})
	if err != nil {
		log.Fatal(err)
	}
	calls, err := jobs.NewClient(requests, "thermostat-7", jobs.Options{})
	if err != nil {
		log.Fatal(err)
	}
	runner, err := jobs.NewRunner(calls, jobs.RunnerOptions{
		StateFile:   "/var/lib/thermostat/jobs.json",
		StepTimeout: 10 * time.Minute,
		Handlers: map[string]jobs.Handler{
			"calibrate": func(ctx context.Context, job *jobs.Job) error {
				var document struct{ Offset float64 }
				if err := job.Decode(&document); err != nil {
					return jobs.Reject(err.Error())
				}
				return job.Progress(map[string]string{"offset": fmt.Sprint(document.Offset)})
			},
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	log.Print(runner.Run(context.Background()))
}

// A handler that reboots stores how far it came, and goes on after that.
func ExampleJob_SetCheckpoint() {
	install := func(ctx context.Context, job *jobs.Job) error {
		if string(job.Checkpoint()) == "installed" {
			return nil // this is the new version
		}
		// Install here.
		if err := job.SetCheckpoint([]byte("installed")); err != nil {
			return err
		}
		// Order the reboot here.
		return jobs.ErrSuspend
	}
	_ = jobs.RunnerOptions{Handlers: map[string]jobs.Handler{"update": install}, StateFile: "/var/lib/thermostat/jobs.json"}
}

// A file of a job document, with a new signature when the old one has expired.
func ExampleFetch() {
	type update struct{ URL, SHA256 string }
	handler := func(ctx context.Context, job *jobs.Job) error {
		var u update
		if err := job.Decode(&u); err != nil {
			return jobs.Reject(err.Error())
		}
		return jobs.Fetch(ctx, jobs.Download{
			URL: u.URL, SHA256: u.SHA256, Path: "/var/lib/thermostat/firmware.bin",
			Refresh: func(ctx context.Context) (string, error) {
				document, err := job.Refresh(ctx)
				if err != nil {
					return "", err
				}
				fresh := jobs.Job{Execution: jobs.Execution{Document: document}}
				err = fresh.Decode(&u)
				return u.URL, err
			},
		})
	}
	_ = jobs.RunnerOptions{Handlers: map[string]jobs.Handler{"update": handler}}
}

// One execution by hand.
func ExampleClient() {
	var client *mqtt5.Client // from package iot
	requests, err := request.New(client, request.Options{})
	if err != nil {
		log.Fatal(err)
	}
	calls, err := jobs.NewClient(requests, "thermostat-7", jobs.Options{})
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	execution, err := calls.StartNext(ctx, nil)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(execution.JobID, string(execution.Document))
	if _, err := calls.Update(ctx, execution.JobID, &jobs.UpdateRequest{
		Status: jobs.Succeeded, ExpectedVersion: execution.VersionNumber,
	}); err != nil {
		log.Fatal(err)
	}
}
