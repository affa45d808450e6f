// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/gocrt/aws-iot-device-sdk-go/cmd/internal/cli"
	"github.com/gocrt/aws-iot-device-sdk-go/iot/jobs"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/request"
)

// jobsJob is what the flags of "awsiot jobs" ask for.
type jobsJob struct {
	*session
	state string
	steps jobs.Steps
}

func jobsCommand() *cli.Command {
	return &cli.Command{
		Name: "jobs", Summary: "list or run the jobs of a thing", Args: "list|describe|run [JOB]",
		Details: `list prints the pending executions, describe one of them, as JSON. run takes executions and carries out their documents in the steps format, until Ctrl-C; it runs the programs of -allow and of -handlers and rejects every other document. The thing is that of -thing; default: -client-id.`,
		Define: func(set *cli.Flags) func(context.Context, []string) error {
			j := &jobsJob{}
			set.Group("Jobs", func() {
				set.StringVar(&j.state, "state", "", "run: `file` in which executions survive a restart (default: none do)")
				set.Func("allow", "run: `program` that steps of type runCommand may run; may be repeated (default: none)", func(v string) error {
					j.steps.Commands = append(j.steps.Commands, v)
					return nil
				})
				set.Func("handlers", "run: `folder` of programs that steps of type runHandler may run; may be repeated (default: none)", func(v string) error {
					j.steps.HandlerDirs = append(j.steps.HandlerDirs, v)
					return nil
				})
			})
			set.Files("state", "handlers")
			j.session = defineSession(set)
			j.thing = true
			return j.run
		},
	}
}

func (j *jobsJob) run(ctx context.Context, args []string) error {
	operands := map[string]int{"list": 1, "run": 1, "describe": 2}
	switch {
	case len(args) == 0:
		return cli.Usagef("what to do is missing: list, describe or run")
	case operands[args[0]] == 0:
		return cli.Usagef("unknown action %q: it is list, describe or run", args[0])
	case len(args) < operands[args[0]]:
		return cli.Usagef("the JOB is missing")
	case len(args) > operands[args[0]]:
		return cli.Usagef("unexpected argument %q", args[len(args)-1])
	}
	defer j.close()
	if err := j.open(ctx); err != nil {
		return err
	}
	requests, err := request.New(j.client, request.Options{Timeout: j.timeout})
	if err != nil {
		return err
	}
	client, err := jobs.NewClient(requests, j.flags.Thing(), jobs.Options{})
	if err != nil {
		return err
	}
	if args[0] != "run" {
		defer j.progress("waiting for the answer of the jobs service")()
	}
	switch args[0] {
	case "list":
		return printValue(client.GetPending(ctx))
	case "describe":
		return printValue(client.Describe(ctx, args[1], nil))
	}
	runner, err := jobs.NewRunner(client, jobs.RunnerOptions{StateFile: j.state, Steps: &j.steps, OnEvent: func(e jobs.Event) {
		switch {
		case e.Err != nil:
			j.sayf("job %s: %v", e.JobID, e.Err)
		case e.Status != "":
			j.sayf("job %s: %s as %s", e.JobID, e.Type, e.Status)
		default:
			j.sayf("job %s: %s", e.JobID, e.Type)
		}
	}})
	if err != nil {
		return err
	}
	j.sayf("waiting for jobs of %s; Ctrl-C ends it", client.ThingName())
	if err := runner.Run(ctx); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// printValue prints an answer as JSON, if there is one.
func printValue[T any](v *T, err error) error {
	if err != nil {
		return err
	}
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return printLine(text)
}
