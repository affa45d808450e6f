// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"testing"
)

// clientVariable has a process of the test run the client subcommand.
const clientVariable = "BENCHMARKS_CLIENT"

func TestMain(m *testing.M) {
	if os.Getenv(clientVariable) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// The budget of an idle WebSocket client of a group. The clients are in a
// process of their own, so that nothing of the server counts. A system that does
// not tell the resident set of a process passes.
func TestWebsocketBudget(t *testing.T) {
	const perClient, others = 45, 16
	clients := 1000
	if raceEnabled {
		clients = 200
	}
	a, ca := startSink(t)
	for _, p := range upgraded {
		cmd := exec.Command(os.Args[0], "client", "-peer", p, "-workload", "idle", "-addr", a.Websocket, "-ca", ca,
			"-clients", itoa(clients), "-hold", "100ms")
		var stderr bytes.Buffer
		cmd.Env, cmd.Stderr = append(os.Environ(), clientVariable+"=1"), &stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%s: %v: %s", p, err, stderr.String())
		}
		var res result
		if err := json.Unmarshal(out, &res); err != nil {
			t.Fatal(err)
		}
		if res.Connected != clients || res.Gorout > clients+others {
			t.Errorf("%s: %d clients, %d goroutines", p, res.Connected, res.Gorout)
		}
		if !raceEnabled && res.Trimmed > perClient {
			t.Errorf("%s: %.1f KiB for each client, want at most %d", p, res.Trimmed, perClient)
		}
		t.Logf("%s: %.1f KiB, %.1f after a collection, %d goroutines", p, res.RSS, res.Trimmed, res.Gorout)
	}
}
