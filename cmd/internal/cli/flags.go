// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
)

// Flags are the flags of a command, in groups.
type Flags struct {
	*flag.FlagSet
	groups []*group
	values map[string][]string
	files  map[string]bool
}

type group struct {
	name  string
	flags []string
}

// NewFlags returns a set without flags.
func NewFlags(name string) *Flags {
	fs := flag.NewFlagSet(name, flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.Usage = func() {}
	return &Flags{FlagSet: fs, values: map[string][]string{}, files: map[string]bool{}}
}

// Group defines flags under a heading.
func (f *Flags) Group(name string, define func()) {
	before := map[string]bool{}
	f.VisitAll(func(fl *flag.Flag) { before[fl.Name] = true })
	define()
	g := &group{name: name}
	f.VisitAll(func(fl *flag.Flag) {
		if !before[fl.Name] {
			g.flags = append(g.flags, fl.Name)
		}
	})
	f.groups = append(f.groups, g)
}

// Values sets the values of a flag that completion offers.
func (f *Flags) Values(name string, values ...string) { f.values[name] = values }

// Files makes completion offer files for the flags.
func (f *Flags) Files(names ...string) {
	for _, n := range names {
		f.files[n] = true
	}
}

// Given reports whether a flag is on the command line.
func (f *Flags) Given(name string) bool {
	given := false
	f.Visit(func(fl *flag.Flag) { given = given || fl.Name == name })
	return given
}

// parse reads flags, which may stand before, between and after the operands.
func (f *Flags) parse(args []string) (operands []string, err error) {
	for {
		if err := f.Parse(args); err != nil {
			if errors.Is(err, flag.ErrHelp) {
				return nil, err
			}
			return nil, &UsageError{f.wrong(err)}
		}
		rest := f.Args()
		if len(rest) == 0 {
			return operands, nil
		}
		if n := len(args) - len(rest); n > 0 && args[n-1] == "--" {
			return append(operands, rest...), nil
		}
		operands, args = append(operands, rest[0]), rest[1:]
	}
}

// wrong words a mistake in the flags in one line.
func (f *Flags) wrong(err error) error {
	text := err.Error()
	if name, ok := strings.CutPrefix(text, "flag provided but not defined: -"); ok {
		var names []string
		f.VisitAll(func(fl *flag.Flag) { names = append(names, fl.Name) })
		return fmt.Errorf("there is no flag -%s%s", name, suggest(strings.TrimLeft(name, "-"), names, "-"))
	}
	return err
}

// wrap breaks text into lines of at most width, and begins all but the first
// with indent.
func wrap(text string, width int, indent string) string {
	var b strings.Builder
	column := 0
	for i, word := range strings.Fields(text) {
		switch {
		case i == 0:
		case column+1+len([]rune(word)) > width:
			b.WriteString("\n" + indent)
			column = 0
		default:
			b.WriteByte(' ')
			column++
		}
		b.WriteString(word)
		column += len([]rune(word))
	}
	return b.String()
}

// Wrap breaks text into lines of at most width columns, and begins all but the
// first with indent.
func Wrap(text string, width int, indent string) string { return wrap(text, width, indent) }
