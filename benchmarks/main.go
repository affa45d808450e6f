// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	if len(os.Args) < 2 {
		usage()
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	args := os.Args[2:]
	var err error
	switch os.Args[1] {
	case "serve":
		err = serve(ctx, os.Stdout)
	case "client":
		err = client(args)
	case "compare":
		err = compare(ctx, args)
	default:
		usage()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "benchmarks:", err)
		os.Exit(1)
	}
}

func usage() {
	fmt.Fprintln(os.Stderr, "usage: benchmarks compare|client|serve [flags]")
	os.Exit(2)
}

// client runs one measurement and prints it as JSON.
func client(args []string) error {
	var r run
	f := flag.NewFlagSet("client", flag.ExitOnError)
	f.StringVar(&r.Peer, "peer", "ours", "client to measure: ours, ours-borrowed, ours-metrics, ours-recorded, paho, paho-tuned, limit, websocket, websocket-own")
	f.StringVar(&r.Workload, "workload", "pub", "pub, recv, rtt, connect, idle, active, storm")
	f.StringVar(&r.Addr, "addr", "", "address of the server")
	f.StringVar(&r.CA, "ca", "", "file with the server's CA; TLS if set")
	f.IntVar(&r.QoS, "qos", 0, "quality of service")
	f.IntVar(&r.Size, "size", 256, "bytes of payload")
	f.IntVar(&r.N, "n", 1000, "messages, or connections of the workload connect")
	f.IntVar(&r.Warmup, "warmup", 100, "messages before the measurement")
	f.IntVar(&r.Window, "window", 1000, "most publishes that are not acknowledged")
	f.IntVar(&r.ReceiveMax, "receive-max", 0, "Receive Maximum that the client announces; 0: none")
	f.IntVar(&r.Publishers, "publishers", 0, "goroutines that call the blocking Publish; 0: the asynchronous one")
	f.IntVar(&r.Clients, "clients", 1, "connections of the workloads idle, active and storm")
	f.DurationVar(&r.Hold, "hold", 2*time.Second, "how long an idle fleet is left alone before its memory is measured, and watched afterwards")
	f.StringVar(&r.CPUProfile, "cpuprofile", "", "file for a CPU profile of the measured part")
	f.StringVar(&r.MemProfile, "memprofile", "", "file for a profile of allocations")
	if err := f.Parse(args); err != nil {
		return err
	}
	res, err := r.measure()
	if err != nil {
		return fmt.Errorf("%s %s: %w", r.Peer, r.Workload, err)
	}
	return json.NewEncoder(os.Stdout).Encode(res)
}
