// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/gocrt/aws-iot-device-sdk-go/cmd/internal/cli"
	"github.com/gocrt/aws-iot-device-sdk-go/iot/shadow"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/request"
)

// shadowJob is what the flags of "awsiot shadow" ask for.
type shadowJob struct {
	*session
	name string
}

func shadowCommand() *cli.Command {
	return &cli.Command{
		Name: "shadow", Summary: "read, change or watch a device shadow", Args: "get|update|delete|watch [STATE]",
		Details: `Prints the documents of the service as JSON, one a line. STATE is the state of an update, such as '{"desired":{"on":true}}'; without it standard input is read. The thing is that of -thing; default: -client-id.`,
		Define: func(set *cli.Flags) func(context.Context, []string) error {
			j := &shadowJob{}
			set.Group("Shadow", func() {
				set.StringVar(&j.name, "name", "", "`name` of a named shadow (default: the classic one)")
			})
			j.session = defineSession(set)
			j.thing = true
			return j.run
		},
	}
}

func (j *shadowJob) run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return cli.Usagef("what to do is missing: get, update, delete or watch")
	}
	var state struct{ Desired, Reported shadow.Field[json.RawMessage] }
	switch action := args[0]; {
	case action == "update" && len(args) <= 2:
		text := []byte(strings.Join(args[1:], ""))
		if len(args) == 1 {
			var err error
			if text, err = j.stdin(ctx, "the state"); err != nil {
				return err
			}
		}
		if len(bytes.TrimSpace(text)) == 0 {
			return cli.Usagef("STATE is missing: it is an argument, or comes on standard input")
		}
		if err := json.Unmarshal(text, &state); err != nil {
			return cli.Usagef("STATE is not of the form {\"desired\":{...},\"reported\":{...}}: %v", problemOf(err))
		}
		if state.Desired.IsZero() && state.Reported.IsZero() {
			return cli.Usagef("STATE has neither \"desired\" nor \"reported\"; it is what a document has below \"state\"")
		}
	case action != "get" && action != "delete" && action != "watch" && action != "update":
		return cli.Usagef("unknown action %q: it is get, update, delete or watch", action)
	case len(args) > 1:
		return cli.Usagef("unexpected argument %q", args[len(args)-1])
	}
	defer j.close()
	if err := j.open(ctx); err != nil {
		return err
	}
	s, err := j.shadow()
	if err != nil {
		return err
	}
	if args[0] == "watch" {
		return j.watch(ctx, s)
	}
	defer j.progress("waiting for the answer of the shadow service")()
	switch args[0] {
	case "update":
		answer, err := s.Update(ctx, shadow.Update[json.RawMessage]{Desired: state.Desired, Reported: state.Reported})
		if err != nil {
			return err
		}
		return printLine(answer.Raw)
	case "delete":
		answer, err := s.Delete(ctx)
		if err != nil {
			return err
		}
		j.sayf("deleted at version %d", answer.Version)
		return nil
	}
	document, err := s.Get(ctx)
	if err != nil {
		return err
	}
	return printLine(document.Raw)
}

// problemOf describes an error of package json without the names of Go types.
func problemOf(err error) error {
	var kind *json.UnmarshalTypeError
	if errors.As(err, &kind) {
		return fmt.Errorf("it is the JSON value %s", kind.Value)
	}
	return err
}

func (j *shadowJob) shadow() (*shadow.Shadow[json.RawMessage], error) {
	requests, err := request.New(j.client, request.Options{Timeout: j.timeout})
	if err != nil {
		return nil, err
	}
	if j.name != "" {
		return shadow.Named[json.RawMessage](requests, j.flags.Thing(), j.name)
	}
	return shadow.Classic[json.RawMessage](requests, j.flags.Thing())
}

// watch prints every change of the shadow, until Ctrl-C.
func (j *shadowJob) watch(ctx context.Context, s *shadow.Shadow[json.RawMessage]) error {
	j.sayf("watching the shadow of %s; Ctrl-C ends it", s.Thing())
	for change, err := range s.Documents(ctx) {
		var payload *shadow.PayloadError
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.As(err, &payload), errors.Is(err, shadow.ErrGap):
			j.sayf("%v", err)
		case err != nil:
			return err
		default:
			if err := printLine(change.Raw); err != nil {
				return err
			}
		}
	}
	return nil
}

func printLine(document []byte) error {
	_, err := fmt.Println(string(document))
	return err
}
