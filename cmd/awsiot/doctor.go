// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/cmd/internal/cli"
	"github.com/gocrt/aws-iot-device-sdk-go/cmd/internal/connect"
	"github.com/gocrt/aws-iot-device-sdk-go/iot"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
)

// doctor is what the flags of "awsiot doctor" ask for.
type doctor struct {
	flags    *connect.Flags
	topic    string
	timeout  time.Duration
	json     bool
	takeOver bool
	verbose  bool
}

func doctorCommand() *cli.Command {
	return &cli.Command{
		Name: "doctor", Summary: "find out why a connection does not work",
		Details: `Goes through settings, certificate, DNS, TCP, proxy, TLS, clock, WebSocket upgrade and CONNECT, sends a message to itself, and says which step fails, why, and what to do. It makes one attempt, with the flags of the other commands. The status is 0 if everything works.`,
		Define: func(set *cli.Flags) func(context.Context, []string) error {
			d := &doctor{}
			set.Group("Examination", func() {
				set.BoolVar(&d.json, "json", false, "print the report as JSON")
				set.BoolVar(&d.verbose, "v", false, "log what the layers of the connection do")
				set.StringVar(&d.topic, "topic", "", "`topic` of the message (default: sdk/doctor/ and the client id)")
				set.DurationVar(&d.timeout, "timeout", time.Minute, "longest `time` for all of it")
				set.BoolVar(&d.takeOver, "take-over", false, "connect with -client-id itself, even if that throws out a device that runs with it (default: with a name of its own)")
			})
			d.flags = connect.Define(set)
			return d.run
		},
	}
}

func (d *doctor) run(ctx context.Context, args []string) error {
	if err := noOperands(args); err != nil {
		return err
	}
	d.flags.Verbose = d.verbose
	t, err := d.flags.Target()
	if err != nil {
		return err
	}
	defer d.flags.Close()
	note := ""
	if id := d.flags.ClientID; d.flags.Named() && !d.takeOver {
		t.Options = append(t.Options, iot.WithClientID(id+"-doctor"))
		note = fmt.Sprintf("examined as %s-doctor, because a device that runs as %s would be thrown out; -take-over connects as %s", id, id, id)
	}
	limited, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	progress := time.AfterFunc(time.Second, func() {
		fmt.Fprintf(os.Stderr, "awsiot: examining the connection to %s ...\n", t.Endpoint)
	})
	report := iot.Diagnose(limited, t.Endpoint, t.Method, iot.DiagnoseOptions{Topic: d.topic}, t.Options...)
	progress.Stop()
	if report.Endpoint == "" {
		report.Endpoint = t.Endpoint
	}
	reached := false
	for i := range report.Checks {
		c := &report.Checks[i]
		reached = reached || c.Step == iot.StageConnect && c.Status != iot.CheckNotReached
		c.Detail, c.Hint = inFlags(withoutHint(c.Detail, c.Hint)), inFlags(c.Hint)
		if note != "" && c.Step == iot.StageConnect && (errors.Is(c.Err, mqtt5.ErrConnectionRefused) || errors.Is(c.Err, mqtt5.ErrHangup)) {
			c.Hint = strings.TrimPrefix(c.Hint+"; or its policy allows one client id only: -take-over connects with it", "; ")
		}
		if c.Status == iot.CheckFailed && takenOver(c.Err) {
			c.Hint = "the client id is in use by a running device, which was thrown out and came back; " + c.Hint
		}
	}
	if !reached {
		note = ""
	}
	if d.json {
		out := json.NewEncoder(os.Stdout)
		out.SetIndent("", "  ")
		out.SetEscapeHTML(false)
		if err := out.Encode(report); err != nil {
			return err
		}
	} else {
		p := &page{w: os.Stdout, width: cli.Width(os.Stdout), colour: cli.Colours(os.Stdout)}
		p.report(report, note)
	}
	if report.Err() != nil {
		return cli.ErrReported
	}
	return nil
}

// takenOver reports whether another connection with the client id ended this one.
func takenOver(err error) bool {
	var d *mqtt5.DisconnectError
	return errors.As(err, &d) && d.Packet.ReasonCode == mqtt5.DisconnectSessionTakenOver
}

// withoutHint takes the hint out of the text of an error, which often ends with
// it, and what repeats the settings.
func withoutHint(detail, hint string) string {
	if hint != "" {
		detail = strings.ReplaceAll(detail, "; "+hint, "")
	}
	if rest, ok := strings.CutPrefix(detail, "mqtt5: connect to "); ok {
		if _, cause, ok := strings.Cut(rest, ": "); ok {
			return cause
		}
	}
	return detail
}

// page prints a report for people.
type page struct {
	w      io.Writer
	width  int
	colour bool
}

// marks stand before the steps, and colours are those of a terminal.
var marks = map[iot.CheckStatus]struct{ mark, colour string }{
	iot.CheckOK:         {"✓", "\x1b[32m"},
	iot.CheckWarning:    {"!", "\x1b[33m"},
	iot.CheckFailed:     {"✗", "\x1b[31m"},
	iot.CheckNotReached: {"·", "\x1b[2m"},
}

// stepWidth is that of the column with the names of the steps.
const stepWidth = 19

func (p *page) report(r *iot.Report, note string) {
	status, verdict := iot.CheckOK, "works"
	for _, c := range r.Checks {
		switch {
		case c.Status == iot.CheckFailed && status != iot.CheckFailed:
			status, verdict = iot.CheckFailed, "does not work: it fails at "+c.Step
		case c.Status == iot.CheckWarning && status == iot.CheckOK:
			status, verdict = iot.CheckWarning, "works, but look at "+c.Step
		}
	}
	where := r.Endpoint
	if r.Port != 0 && !strings.ContainsAny(where, ":/") {
		where += ":" + strconv.Itoa(r.Port)
	}
	p.line(status, fmt.Sprintf("%s %s", where, verdict), 2)
	fmt.Fprintln(p.w)
	for _, c := range r.Checks {
		text := c.Detail
		if c.Status == iot.CheckNotReached && text == "" {
			text = "not reached"
		}
		if c.Duration > 0 {
			text += fmt.Sprintf(" (%v)", c.Duration.Round(100*time.Microsecond))
		}
		for i, part := range strings.Split(text, "\n") {
			step := c.Step
			if i > 0 {
				step = ""
			}
			p.line(c.Status, fmt.Sprintf("%-*s%s", stepWidth, step, part), 2+stepWidth)
		}
		if c.Hint != "" {
			fmt.Fprintf(p.w, "%*s→ %s\n", 2+stepWidth, "", cli.Wrap(c.Hint, p.width-stepWidth-4, strings.Repeat(" ", stepWidth+4)))
		}
	}
	if note != "" {
		fmt.Fprintf(p.w, "\n%s\n", cli.Wrap(note, p.width, ""))
	}
}

// line prints a line with its mark, wrapped and indented.
func (p *page) line(status iot.CheckStatus, text string, indent int) {
	m := marks[status]
	head, rest := "", text
	if indent > 2 {
		head, rest = text[:stepWidth], text[stepWidth:]
	}
	body := head + cli.Wrap(rest, p.width-indent, strings.Repeat(" ", indent))
	if p.colour {
		fmt.Fprintf(p.w, "%s%s %s\x1b[0m\n", m.colour, m.mark, body)
		return
	}
	fmt.Fprintf(p.w, "%s %s\n", m.mark, strings.TrimRight(body, " "))
}
