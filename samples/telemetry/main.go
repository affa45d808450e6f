// SPDX-License-Identifier: Apache-2.0

// Command telemetry reports the activity of a client to Prometheus, by OpenTelemetry,
// and answers a readiness probe.
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	otelprometheus "go.opentelemetry.io/otel/exporters/prometheus"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"

	"github.com/gocrt/aws-iot-device-sdk-go/iot"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/mqttotel"
	"github.com/gocrt/aws-iot-device-sdk-go/samples/internal/sample"
)

func main() {
	app := sample.New("telemetry", "Shows what a client does to Prometheus, and answers a readiness probe.")
	files := app.CertFlags()
	listen := flag.String("listen", "127.0.0.1:0", "`address` of /metrics and /readyz")
	app.Allow("listen")

	app.Run(func(ctx context.Context) (err error) {
		metrics, scrape, err := newMetrics()
		if err != nil {
			return err
		}
		session := app.NewSession()
		measure := iot.WithClientOptions(func(o *mqtt5.ClientOptions) {
			metrics.Observe(o)
			o.OnMessage = metrics.Handler(o.OnMessage)
		})
		client, err := files.Client(append(append(app.Options(), session.Options()...), measure)...)
		if err != nil {
			return err
		}
		metrics.Watch(client)

		mux := http.NewServeMux()
		mux.Handle("/metrics", scrape)
		mux.Handle("/readyz", readiness(client))
		listener, err := net.Listen("tcp", *listen)
		if err != nil {
			return errors.Join(err, client.Close())
		}
		server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
		go server.Serve(listener)
		defer server.Close()
		url := "http://" + listener.Addr().String()
		app.Printf("Metrics are at %s/metrics.", url)

		probe(ctx, app, url)
		if err := session.Connect(ctx, client); err != nil {
			return errors.Join(err, session.Stop(client))
		}
		probe(ctx, app, url)
		if err := session.PublishAndReceive(ctx, client); err != nil { // with -count 0 until Ctrl-C
			return err
		}
		probe(ctx, app, url)
		return show(ctx, app, url)
	})
}

// newMetrics returns the metrics of clients, and a handler that Prometheus scrapes.
func newMetrics() (*mqttotel.Metrics, http.Handler, error) {
	registry := prometheus.NewRegistry()
	producer := new(mqttotel.Producer) // of durations of publishes, at little cost
	exporter, err := otelprometheus.New(otelprometheus.WithRegisterer(registry), otelprometheus.WithProducer(producer), otelprometheus.WithoutScopeInfo())
	if err != nil {
		return nil, nil, err
	}
	provider := sdkmetric.NewMeterProvider(sdkmetric.WithReader(exporter))
	metrics, err := mqttotel.NewMetrics(mqttotel.MetricsOptions{MeterProvider: provider, Producer: producer})
	return metrics, promhttp.HandlerFor(registry, promhttp.HandlerOpts{}), err
}

// readiness answers 200 while the client is connected and its queue moves.
func readiness(client *mqtt5.Client) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		h := client.Health()
		if !h.Connected || h.QueueAge > time.Minute {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		fmt.Fprintf(w, "%v since %v\n", h.State, h.Since.Format(time.RFC3339))
	})
}

// probe prints what the readiness probe gets.
func probe(ctx context.Context, app *sample.App, url string) {
	status, body, err := get(ctx, url+"/readyz")
	if err == nil {
		app.Printf("Probe: %d %s", status, strings.TrimSpace(body))
	}
}

// show prints the page for Prometheus.
func show(ctx context.Context, app *sample.App, url string) error {
	_, body, err := get(ctx, url+"/metrics")
	if err != nil {
		return err
	}
	for lines := bufio.NewScanner(strings.NewReader(body)); lines.Scan(); {
		if l := lines.Text(); !strings.HasPrefix(l, "#") && !strings.Contains(l, "_bucket{") {
			app.Printf("%s", l)
		}
	}
	return nil
}

func get(ctx context.Context, url string) (status int, body string, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, "", err
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, "", err
	}
	defer answer.Body.Close()
	b, err := io.ReadAll(answer.Body)
	return answer.StatusCode, string(b), err
}
