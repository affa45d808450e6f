// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var coreKills = flag.Int("core.kills", 6, "rounds of TestCore_kills")

// TestCore_kills kills a core with a folder, at any time: while it starts, and
// while it is told to keep something. What it finds again is what it had at
// some moment, and nothing of later: never a half.
func TestCore_kills(t *testing.T) {
	dir := t.TempDir()
	endpoint, next := "", 1
	for round := range *coreKills {
		if round%3 == 2 { // while it starts
			cmd := command(t, coreArguments(dir)...)
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Duration(rand.Int64N(int64(60 * time.Millisecond))))
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
		cmd := command(t, coreArguments(dir)...)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		var console, name string
		for lines := bufio.NewScanner(out); console == "" && lines.Scan(); {
			if rest, ok := strings.CutPrefix(lines.Text(), "AWS IoT Core on this machine, as "); ok {
				name, _, _ = strings.Cut(rest, ";")
			}
			if rest, ok := strings.CutPrefix(lines.Text(), "console and control API "); ok {
				console = strings.TrimSuffix(rest, "/")
			}
		}
		if console == "" {
			t.Fatal("the core does not start again")
		}
		go func() { _, _ = io.Copy(io.Discard, out) }()
		if endpoint != "" && name != endpoint {
			t.Errorf("the endpoint was %s and is %s", endpoint, name)
		}
		endpoint = name
		checkCoreFiles(t, dir)
		kept := checkKept(t, console, next)
		kill := time.AfterFunc(time.Duration(rand.Int64N(int64(300*time.Millisecond))), func() { _ = cmd.Process.Kill() })
		for next = kept + 1; keepOne(console, next) == nil; next++ {
		}
		kill.Stop()
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
	t.Logf("%d were kept in the end", next)
}

func coreArguments(dir string) []string {
	free := "127.0.0.1:0"
	return []string{"core", "-dir", dir, "-addr", free, "-mtls-addr", free, "-http", free, "-proxy-addr", "off"}
}

// checkCoreFiles checks the files of the device.
func checkCoreFiles(t *testing.T, dir string) {
	t.Helper()
	certs, _ := filepath.Glob(filepath.Join(dir, "*.cert.pem"))
	if len(certs) == 0 {
		t.Error("no certificates")
	}
	for _, cert := range certs {
		if _, err := tls.LoadX509KeyPair(cert, strings.TrimSuffix(cert, ".cert.pem")+".private.key"); err != nil {
			t.Error(err)
		}
	}
}

// keepOne makes the core keep retained message n, and then n in a shadow.
func keepOne(console string, n int) error {
	for _, call := range []struct{ method, path, body string }{
		{http.MethodPost, "/v1/publish", fmt.Sprintf(`{"topic":"n/%d","payload":"%d","retain":true}`, n, n)},
		{http.MethodPut, "/v1/shadows?thing=counter", fmt.Sprintf(`{"state":{"reported":{"n":%d}}}`, n)},
	} {
		req, err := http.NewRequest(call.method, console+call.path, strings.NewReader(call.body))
		if err != nil {
			return err
		}
		req.Header.Set("Content-Type", "application/json")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusNoContent {
			return fmt.Errorf("%s: %s", call.path, resp.Status)
		}
	}
	return nil
}

// checkKept compares what a core has with what it was told up to number tried,
// and returns the number of the last that is there.
func checkKept(t *testing.T, console string, tried int) int {
	t.Helper()
	get := func(path string, v any) {
		resp, err := http.Get(console + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if err := json.NewDecoder(resp.Body).Decode(v); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
	}
	var retained []struct{ Topic, Payload string }
	get("/v1/retained", &retained)
	var shadows []struct {
		Thing    string
		Document struct{ Reported struct{ N int } }
	}
	get("/v1/shadows", &shadows)
	last, have := 0, map[string]string{}
	for _, m := range retained {
		have[m.Topic] = m.Payload
		last++
	}
	for n := 1; n <= last; n++ {
		if have[fmt.Sprint("n/", n)] != fmt.Sprint(n) {
			t.Fatalf("%d are kept, but number %d is not: %v", last, n, have)
		}
	}
	if last > tried {
		t.Errorf("%d are kept, only %d were tried", last, tried)
	}
	counter := 0
	for _, s := range shadows {
		if s.Thing == "counter" {
			counter = s.Document.Reported.N
		}
	}
	if counter != last && counter != last-1 {
		t.Errorf("%d messages are kept, but the shadow says %d", last, counter)
	}
	return last
}
