// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"maps"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
)

// store keeps nothing.
type store struct{}

func (store) Commit([]mqtt5.StoreChange) (mqtt5.Durability, error) { return mqtt5.DurabilityNone, nil }
func (store) Iterate(mqtt5.RecordKind, uint64, func(mqtt5.StoreRecord) bool) error {
	return nil
}
func (store) Count(mqtt5.RecordKind) (n mqtt5.StoreCount) { return n }
func (store) Close() error                                { return nil }

// exported returns the labels of each metric that the sample exports. A counter
// or histogram is there from its first measurement on, so each has one.
func exported(t *testing.T) map[string]map[string]bool {
	t.Helper()
	metrics, scrape, err := newMetrics()
	if err != nil {
		t.Fatal(err)
	}
	var o mqtt5.ClientOptions
	o.Durable.Store = store{}
	metrics.Observe(&o)
	for _, err := range []error{nil, mqtt5.ErrDropped} {
		o.OperationObserver.ObserveOperation(mqtt5.OperationObservation{Operation: "publish", Err: err})
	}
	for _, e := range []string{"attempting", "failure", "disconnection"} {
		o.StateObserver.ObserveState(mqtt5.StateObservation{Event: e, Err: mqtt5.ErrHangup})
	}
	if _, err := o.Durable.Store.Commit(make([]mqtt5.StoreChange, 1)); err != nil {
		t.Fatal(err)
	}
	metrics.Handler(func(context.Context, mqtt5.Message) {})(t.Context(), mqtt5.Message{})

	w := httptest.NewRecorder()
	scrape.ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	found := map[string]map[string]bool{}
	series := regexp.MustCompile(`^([a-z_]+)\{(.*)\} `)
	label := regexp.MustCompile(`([a-z_]+)="`)
	for lines := bufio.NewScanner(w.Body); lines.Scan(); {
		if m := series.FindStringSubmatch(lines.Text()); m != nil {
			if found[m[1]] == nil {
				found[m[1]] = map[string]bool{"instance": true} // of Prometheus
			}
			for _, l := range label.FindAllStringSubmatch(m[2], -1) {
				found[m[1]][l[1]] = true
			}
		}
	}
	return found
}

// TestDashboard compares the dashboard of the documentation with what the sample
// exports: every metric and label that it asks for exists, and none is left out.
func TestDashboard(t *testing.T) {
	file, err := os.ReadFile("../../docs/grafana/mqtt-clients.json")
	if err != nil {
		t.Fatal(err)
	}
	type target struct{ Expr, LegendFormat string }
	var dashboard struct {
		Panels []struct {
			ID          int
			Type, Title string
			GridPos     struct{ X, Y, W, H int }
			Targets     []target
		}
		Templating struct {
			List []struct{ Name, Query string }
		}
	}
	if err := json.Unmarshal(file, &dashboard); err != nil {
		t.Fatal(err)
	}
	all := exported(t)
	used, ids := map[string]bool{}, map[int]bool{}
	selector := regexp.MustCompile(`([a-z_]+)\{`)
	by := regexp.MustCompile(`by \(([^)]*)\)`)
	legend := regexp.MustCompile(`\{\{([a-z_]+)\}\}`)
	for _, p := range dashboard.Panels {
		if ids[p.ID] || p.GridPos.X+p.GridPos.W > 24 || p.GridPos.H == 0 {
			t.Errorf("panel %q: identifier %d, position %+v", p.Title, p.ID, p.GridPos)
		}
		ids[p.ID] = true
		if (len(p.Targets) == 0) != (p.Type == "row") {
			t.Errorf("panel %q has %d queries", p.Title, len(p.Targets))
		}
		for _, q := range p.Targets {
			metric := selector.FindStringSubmatch(q.Expr)
			if metric == nil || all[metric[1]] == nil {
				t.Errorf("panel %q asks for a metric that is not exported: %s", p.Title, q.Expr)
				continue
			}
			used[strings.TrimSuffix(strings.TrimSuffix(metric[1], "_bucket"), "_count")] = true
			var labels []string
			for _, m := range by.FindAllStringSubmatch(q.Expr, -1) {
				labels = append(labels, strings.Split(m[1], ", ")...)
			}
			for _, m := range legend.FindAllStringSubmatch(q.LegendFormat, -1) {
				if !slices.Contains(labels, m[1]) {
					t.Errorf("panel %q: the legend %q names a label that the query does not keep: %s", p.Title, q.LegendFormat, q.Expr)
				}
			}
			for _, l := range labels {
				if !all[metric[1]][l] {
					t.Errorf("panel %q: %s has no label %s", p.Title, metric[1], l)
				}
			}
		}
	}
	for _, v := range dashboard.Templating.List {
		if m := regexp.MustCompile(`^label_values\(([a-z_]+),`).FindStringSubmatch(v.Query); m != nil && all[m[1]] == nil {
			t.Errorf("variable %s: %s is not exported", v.Name, m[1])
		}
	}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		base := name
		for _, suffix := range []string{"_bucket", "_count", "_sum"} {
			if cut := strings.TrimSuffix(name, suffix); cut != name && all[cut+"_bucket"] != nil {
				base = cut
			}
		}
		if strings.HasPrefix(base, "m") && !used[base] && !used[strings.TrimSuffix(base, "_count")] {
			t.Errorf("no panel shows %s", name)
		}
	}
}
