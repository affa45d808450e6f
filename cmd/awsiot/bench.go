// SPDX-License-Identifier: Apache-2.0

package main

import (
	"github.com/gocrt/aws-iot-device-sdk-go/cmd/internal/bench"
	"github.com/gocrt/aws-iot-device-sdk-go/cmd/internal/cli"
)

func benchCommand() *cli.Command {
	return &cli.Command{
		Name: "bench", Summary: "measure throughput, latency, CPU time and memory",
		Details: `Loads a server with one client or thousands, by every way to connect, and says what it took. Without -endpoint and -host it starts an AWS IoT Core inside itself, for a first look.
flow: subscribe, and publish to the same topic. pub: publish. recv: count what others publish below -topic. rtt: publish one message at a time. echo: the same, until it comes back. connect: connect and disconnect. idle: open connections and wait.
Against AWS IoT Core it keeps to the quotas, unless -unlimited is set; messages cost money there.`,
		Define: bench.Define,
	}
}
