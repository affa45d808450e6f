// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/samples/internal/sample"
)

func main() {
	app := sample.New("bench", "Measures throughput, latency, CPU time, allocations and memory of clients, by every way to connect.")
	app.Out = os.Stderr // standard output is for the result
	c := &config{app: app, connect: app.ConnectFlags(), qos: qosMix{1}, sizes: sizeMix{{256, 256}}}
	c.flags()
	app.Run(func(ctx context.Context) error {
		if err := c.complete(); err != nil {
			return err
		}
		return c.run(ctx)
	})
}

// config is what the flags say.
type config struct {
	app     *sample.App
	connect *sample.ConnectFlags

	workload string
	host     string
	tls      bool

	clients    int
	dialers    int
	keepAlive  int
	receiveMax int
	unlimited  bool
	variant    string // "borrowed" or nothing

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

// flags defines the flags that the other samples do not have.
func (c *config) flags() {
	flag.StringVar(&c.workload, "workload", "flow", "`what` to do: flow, pub, recv, rtt, echo, connect or idle")
	flag.Func("host", "`name` of any MQTT server, in place of -endpoint; -port is then 1883 by default, with -tls 8883", func(name string) error {
		c.host, c.app.Endpoint = name, name // an endpoint, too, so that no core is started
		return nil
	})
	flag.BoolVar(&c.tls, "tls", false, "with -host: use TLS")

	flag.IntVar(&c.clients, "clients", 1, "`number` of clients, which share the messages")
	flag.IntVar(&c.dialers, "dialers", 32, "`number` of connections that are opened at a time")
	flag.IntVar(&c.keepAlive, "keepalive", 60, "keep alive in `seconds`")
	flag.IntVar(&c.receiveMax, "receive-max", 0, "Receive Maximum to announce (default: none)")
	flag.BoolVar(&c.unlimited, "unlimited", false, "do not keep to the quotas of AWS IoT Core, such as 100 messages a second of a client")
	flag.StringVar(&c.variant, "variant", "", "\""+variantBorrowed+"\": receive without copying payloads")

	flag.Var(&c.qos, "qos", "QoS of the messages, or a `mix`: 0:80,1:20 is four of five with QoS 0")
	flag.Var(&c.sizes, "size", "payload `bytes`, or several sizes and ranges in turn: 64,256-1024")
	flag.IntVar(&c.window, "window", 1000, "largest `number` of unfinished publishes of a client")
	flag.IntVar(&c.publishers, "publishers", 0, "`number` of goroutines of a client that call the blocking Publish (default: none, one calls PublishAsync)")
	flag.Float64Var(&c.rate, "rate", 0, "most messages a second, of all clients together (default: no limit)")

	flag.IntVar(&c.n, "n", 0, "`number` of messages or connections; 0: until Ctrl-C (default: depends on the workload; with -duration no limit)")
	flag.IntVar(&c.warmup, "warmup", -1, "`number` of them before that, which are not measured (default: none, but with the topics of a test server)")
	flag.DurationVar(&c.duration, "duration", 0, "most `time` to measure for (default: no limit)")
	flag.DurationVar(&c.hold, "hold", 5*time.Second, "idle: `time` to wait before measuring")

	flag.BoolVar(&c.json, "json", false, "print the result as a line of JSON")
	flag.DurationVar(&c.report, "report", 0, "`time` between lines that tell the progress (default: on a terminal 1s, otherwise none)")
	flag.StringVar(&c.cpuProfile, "cpuprofile", "", "`file` for a CPU profile of what is measured")
	flag.StringVar(&c.memProfile, "memprofile", "", "`file` for a profile of all allocations since the start")

	count := flag.Lookup("count")
	count.Usage, count.DefValue = "the same `number` as -n", "0"
	flag.Lookup("message").Usage = "`text` that payloads repeat"
	c.app.Allow("workload", "tls", "clients", "dialers", "keepalive", "receive-max", "unlimited", "variant", "qos", "size", "window", "publishers",
		"rate", "n", "warmup", "duration", "hold", "json", "report", "cpuprofile", "memprofile")
}

// forever is a number of messages that is never reached.
const forever = math.MaxInt / 2

// complete refuses what cannot be, and fills in what depends on other flags.
func (c *config) complete() error {
	set := map[string]bool{}
	flag.Visit(func(f *flag.Flag) { set[f.Name] = true })
	_, known := workloads[c.workload]
	switch {
	case !known:
		return fmt.Errorf("unknown -workload %q: it is flow, pub, recv, rtt, echo, connect or idle", c.workload)
	case c.variant != "" && c.variant != variantBorrowed:
		return fmt.Errorf("unknown -variant %q: it is %s", c.variant, variantBorrowed)
	case set["host"] && set["endpoint"]:
		return errors.New("-host and -endpoint exclude each other")
	case c.tls && c.host == "":
		return errors.New("-tls goes with -host; with -endpoint it is a matter of -method")
	case c.window < 1 || c.window > 65535:
		return fmt.Errorf("-window %d is not between 1 and 65535", c.window)
	case c.keepAlive < 0 || c.keepAlive > 65535:
		return fmt.Errorf("-keepalive %d is not between 0 and 65535", c.keepAlive)
	case c.receiveMax < 0 || c.receiveMax > 65535:
		return fmt.Errorf("-receive-max %d is not between 0 and 65535", c.receiveMax)
	case c.clients < 1 || c.dialers < 1:
		return errors.New("-clients and -dialers are at least 1")
	case c.n < 0 || c.publishers < 0 || c.rate < 0 || c.duration < 0 || c.hold < 0 || c.report < 0:
		return errors.New("-n, -publishers, -rate, -duration, -hold and -report cannot be negative")
	case c.workload == "recv" && c.app.Local():
		return errors.New("-workload recv needs a server to which others publish; flow does both")
	case c.workload == "recv" && c.source(set) && (len(c.qos) > 1 || len(c.sizes.list()) > 1):
		return errors.New("-workload recv without -topic knows one -qos and one -size")
	case c.app.Local() && c.connect.Method == "pkcs11" && (c.clients > 1 || c.workload == "connect"):
		return errors.New("-method pkcs11 without -endpoint is for one client")
	}
	if c.source(set) {
		c.app.Topic = ""
	}
	c.counts(set)
	c.json = c.json || c.host != "" && !set["json"] && !isTerminal(os.Stdout)
	if c.report == 0 && isTerminal(os.Stderr) {
		c.report = time.Second
	}
	return nil
}

// source reports whether the topics are those of a test server.
func (c *config) source(set map[string]bool) bool { return c.host != "" && !set["topic"] }

// counts fills in how many messages there are.
func (c *config) counts(set map[string]bool) {
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
	case c.app.Local(): // with a server that takes its time on the same machine
		n = min(n, 20_000)
	case c.host == "": // in an account that pays for it
		n = min(n, 1000)
	}
	if !c.source(set) {
		warmup = 0
	}
	if set["count"] && !set["n"] {
		c.n = c.app.Count
	}
	switch {
	case c.n > 0:
	case set["n"], set["count"], c.duration > 0:
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

// isTerminal reports whether somebody watches what is written to the file.
func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	if err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return false
	}
	null, err := os.Stat(os.DevNull)
	return err != nil || !os.SameFile(info, null)
}
