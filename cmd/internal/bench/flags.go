// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"math"
	"os"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/cmd/internal/cli"
	"github.com/gocrt/aws-iot-device-sdk-go/cmd/internal/connect"
)

// config is what the flags say.
type config struct {
	set    *cli.Flags
	flags  *connect.Flags
	target *connect.Target // nil with -host
	local  bool            // the server is in this process

	workload string
	host     string
	tls      bool

	clientID   string
	clients    int
	dialers    int
	keepAlive  time.Duration
	receiveMax int
	unlimited  bool
	variant    string // "borrowed" or nothing

	topic      string // "": those of a test server
	message    string
	qos        qosMix
	sizes      sizeMix
	window     int
	publishers int
	rate       float64

	n        int
	warmup   int
	duration time.Duration
	hold     time.Duration

	json       bool
	report     time.Duration
	cpuProfile string
	memProfile string
}

// variantBorrowed receives without copying payloads.
const variantBorrowed = "borrowed"

// Define defines the flags and returns what runs with them.
func Define(set *cli.Flags) func(context.Context, []string) error {
	c := &config{set: set, qos: qosMix{1}, sizes: sizeMix{{256, 256}}}
	set.Group("Workload", c.workloadFlags)
	set.Group("Clients", c.clientFlags)
	set.Group("Result", func() {
		set.BoolVar(&c.json, "json", false, "print the result as a line of JSON")
		set.DurationVar(&c.report, "report", 0, "`time` between lines with the progress (default: on a terminal 1s, otherwise none)")
		set.StringVar(&c.cpuProfile, "cpuprofile", "", "`file` for a CPU profile of the measured part")
		set.StringVar(&c.memProfile, "memprofile", "", "`file` for a profile of all allocations since the start")
	})
	set.Values("workload", "flow", "pub", "recv", "rtt", "echo", "connect", "idle")
	set.Files("cpuprofile", "memprofile")
	c.flags = connect.Define(set)
	set.Lookup("keep-alive").Usage = "keep alive `interval` (default 60s)"
	return func(ctx context.Context, args []string) error {
		if len(args) > 0 {
			return cli.Usagef("unexpected argument %q", args[0])
		}
		defer c.flags.Close()
		if err := c.complete(); err != nil {
			return err
		}
		return c.run(ctx)
	}
}

func (c *config) workloadFlags() {
	c.set.StringVar(&c.workload, "workload", "flow", "`what` to do: flow, pub, recv, rtt, echo, connect or idle")
	c.set.StringVar(&c.topic, "topic", "sdk/bench", "`topic` below which each client has its own")
	c.set.StringVar(&c.message, "message", "Hello from Go", "`text` that payloads repeat")
	c.set.Var(&c.qos, "qos", "QoS of the messages, or a `mix`: 0:80,1:20 is four of five with QoS 0")
	c.set.Var(&c.sizes, "size", "payload `bytes`, or several sizes and ranges in turn: 64,256-1024")
	c.set.IntVar(&c.window, "window", 1000, "largest `number` of unfinished publishes of a client")
	c.set.IntVar(&c.publishers, "publishers", 0, "`number` of goroutines of a client that call the blocking Publish (default: none, one calls PublishAsync)")
	c.set.Float64Var(&c.rate, "rate", 0, "most messages a second, of all clients together (default: no limit)")
	c.set.IntVar(&c.n, "n", 0, "`number` of messages or connections; 0: until Ctrl-C (default: depends on the workload; with -duration no limit)")
	c.set.IntVar(&c.warmup, "warmup", -1, "`number` of them before that, which are not measured (default: none, but with the topics of a test server)")
	c.set.DurationVar(&c.duration, "duration", 0, "most `time` to measure for (default: no limit)")
	c.set.DurationVar(&c.hold, "hold", 5*time.Second, "idle: `time` to wait before measuring")
}

func (c *config) clientFlags() {
	c.set.StringVar(&c.host, "host", "", "`name` of any MQTT server, in place of -endpoint; -port is then 1883 by default, with -tls 8883")
	c.set.BoolVar(&c.tls, "tls", false, "with -host: use TLS")
	c.set.IntVar(&c.clients, "clients", 1, "`number` of clients, which share the messages")
	c.set.IntVar(&c.dialers, "dialers", 32, "`number` of connections that are opened at a time")
	c.set.IntVar(&c.receiveMax, "receive-max", 0, "Receive Maximum to announce (default: none)")
	c.set.BoolVar(&c.unlimited, "unlimited", false, "do not keep to the quotas of AWS IoT Core, such as 100 messages a second of a client")
	c.set.StringVar(&c.variant, "variant", "", "\""+variantBorrowed+"\": receive without copying payloads")
}

