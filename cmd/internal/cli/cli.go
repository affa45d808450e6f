// SPDX-License-Identifier: Apache-2.0

// Package cli is what the subcommands of a program have in common: flags in
// groups, help, one line for a wrong flag, and completion for shells.
package cli

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

// Program is a program with subcommands.
type Program struct {
	Name     string
	Summary  string
	Commands []*Command

	// Stdout and Stderr default to those of the process.
	Stdout, Stderr io.Writer
}

// Command is a subcommand.
type Command struct {
	Name    string
	Summary string
	// Args follow the flags in the usage, for example "TOPIC [MESSAGE]".
	Args string
	// Details follow the summary in the help. May be empty.
	Details string
	// Define defines the flags and returns what runs with them.
	Define func(*Flags) func(ctx context.Context, args []string) error
}

// UsageError is a mistake in the command line: one line, without the help.
type UsageError struct{ Err error }

// Error is the mistake.
func (e *UsageError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *UsageError) Unwrap() error { return e.Err }

// Usagef returns a UsageError.
func Usagef(format string, args ...any) error { return &UsageError{fmt.Errorf(format, args...)} }

// ErrReported is an error that has been reported already.
var ErrReported = errors.New("failed")

// Run runs the subcommand that args name and returns the status of the process:
// 0, 1 if it failed, 2 if the command line is wrong, 130 if it ended early
// because ctx was canceled. explain words an error.
func (p *Program) Run(ctx context.Context, args []string, explain func(error) string) int {
	if p.Stdout == nil {
		p.Stdout = os.Stdout
	}
	if p.Stderr == nil {
		p.Stderr = os.Stderr
	}
	if len(args) == 0 {
		fmt.Fprint(p.Stderr, p.help())
		return 2
	}
	switch args[0] {
	case "help", "-h", "-help", "--help":
		if len(args) > 1 {
			return p.Run(ctx, []string{args[1], "-h"}, explain)
		}
		fmt.Fprint(p.Stdout, p.help())
		return 0
	case "-version", "--version":
		args[0] = "version"
	}
	c := p.command(args[0])
	if c == nil {
		fmt.Fprintf(p.Stderr, "%s: there is no command %q%s; `%s help` lists them\n", p.Name, args[0], p.suggest(args[0]), p.Name)
		return 2
	}
	f := NewFlags(p.Name + " " + c.Name)
	run := c.Define(f)
	operands, err := f.parse(args[1:])
	if errors.Is(err, flag.ErrHelp) {
		fmt.Fprint(p.Stdout, p.commandHelp(c, f))
		return 0
	}
	if err == nil {
		err = run(ctx, operands)
	}
	var usage *UsageError
	switch {
	case err == nil:
		return 0
	case errors.Is(err, ErrReported):
		return 1
	case errors.As(err, &usage):
		fmt.Fprintf(p.Stderr, "%s %s: %v; see `%s %s -h`\n", p.Name, c.Name, err, p.Name, c.Name)
		return 2
	}
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		text := strings.ReplaceAll(err.Error(), context.Canceled.Error(), "interrupted")
		fmt.Fprintf(p.Stderr, "%s %s: %s\n", p.Name, c.Name, text)
		return 130
	}
	fmt.Fprintf(p.Stderr, "%s %s: %s\n", p.Name, c.Name, explain(err))
	return 1
}

func (p *Program) command(name string) *Command {
	i := slices.IndexFunc(p.Commands, func(c *Command) bool { return c.Name == name })
	if i < 0 {
		return nil
	}
	return p.Commands[i]
}

func (p *Program) suggest(name string) string {
	var names []string
	for _, c := range p.Commands {
		names = append(names, c.Name)
	}
	return suggest(name, names, "")
}

// help lists the commands.
func (p *Program) help() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n\nUsage: %s COMMAND [flags] [arguments]\n\n", p.Summary, p.Name)
	for _, c := range p.Commands {
		fmt.Fprintf(&b, "  %-12s%s\n", c.Name, c.Summary)
	}
	fmt.Fprintf(&b, "\n`%s COMMAND -h` describes a command.\n", p.Name)
	return b.String()
}

// commandHelp is the help of a command, with its flags in groups.
func (p *Program) commandHelp(c *Command, f *Flags) string {
	var b strings.Builder
	usage := c.Name + " [flags]"
	if c.Args != "" {
		usage += " " + c.Args
	}
	fmt.Fprintf(&b, "%s\n\nUsage: %s %s\n", c.Summary, p.Name, usage)
	if c.Details != "" {
		b.WriteByte('\n')
		for line := range strings.SplitSeq(strings.TrimSpace(c.Details), "\n") {
			b.WriteString(wrap(line, 76, "") + "\n")
		}
	}
	for _, group := range f.groups {
		fmt.Fprintf(&b, "\n%s\n", group.name)
		for _, name := range group.flags {
			fl := f.Lookup(name)
			value, usage := flag.UnquoteUsage(fl)
			head := "-" + name
			if value != "" {
				head += " " + value
			}
			if len(head) > 24 {
				fmt.Fprintf(&b, "  %s\n  %-26s", head, "")
			} else {
				fmt.Fprintf(&b, "  %-26s", head)
			}
			b.WriteString(wrap(withDefault(usage, fl.DefValue), 76-28, strings.Repeat(" ", 28)) + "\n")
		}
	}
	return b.String()
}

// withDefault adds the default to the description of a flag that does not
// describe it, unless it is the zero value.
func withDefault(usage, value string) string {
	switch value {
	case "", "0", "false", "0s":
		return usage
	}
	if strings.Contains(usage, "(default") {
		return usage
	}
	if short, ok := strings.CutSuffix(value, "m0s"); ok {
		value = short + "m"
	}
	return usage + " (default " + value + ")"
}

// suggest names the candidate that is closest to what was typed, if one is.
func suggest(typed string, candidates []string, dash string) string {
	best, least := "", min(3, len(typed))
	for _, c := range candidates {
		d := distance(typed, c)
		if strings.HasPrefix(c, typed) && len(typed) > 1 {
			d = 1
		}
		if d < least || d == least && best != "" && len(c) == len(typed) && len(best) != len(typed) {
			best, least = c, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf(" (did you mean %s%s?)", dash, best)
}

// distance is the number of edits between two words.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		before := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := before
			if a[i] != b[j] {
				cost++
			}
			before = row[j+1]
			row[j+1] = min(cost, row[j]+1, before+1)
		}
	}
	return row[len(b)]
}
