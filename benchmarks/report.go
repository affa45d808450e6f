// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"fmt"
	"maps"
	"math"
	"os"
	"regexp"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"
)

// column is a figure of a table.
type column struct {
	title  string
	value  func(*result) float64
	digits int
}

var tableColumns = map[string][]column{
	"messages": {
		{"CPU µs/message", func(r *result) float64 { return r.CPU }, 3},
		{"messages/s", func(r *result) float64 { return r.Rate }, 3},
		{"allocations", func(r *result) float64 { return r.Allocs }, 2},
		{"bytes allocated", func(r *result) float64 { return r.Bytes }, 3},
	},
	"latency": {
		{"CPU µs/operation", func(r *result) float64 { return r.CPU }, 3},
		{"p50 µs", func(r *result) float64 { return r.P50 }, 3},
		{"p99 µs", func(r *result) float64 { return r.P99 }, 3},
		{"allocations", func(r *result) float64 { return r.Allocs }, 3},
	},
	"blocking": {
		{"CPU µs/message", func(r *result) float64 { return r.CPU }, 3},
		{"messages/s", func(r *result) float64 { return r.Rate }, 3},
		{"allocations", func(r *result) float64 { return r.Allocs }, 2},
	},
	"scale": {
		{"CPU µs/message", func(r *result) float64 { return r.CPU }, 3},
		{"messages/s", func(r *result) float64 { return r.Rate }, 3},
		{"allocations", func(r *result) float64 { return r.Allocs }, 2},
	},
	"metrics": {
		{"CPU µs/message", func(r *result) float64 { return r.CPU }, 3},
		{"messages/s", func(r *result) float64 { return r.Rate }, 3},
		{"allocations", func(r *result) float64 { return r.Allocs }, 2},
	},
	"idle": {
		{"goroutines", func(r *result) float64 { return float64(r.Gorout) }, 6},
		{"KiB/client", func(r *result) float64 { return r.RSS }, 3},
		{"after GC", func(r *result) float64 { return r.Trimmed }, 3},
		{"heap", func(r *result) float64 { return r.Heap }, 3},
		{"stack", func(r *result) float64 { return r.Stack }, 3},
		{"CPU ms/s", func(r *result) float64 { return r.IdleCPU }, 2},
	},
	"storm": {
		{"recovered after s", func(r *result) float64 { return r.Recovery }, 3},
		{"CPU µs/client", func(r *result) float64 { return r.CPU }, 3},
		{"most goroutines", func(r *result) float64 { return float64(r.Gorout) }, 6},
		{"largest heap MiB", func(r *result) float64 { return r.PeakHeap }, 3},
	},
}

// tables renders the rows that were run, one text for each table.
func (c *comparison) tables(wanted *regexp.Regexp) map[string]string {
	sections := map[string]string{}
	for name, columns := range tableColumns {
		var b strings.Builder
		b.WriteString("| workload | client |")
		for _, col := range columns {
			b.WriteString(" " + col.title + " |")
		}
		b.WriteString(" spread | against paho-tuned | against limit |\n|---|---|" + strings.Repeat("---:|", len(columns)+3) + "\n")
		any := false
		for _, r := range rows {
			if r.table == name && wanted.MatchString(r.name) {
				any = true
				c.render(&b, r, columns)
			}
		}
		if any {
			sections[name] = b.String()
		}
	}
	return sections
}

func (c *comparison) render(b *strings.Builder, r row, columns []column) {
	main := columns[0].value
	if r.table == "idle" {
		main = columns[1].value
	}
	of := func(p string) float64 { return median(c.results[r.name][p], main) }
	for _, p := range r.peers {
		list := c.results[r.name][p]
		fmt.Fprintf(b, "| %s | %s |", r.title, p)
		for _, col := range columns {
			fmt.Fprintf(b, " %s |", figure(median(list, col.value), col.digits))
		}
		fmt.Fprintf(b, " %.0f %% |", 100*spread(list, main))
		for _, other := range []string{"paho-tuned", "limit"} {
			if v := of(other); v > 0 && p != other {
				fmt.Fprintf(b, " %s |", ratio(of(p)/v))
			} else {
				b.WriteString(" |")
			}
		}
		b.WriteString("\n")
	}
}

