// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"time"
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

// SetValue sets a flag from another source than the command line. [Flags.Given]
// does not report it.
func (f *Flags) SetValue(name, value string) error {
	fl := f.Lookup(name)
	if err := fl.Value.Set(value); err != nil {
		return valueError(fl, value, err)
	}
	return nil
}

// valueError says which form the value of a flag has. Flags of this program's own
// types say so themselves.
func valueError(fl *flag.Flag, value string, err error) error {
	g, ok := fl.Value.(flag.Getter)
	if !ok {
		return fmt.Errorf("invalid value %q: %w", value, err)
	}
	form := ""
	switch g.Get().(type) {
	case time.Duration:
		form = "a time has a unit, such as 30s or 5m"
	case int:
		form = "it is a whole number"
	case float64:
		form = "it is a number"
	case bool:
		form = "it is true or false"
	default:
		return fmt.Errorf("invalid value %q: %w", value, err)
	}
	return fmt.Errorf("invalid value %q: %s", value, form)
}

// invalidValue is how package flag words a value that it could not set.
var invalidValue = regexp.MustCompile(`(?s)^invalid (?:boolean )?value ("(?:[^"\\]|\\.)*") for (?:flag )?-([^:]+): (.*)$`)

// wrong words a mistake in the flags in one line.
func (f *Flags) wrong(err error) error {
	text := err.Error()
	if name, ok := strings.CutPrefix(text, "flag provided but not defined: -"); ok {
		var names []string
		f.VisitAll(func(fl *flag.Flag) { names = append(names, fl.Name) })
		return fmt.Errorf("there is no flag -%s%s", name, suggest(strings.TrimLeft(name, "-"), names, "-"))
	}
	if m := invalidValue.FindStringSubmatch(text); m != nil {
		if value, unquoted := strconv.Unquote(m[1]); unquoted == nil && f.Lookup(m[2]) != nil {
			return fmt.Errorf("-%s: %w", m[2], valueError(f.Lookup(m[2]), value, errors.New(m[3])))
		}
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
