// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// profiles renders where the time and the allocations of the four main
// workloads go.
func (c *comparison) profiles(ctx context.Context) (string, error) {
	var b strings.Builder
	for _, r := range rows[:4] {
		if c.quick {
			r.run.quick()
		} else {
			r.run.N *= 4
		}
		cpu, mem := filepath.Join(c.dir, "cpu"), filepath.Join(c.dir, "mem")
		if _, err := c.measure(ctx, "ours", r.run, r.over, "-cpuprofile", cpu, "-memprofile", mem); err != nil {
			return "", err
		}
		for _, p := range []struct{ what, file, index string }{{"processor time", cpu, "cpu"}, {"bytes allocated", mem, "alloc_space"}} {
			text, err := exec.CommandContext(ctx, "go", "tool", "pprof", "-top", "-nodecount=14", "-sample_index="+p.index, c.self, p.file).Output()
			if err != nil {
				return "", fmt.Errorf("pprof: %w", err)
			}
			fmt.Fprintf(&b, "%s, %s:\n\n```\n%s```\n\n", r.title, p.what, topLines(string(text)))
		}
	}
	return b.String(), nil
}

// topLines leaves the heading of a profile out, and import paths.
func topLines(text string) string {
	_, table, _ := strings.Cut(text, "      flat")
	table = "      flat" + table
	return strings.NewReplacer("github.com/gocrt/aws-iot-device-sdk-go/", "", "github.com/eclipse/", "").Replace(table)
}

// cold renders how long a small program takes from its start to its end, and
// how large it is.
func (c *comparison) cold(ctx context.Context) (string, error) {
	runs := 40
	if c.quick {
		runs = 5
	}
	var b strings.Builder
	b.WriteString("| program with | ms from start to exit, median | stripped size MiB |\n|---|---:|---:|\n")
	programs := []string{"ours", "paho"}
	times := map[string][]*result{}
	for _, p := range programs {
		cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", filepath.Join(c.dir, "cold-"+p), "./cold/"+p)
		cmd.Env = append(os.Environ(), "GOWORK=off", "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			return "", fmt.Errorf("go build ./cold/%s: %w: %s", p, err, out)
		}
	}
	for range runs {
		for _, p := range programs {
			began := time.Now()
			if out, err := exec.CommandContext(ctx, filepath.Join(c.dir, "cold-"+p), c.sink.TCP).CombinedOutput(); err != nil {
				return "", fmt.Errorf("cold-%s: %w: %s", p, err, out)
			}
			times[p] = append(times[p], &result{P50: float64(time.Since(began).Microseconds()) / 1e3})
		}
	}
	for _, p := range programs {
		info, err := os.Stat(filepath.Join(c.dir, "cold-"+p))
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&b, "| %s | %s | %s |\n", p, figure(median(times[p], func(r *result) float64 { return r.P50 }), 3),
			figure(float64(info.Size())/(1<<20), 3))
	}
	return b.String(), nil
}