// forever is a number of messages that is never reached.
const forever = math.MaxInt / 2

// complete refuses what cannot be, and fills in what depends on other flags.
func (c *config) complete() error {
	_, known := workloads[c.workload]
	set := c.set.Given
	c.keepAlive = c.flags.KeepAlive
	if c.keepAlive == 0 {
		c.keepAlive = time.Minute
	}
	switch {
	case !known:
		return cli.Usagef("unknown -workload %q: it is flow, pub, recv, rtt, echo, connect or idle", c.workload)
	case c.variant != "" && c.variant != variantBorrowed:
		return cli.Usagef("unknown -variant %q: it is %s", c.variant, variantBorrowed)
	case c.host != "" && set("endpoint"):
		return cli.Usagef("-host and -endpoint exclude each other")
	case c.tls && c.host == "":
		return cli.Usagef("-tls goes with -host; with -endpoint it is a matter of -method")
	case c.window < 1 || c.window > 65535:
		return cli.Usagef("-window %d is not between 1 and 65535", c.window)
	case c.keepAlive < time.Second || c.keepAlive > 65535*time.Second:
		return cli.Usagef("-keep-alive %v is not between 1 and 65535 s", c.keepAlive)
	case c.receiveMax < 0 || c.receiveMax > 65535:
		return cli.Usagef("-receive-max %d is not between 0 and 65535", c.receiveMax)
	case c.clients < 1 || c.dialers < 1:
		return cli.Usagef("-clients and -dialers are at least 1")
	case c.n < 0 || c.publishers < 0 || c.rate < 0 || c.duration < 0 || c.hold < 0 || c.report < 0:
		return cli.Usagef("-n, -publishers, -rate, -duration, -hold and -report cannot be negative")
	}
	if err := c.reach(); err != nil {
		return err
	}
	source := c.host != "" && !set("topic") // the topics are those of a test server
	switch {
	case c.workload == "recv" && c.local:
		return cli.Usagef("-workload recv needs a server to which others publish; flow does both")
	case c.workload == "recv" && source && (len(c.qos) > 1 || len(c.sizes.list()) > 1):
		return cli.Usagef("-workload recv without -topic knows one -qos and one -size")
	}
	if source {
		c.topic = ""
	}
	c.counts()
	c.json = c.json || c.host != "" && !set("json") && !cli.IsTerminal(os.Stdout)
	if c.report == 0 && cli.IsTerminal(os.Stderr) {
		c.report = time.Second
	}
	return nil
}

// reach finds out where to connect to, and as whom.
func (c *config) reach() error {
	if c.host == "" {
		given, err := c.flags.HasEndpoint()
		if err != nil {
			return err
		}
		if c.local = !given; given {
			if c.target, err = c.flags.Target(); err != nil {
				return err
			}
		}
	}
	if c.clientID = c.flags.ClientID; c.clientID == "" {
		var b [6]byte
		_, _ = rand.Read(b[:])
		c.clientID = "awsiot-bench-" + hex.EncodeToString(b[:])
	}
	return nil
}

// counts fills in how many messages there are.
func (c *config) counts() {
	var n, warmup int
	switch c.workload {
	case "flow", "pub", "recv":
		n, warmup = 100_000, 10_000
	case "rtt", "echo":
		n, warmup = 1000, 100
	case "connect":
		n, warmup = 100, 5
	}
	switch {
	case c.local: // with a server that takes its time on the same machine
		n = min(n, 20_000)
	case c.host == "": // in an account that pays for it
		n = min(n, 1000)
	}
	if c.topic != "" {
		warmup = 0
	}
	switch {
	case c.n > 0:
	case c.set.Given("n"), c.duration > 0:
		c.n = forever
	default:
		c.n = n
	}
	if c.warmup < 0 {
		c.warmup = warmup
	}
}

// run does the workload and prints what was measured.
func (c *config) run(ctx context.Context) error {
	b := newBench(ctx, c)
	err := b.run()
	if c.json {
		if err != nil {
			b.result.Error = err.Error()
		}
		line, jerr := json.Marshal(b.result)
		if jerr == nil {
			_, jerr = os.Stdout.Write(append(line, '\n'))
		}
		return errors.Join(err, jerr)
	}
	if b.result.measured() {
		err = errors.Join(err, b.summary(os.Stdout))
	}
	return err
}
