// SPDX-License-Identifier: Apache-2.0

// Package sample is what the samples have in common: flags, an embedded AWS IoT
// Core for those who give no endpoint, and what is printed. The samples
// themselves are in their main.go.
package sample

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"go.uber.org/zap"

	"github.com/gocrt/aws-iot-device-sdk-go/iot"
	"github.com/gocrt/aws-iot-device-sdk-go/iot/iottest"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
)

// Timeout bounds each step of a sample: connecting, an operation, the arrival
// of the messages.
const Timeout = 30 * time.Second

// App is a running sample.
type App struct {
	Name     string
	Endpoint string
	Port     int
	CA       string
	Proxy    string
	ClientID string
	Topic    string
	Message  string
	Count    int
	Verbose  bool

	// Remote says why the sample needs an -endpoint; empty if it does not.
	Remote string

	// Core is the embedded AWS IoT Core; nil if there is an -endpoint.
	Core *iottest.Core

	mu      sync.Mutex
	cleanup []func()
	allowed []string
}

// New defines the flags that all samples have. The sample defines its own
// before it calls Main or Run.
func New(name, summary string) *App {
	a := &App{Name: name, allowed: []string{"client-id", "topic", "message", "count", "verbose", "proxy"}}
	flag.StringVar(&a.Endpoint, "endpoint", "", "host `name` of the AWS IoT data endpoint; without it the sample starts an embedded AWS IoT Core")
	flag.IntVar(&a.Port, "port", 0, "`port` of the endpoint (default 443)")
	flag.StringVar(&a.CA, "ca", "", "PEM `file` with the CA of the endpoint (default: the CAs of the system)")
	flag.StringVar(&a.Proxy, "proxy", "", "`URL` of a proxy: http, https or socks5, with user:password@ if needed; \"env\" takes the one in the environment")
	flag.StringVar(&a.ClientID, "client-id", "", "client `identifier` (default: sample-"+name+"- and a random number)")
	flag.StringVar(&a.Topic, "topic", "sdk/samples/"+name, "`topic` of the messages")
	flag.StringVar(&a.Message, "message", "Hello from Go", "`text` of the messages")
	flag.IntVar(&a.Count, "count", 10, "`number` of messages; 0 publishes until Ctrl-C")
	flag.BoolVar(&a.Verbose, "verbose", false, "log what the layers of the connection do")
	flag.Usage = func() {
		w := flag.CommandLine.Output()
		fmt.Fprintf(w, "%s\n\nUsage: go run ./samples/%s [flags]\n\n", summary, name)
		flag.PrintDefaults()
	}
	return a
}

// Allow names flags that make sense without an -endpoint.
func (a *App) Allow(flags ...string) { a.allowed = append(a.allowed, flags...) }

// Local reports whether the sample runs against the embedded core.
func (a *App) Local() bool { return a.Core != nil }

// Run parses the flags, runs the sample and ends the program: with status 0, or
// with 1 and a line that says what failed. Ctrl-C ends ctx.
func (a *App) Run(run func(ctx context.Context) error) {
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	go func() {
		<-ctx.Done()
		stop() // the next Ctrl-C ends the program at once
	}()
	err := a.begin()
	if err == nil {
		err = run(ctx)
	}
	interrupted := ctx.Err() != nil
	for i := len(a.cleanup) - 1; i >= 0; i-- {
		a.cleanup[i]()
	}
	stop()
	if err != nil && !(interrupted && errors.Is(err, context.Canceled)) {
		fmt.Fprintln(os.Stderr, a.failure(err))
		os.Exit(1)
	}
}

// begin checks the flags and starts the core if there is no endpoint.
func (a *App) begin() error {
	if flag.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q; flags begin with a dash, see -help", flag.Arg(0))
	}
	if a.Count < 0 {
		return fmt.Errorf("-count %d is negative", a.Count)
	}
	if a.ClientID == "" {
		var b [4]byte
		_, _ = rand.Read(b[:])
		a.ClientID = "sample-" + a.Name + "-" + hex.EncodeToString(b[:])
	}
	if a.Endpoint != "" {
		return nil
	}
	if a.Remote != "" {
		return fmt.Errorf("-endpoint is missing: %s", a.Remote)
	}
	var lost []string
	flag.Visit(func(f *flag.Flag) {
		if !slices.Contains(a.allowed, f.Name) {
			lost = append(lost, "-"+f.Name)
		}
	})
	if lost != nil {
		return fmt.Errorf("-endpoint is missing: %s only makes sense with it", strings.Join(lost, ", "))
	}
	return a.StartCore()
}

// StartCore starts the embedded core.
func (a *App) StartCore() error {
	core, err := iottest.New(iottest.Options{})
	if err != nil {
		return fmt.Errorf("start the embedded AWS IoT Core: %w", err)
	}
	a.Core, a.Endpoint = core, core.Endpoint()
	a.OnExit(func() { _ = core.Close() })
	if a.Proxy != "" {
		// A proxy does not know the name that the core stands for.
		a.Endpoint, a.Port = "localhost", core.Port()
	}
	a.Printf("No -endpoint given: started an embedded AWS IoT Core as %s.", core.Endpoint())
	return nil
}

