// SPDX-License-Identifier: Apache-2.0

// Command awsiot publishes to AWS IoT Core and subscribes, says why a connection
// does not work, and runs an AWS IoT Core on this machine.
//
//	awsiot sub 'rooms/#'            print messages
//	awsiot pub rooms/7 21.5         publish one
//	awsiot doctor                   find out why it does not connect
//	awsiot core                     an AWS IoT Core on this machine
//	awsiot bench                    measure throughput, latency and memory
//
// How to connect is said by flags, by variables such as AWS_IOT_ENDPOINT, or by
// a profile file; see awsiot sub -h.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/gocrt/aws-iot-device-sdk-go/cmd/internal/cli"
	"github.com/gocrt/aws-iot-device-sdk-go/iot"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	go func() {
		<-ctx.Done()
		stop() // the next Ctrl-C ends the program at once
	}()
	os.Exit(program().Run(ctx, os.Args[1:], explain))
}

// program is the program with all its commands.
func program() *cli.Program {
	p := &cli.Program{Name: "awsiot", Summary: "Talks to AWS IoT Core over MQTT 5, and to other brokers."}
	p.Commands = []*cli.Command{
		pubCommand(),
		subCommand(),
		doctorCommand(),
		coreCommand(),
		benchCommand(),
		shadowCommand(),
		jobsCommand(),
		versionCommand(),
		completionCommand(p),
	}
	return p
}

// explain words the error of a command: where it failed, why, and what to do, in
// terms of the flags of this program.
func explain(err error) string {
	text := strings.ReplaceAll(err.Error(), "\n", "\n  ")
	e := iot.Explain(err)
	switch {
	case errors.Is(err, iot.ErrInvalidOptions), errors.Is(err, iot.ErrInvalidEndpoint):
		e.Stage = iot.StepSettings // as the doctor calls it
	case e.Stage == iot.StageOptions:
		e.Stage = "" // a packet was wrong, no stage of the connection failed
	}
	if e.Hint != "" {
		text = strings.TrimSuffix(strings.ReplaceAll(text, "; "+e.Hint, ""), "; ")
	}
	if e.Stage != "" {
		text = "failed at stage " + e.Stage + ": " + text
	}
	if e.Hint != "" {
		text += "\n  -> " + e.Hint
	}
	return inFlags(text)
}

func versionCommand() *cli.Command {
	return &cli.Command{
		Name: "version", Summary: "print the version",
		Define: func(*cli.Flags) func(context.Context, []string) error {
			return func(_ context.Context, args []string) error {
				if err := noOperands(args); err != nil {
					return err
				}
				fmt.Println("awsiot", buildVersion(), runtime.Version(), runtime.GOOS+"/"+runtime.GOARCH)
				return nil
			}
		},
	}
}

// buildVersion is the version of the module, or of the SDK for a build from a
// clone.
func buildVersion() string {
	if info, ok := debug.ReadBuildInfo(); ok && strings.HasPrefix(info.Main.Version, "v") {
		return info.Main.Version
	}
	return "v" + iot.Version + "-devel"
}

func completionCommand(p *cli.Program) *cli.Command {
	return &cli.Command{
		Name: "completion", Summary: "print a completion script for a shell", Args: strings.Join(cli.Shells, "|"),
		Details: "bash: source <(awsiot completion bash)\nzsh:  source <(awsiot completion zsh)\nfish: awsiot completion fish | source",
		Define: func(*cli.Flags) func(context.Context, []string) error {
			return func(_ context.Context, args []string) error {
				if len(args) != 1 {
					return cli.Usagef("which shell? one of %s", strings.Join(cli.Shells, ", "))
				}
				script, err := p.Completion(args[0])
				if err != nil {
					return err
				}
				fmt.Print(script)
				return nil
			}
		},
	}
}

func noOperands(args []string) error {
	if len(args) > 0 {
		return cli.Usagef("unexpected argument %q", args[0])
	}
	return nil
}