func sorted(list []*result, value func(*result) float64) []float64 {
	var v []float64
	for _, r := range list {
		v = append(v, value(r))
	}
	slices.Sort(v)
	return v
}

func median(list []*result, value func(*result) float64) float64 {
	if len(list) == 0 {
		return 0
	}
	v := sorted(list, value)
	return (v[len(v)/2] + v[(len(v)-1)/2]) / 2
}

// spread is the distance of the extremes in medians.
func spread(list []*result, value func(*result) float64) float64 {
	v := sorted(list, value)
	if m := median(list, value); m > 0 {
		return (v[len(v)-1] - v[0]) / m
	}
	return 0
}

// figure prints a number with that many digits that count.
func figure(v float64, digits int) string {
	if v == 0 {
		return "0"
	}
	scale := math.Pow(10, float64(digits)-1-math.Floor(math.Log10(math.Abs(v))))
	v = math.Round(v*scale) / scale
	decimals := max(0, digits-1-int(math.Floor(math.Log10(math.Abs(v)))))
	if digits > 3 && v == math.Trunc(v) {
		decimals = 0 // a count
	}
	s := fmt.Sprintf("%.*f", decimals, v)
	whole, fraction, _ := strings.Cut(s, ".")
	for i := len(whole) - 3; i > 0 && whole[i-1] != '-'; i -= 3 {
		whole = whole[:i] + "," + whole[i:]
	}
	if fraction != "" {
		return whole + "." + fraction
	}
	return whole
}

func ratio(v float64) string {
	if v < 0.5 {
		return "1/" + figure(1/v, 2)
	}
	return figure(v, 3)
}

// machine says where, when and how the figures were taken.
func (c *comparison) machine() string {
	cpu := "unknown processor"
	if b, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		if _, after, ok := bytes.Cut(b, []byte("model name\t: ")); ok {
			line, _, _ := bytes.Cut(after, []byte("\n"))
			cpu = string(line)
		}
	}
	versions := []string{runtime.Version()}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, d := range info.Deps {
			if strings.HasPrefix(d.Path, "github.com/eclipse/") {
				versions = append(versions, d.Path+" "+d.Version)
			}
		}
	}
	return fmt.Sprintf("%s, %s/%s, %d processors (%s). %s. Command: `scripts/bench`; medians of %d repetitions; "+
		"%d runs were repeated because other programs used more than %g %% of the processors, %d were disturbed each time.\n",
		time.Now().Format(time.DateOnly), runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), cpu, strings.Join(versions, ", "),
		c.reps, c.repeated, c.maxForeign, c.noisy)
}

// report puts each text between its markers in the document, or prints them.
func report(doc string, sections map[string]string) error {
	if doc == "" {
		for _, name := range slices.Sorted(maps.Keys(sections)) {
			fmt.Printf("## %s\n\n%s\n", name, sections[name])
		}
		return nil
	}
	b, err := os.ReadFile(doc)
	if err != nil {
		return err
	}
	for name, text := range sections {
		if b, err = replaceBetween(b, name, text); err != nil {
			return fmt.Errorf("%s: %w", doc, err)
		}
	}
	return os.WriteFile(doc, b, 0o644)
}

// replaceBetween replaces what lies between the markers of a section.
func replaceBetween(doc []byte, name, text string) ([]byte, error) {
	begin, end := []byte("<!-- "+name+" -->\n"), []byte("<!-- end of "+name+" -->")
	head, rest, ok := bytes.Cut(doc, begin)
	_, tail, ok2 := bytes.Cut(rest, end)
	if !ok || !ok2 {
		return nil, fmt.Errorf("no markers of %q", name)
	}
	return slices.Concat(head, begin, []byte("\n"+text+"\n"), end, tail), nil
}