// OnExit runs f at the end of the sample.
func (a *App) OnExit(f func()) { a.cleanup = append(a.cleanup, f) }

// TempDir makes a folder that is removed at the end of the sample.
func (a *App) TempDir() (string, error) {
	dir, err := os.MkdirTemp("", "sample-"+a.Name+"-")
	if err == nil {
		a.OnExit(func() { _ = os.RemoveAll(dir) })
	}
	return dir, err
}

// Device registers a device with the embedded core.
func (a *App) Device(opts ...iottest.DeviceOption) (*iottest.Device, error) {
	return a.Core.CreateDevice(a.ClientID, opts...)
}

// DeviceFiles registers a device with the embedded core and writes its
// certificate and key to files.
func (a *App) DeviceFiles() (cert, key string, err error) {
	device, err := a.Device()
	if err != nil {
		return "", "", err
	}
	dir, err := a.TempDir()
	if err != nil {
		return "", "", err
	}
	files, err := device.WriteFiles(filepath.Join(dir, "device"))
	if err != nil {
		return "", "", err
	}
	a.Printf("Registered a device there; its certificate is %s.", filepath.Base(files.Cert))
	return files.Cert, files.Key, nil
}

// Require returns an error that names the flags without a value. It is for
// flags that the sample needs together with -endpoint.
func (a *App) Require(flags ...string) error {
	var missing []string
	for _, name := range flags {
		if f := flag.Lookup(name); f != nil && f.Value.String() == "" {
			missing = append(missing, "-"+name)
		}
	}
	if missing == nil {
		return nil
	}
	return fmt.Errorf("with -endpoint this sample needs %s; see -help", strings.Join(missing, " and "))
}

// Options are the options of all samples: client identifier, lifecycle events,
// and how to reach the server.
func (a *App) Options() []iot.Option {
	id := a.ClientID
	options := append(a.NetworkOptions(),
		iot.WithOnAttemptingConnect(func(e *mqtt5.AttemptingConnect) {
			a.Printf("Event: attempting to connect to %s as %s (attempt %d)", a.Endpoint, id, e.Attempt)
		}),
		iot.WithOnConnectionSuccess(func(e *mqtt5.ConnectionSuccess) {
			a.Printf("Event: connected (%v, session present: %v, keep alive: %d s)", e.Connack.ReasonCode, e.Settings.RejoinedSession, e.Settings.ServerKeepAliveSeconds)
		}),
		iot.WithOnConnectionFailure(func(e *mqtt5.ConnectionFailure) {
			a.Printf("Event: connection failed: %s", oneLine(e.Err))
		}),
		iot.WithOnDisconnection(func(e *mqtt5.Disconnection) {
			if errors.Is(e.Err, mqtt5.ErrStopRequested) {
				a.Printf("Event: disconnected, as requested")
				return
			}
			a.Printf("Event: disconnected: %s", oneLine(e.Err))
		}),
		iot.WithOnStopped(func(*mqtt5.Stopped) { a.Printf("Event: stopped") }),
	)
	if a.Local() {
		options = append(options, iot.WithCABytes(a.Core.CAPEM()), iot.WithRegion(a.Core.Region()))
	}
	if a.CA != "" {
		options = append(options, iot.WithCAFile(a.CA))
	}
	return options
}

// NetworkOptions are the options of all samples about what is below TLS, the
// client identifier, and the log.
func (a *App) NetworkOptions() []iot.Option {
	options := []iot.Option{iot.WithClientID(a.ClientID)}
	if a.Local() {
		options = append(options, iot.WithDialer(a.Core.DialContext))
	}
	switch a.Proxy {
	case "":
	case "env":
		options = append(options, iot.WithProxyFromEnvironment())
	default:
		options = append(options, iot.WithProxyURL(a.Proxy))
	}
	if a.Port != 0 {
		options = append(options, iot.WithPort(a.Port))
	}
	if a.Verbose {
		if logger, err := zap.NewDevelopment(); err == nil {
			options = append(options, iot.WithLogger(logger))
		}
	}
	return options
}

// Printf prints a line.
func (a *App) Printf(format string, args ...any) {
	a.mu.Lock()
	defer a.mu.Unlock()
	_, _ = fmt.Printf(format+"\n", args...)
}

// failure is the line that says what failed.
func (a *App) failure(err error) string {
	text := oneLine(err)
	if e := iot.Explain(err); e.Stage != "" {
		text = "failed at stage " + e.Stage + ": " + text
		if e.Hint != "" && !strings.Contains(text, e.Hint) {
			text += "; " + e.Hint
		}
	}
	return a.Name + ": " + text
}

// oneLine is the text of an error, whose parts may be on several lines.
func oneLine(err error) string {
	if err == nil {
		return ""
	}
	return strings.Join(strings.Split(err.Error(), "\n"), "; ")
}
