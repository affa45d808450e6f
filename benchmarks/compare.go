// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

func itoa(n int) string { return strconv.Itoa(n) }

// comparison runs rows and keeps what they measured.
type comparison struct {
	self       string // this program
	dir        string // for temporary files
	sink       addresses
	sinkPID    int
	quick      bool
	reps       int
	maxForeign float64 // percent of all processors
	results    map[string]map[string][]*result
	repeated   int // runs that were disturbed, and done again
	noisy      int // runs that were disturbed each time
}

// compare is the subcommand.
func compare(ctx context.Context, args []string) (err error) {
	c := &comparison{results: map[string]map[string][]*result{}}
	f := flag.NewFlagSet("compare", flag.ExitOnError)
	only := f.String("only", "", "rows to run, as a regular expression; empty: all")
	doc := f.String("doc", "", "document whose tables to rewrite; empty: print them")
	parts := f.String("parts", "", "file with the figures of Go benchmarks, to put into the document")
	f.BoolVar(&c.quick, "quick", false, "a tenth of the messages, small fleets, one repetition")
	f.IntVar(&c.reps, "reps", 5, "repetitions")
	f.Float64Var(&c.maxForeign, "max-foreign", 5, "repeat a run if other programs used more than this percentage of the processors")
	if err := f.Parse(args); err != nil {
		return err
	}
	if c.quick {
		c.reps = 1
	}
	wanted, err := regexp.Compile(*only)
	if err != nil {
		return err
	}
	if c.self, err = os.Executable(); err != nil {
		return err
	}
	if c.dir, err = os.MkdirTemp("", "benchmarks"); err != nil {
		return err
	}
	defer os.RemoveAll(c.dir)
	stop, err := c.startSink(ctx)
	if err != nil {
		return err
	}
	defer stop()
	for _, r := range rows {
		if !wanted.MatchString(r.name) {
			continue
		}
		if err := c.row(ctx, r); err != nil {
			return err
		}
	}
	sections := c.tables(wanted)
	if wanted.MatchString("profile") {
		if sections["profiles"], err = c.profiles(ctx); err != nil {
			return err
		}
	}
	if wanted.MatchString("cold") {
		if sections["cold"], err = c.cold(ctx); err != nil {
			return err
		}
	}
	if *parts != "" {
		text, err := os.ReadFile(*parts)
		if err != nil {
			return err
		}
		sections["go benchmarks"] = string(text)
	}
	sections["machine"] = c.machine()
	return report(*doc, sections)
}

// startSink starts the server as a process of its own.
func (c *comparison) startSink(ctx context.Context) (stop func(), err error) {
	cmd := exec.CommandContext(ctx, c.self, "serve")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	stop = func() {
		_ = cmd.Process.Signal(os.Interrupt)
		_ = cmd.Wait()
	}
	if err := json.NewDecoder(bufio.NewReader(out)).Decode(&c.sink); err != nil {
		stop()
		return nil, fmt.Errorf("server: %w", err)
	}
	c.sinkPID = cmd.Process.Pid
	return stop, os.WriteFile(c.ca(), []byte(c.sink.CA), 0o600)
}

func (c *comparison) ca() string { return filepath.Join(c.dir, "ca.pem") }

// row runs one row with all its clients in turn.
func (c *comparison) row(ctx context.Context, r row) error {
	if c.quick {
		r.run.quick()
	}
	c.results[r.name] = map[string][]*result{}
	for rep := range c.reps {
		for _, p := range r.peers {
			run := r.run
			if strings.HasPrefix(p, "paho") { // takes many times as long
				run.N = max(1, run.N/4)
			}
			res, err := c.measureQuietly(ctx, p, run, r.over)
			if err != nil {
				return fmt.Errorf("%s: %w", r.name, err)
			}
			fmt.Fprintf(os.Stderr, "%-18s %-14s %d/%d  cpu %.3g us  p50 %.3g us  rss %.3g KiB\n", r.name, p, rep+1, c.reps, res.CPU, res.P50, res.RSS)
			c.results[r.name][p] = append(c.results[r.name][p], res)
		}
	}
	return nil
}

// attempts is how often a run that others disturb is repeated at most.
const attempts = 6

// measureQuietly repeats a run until it was not disturbed.
func (c *comparison) measureQuietly(ctx context.Context, peer string, r run, over transport) (*result, error) {
	var best *result
	least := 101.0
	for range attempts {
		busy, all := busyTime()
		before := processTime(c.sinkPID) + cpuTime()
		res, err := c.measure(ctx, peer, r, over)
		if err != nil {
			return nil, err
		}
		busyAfter, allAfter := busyTime()
		own := (processTime(c.sinkPID) + cpuTime() - before + res.process).Seconds()
		foreign := 0.0
		if allAfter > all {
			foreign = 100 * max(0, (busyAfter-busy).Seconds()-own) / (allAfter - all).Seconds()
		}
		if foreign < least {
			best, least = res, foreign
		}
		if c.quick || foreign <= c.maxForeign {
			return best, nil
		}
		c.repeated++
	}
	c.repeated--
	c.noisy++
	return best, nil
}

// measure runs a client once.
func (c *comparison) measure(ctx context.Context, peer string, r run, over transport, more ...string) (*result, error) {
	args := append([]string{"client", "-peer", peer, "-workload", r.Workload, "-addr", c.sink.address(over)}, r.args()...)
	if over != overTCP {
		args = append(args, "-ca", c.ca())
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, c.self, append(args, more...)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w: %s", peer, err, strings.TrimSpace(stderr.String())), ctx.Err())
	}
	res := new(result)
	if err := json.Unmarshal(out, res); err != nil {
		return nil, fmt.Errorf("%s: %w", peer, err)
	}
	res.process = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	return res, nil
}
