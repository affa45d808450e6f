// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// printed starts a program that ends with the test, and returns the first group
// of the first line that matches.
func printed(t *testing.T, cmd *exec.Cmd, line string) string {
	t.Helper()
	read, write := io.Pipe()
	cmd.Stdout, cmd.Stderr = write, write
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		_ = write.Close()
		close(ended)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-ended
	})
	want := regexp.MustCompile(line)
	var log strings.Builder
	for lines := bufio.NewScanner(read); lines.Scan(); {
		if m := want.FindStringSubmatch(lines.Text()); m != nil {
			go func() { _, _ = io.Copy(io.Discard, read) }()
			return m[1]
		}
		log.WriteString(lines.Text() + "\n")
	}
	t.Fatalf("%s printed no line %s:\n%s", cmd.Path, line, log.String())
	return ""
}

// ask sends a query to Prometheus and returns how many time series it has, and
// the value of the first.
func ask(ctx context.Context, server, query string) (series int, value string, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, server+"/api/v1/query?query="+url.QueryEscape(query), nil)
	if err != nil {
		return 0, "", err
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, "", err
	}
	defer res.Body.Close()
	var body struct {
		Status, Error string
		Data          struct {
			Result []struct{ Value [2]any }
		}
	}
	if err := json.NewDecoder(res.Body).Decode(&body); err != nil {
		return 0, "", err
	}
	if body.Status != "success" {
		return 0, "", fmt.Errorf("%s: %s", query, body.Error)
	}
	if len(body.Data.Result) > 0 {
		value = fmt.Sprint(body.Data.Result[0].Value[1])
	}
	return len(body.Data.Result), value, nil
}

// TestTelemetry_prometheus has Prometheus scrape the sample, and asks it what the
// panels of the dashboard ask.
func TestTelemetry_prometheus(t *testing.T) {
	binary, err := exec.LookPath("prometheus")
	if err != nil {
		if os.Getenv("CI") != "" || os.Getenv("SDK_TEST_REQUIRE_TOOLS") != "" {
			t.Fatal(err)
		}
		t.Skip("NOT TESTED: ", err)
	}
	sample := program(t, "telemetry") // may take its time: it builds all samples
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	metrics := printed(t, exec.CommandContext(ctx, sample, "-count", "0"), `^Metrics are at http://(\S+)/metrics`)

	dir := t.TempDir()
	config := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(config, fmt.Appendf(nil, `
scrape_configs:
  - job_name: devices
    scrape_interval: 200ms
    scrape_timeout: 200ms
    static_configs: [{targets: [%q]}]
`, metrics), 0o600); err != nil {
		t.Fatal(err)
	}
	server := "http://" + printed(t, exec.CommandContext(ctx, binary, "--config.file="+config,
		"--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address=127.0.0.1:0", "--log.format=logfmt"),
		`component=web.* msg="(?:Listening on|TLS is disabled\.)".* address="?(127\.0\.0\.1:[1-9][0-9]*)`)

	// The last metric to appear, and its rate needs two scrapes.
	sent := `sum(rate(messaging_process_duration_seconds_count[1m])) > 0`
	for {
		n, _, err := ask(ctx, server, sent)
		if n > 0 && err == nil {
			break
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			t.Fatalf("%s: nothing: %v", sent, err)
		}
	}
	if _, value, err := ask(ctx, server, `mqtt_client_count{mqtt_client_state="connected"}`); value != "1" || err != nil {
		t.Errorf("%q clients are connected: %v", value, err)
	}

	file, err := os.ReadFile("../../../docs/grafana/mqtt-clients.json")
	if err != nil {
		t.Fatal(err)
	}
	var dashboard struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(file, &dashboard); err != nil {
		t.Fatal(err)
	}
	// What a program that neither fails nor has a store does not measure.
	without := regexp.MustCompile(`failures_total|losses_total|messages_dropped|_store_`)
	variables := strings.NewReplacer("$instance", ".*", "$__rate_interval", "1m")
	for _, p := range dashboard.Panels {
		for _, q := range p.Targets {
			n, _, err := ask(ctx, server, variables.Replace(q.Expr))
			if err != nil {
				t.Errorf("panel %q: %v", p.Title, err)
			} else if (n == 0) != without.MatchString(q.Expr) {
				t.Errorf("panel %q: %d time series of %s", p.Title, n, q.Expr)
			}
		}
	}
}
