// SPDX-License-Identifier: Apache-2.0

package desk_test

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"
)

// browser is a headless Chromium, driven by its DevTools protocol over a pipe.
type browser struct {
	t       *testing.T
	out     io.Writer
	session string

	mu      sync.Mutex
	next    int
	answers map[int]chan devtools
	errors  []string // uncaught exceptions and messages of the page's console
}

type devtools struct {
	ID     int             `json:"id,omitempty"`
	Method string          `json:"method,omitempty"`
	Params json.RawMessage `json:"params,omitempty"`
	Result json.RawMessage `json:"result,omitempty"`
	Error  *struct {
		Message string `json:"message"`
	} `json:"error,omitempty"`
	SessionID string `json:"sessionId,omitempty"`
}

// requireTool skips the test without a program, or fails it where programs are required.
func requireTool(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err == nil {
		return path
	}
	if os.Getenv("CI") != "" || os.Getenv("SDK_TEST_REQUIRE_TOOLS") != "" {
		t.Fatalf("%s is not installed", name)
	}
	t.Skipf("NOT TESTED: %s is not installed", name)
	return ""
}

func startBrowser(t *testing.T, url string) *browser {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("the pipe of the browser needs file descriptors 3 and 4")
	}
	path := requireTool(t, "chromium")
	commands, ours, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	theirs, events, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	profile := t.TempDir()
	cmd := exec.Command(path, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
		"--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--remote-debugging-pipe", "--window-size=1300,850",
		"--user-data-dir="+filepath.Join(profile, "profile"), "about:blank")
	cmd.ExtraFiles = []*os.File{commands, events}
	cmd.Env = append(os.Environ(), "HOME="+profile)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = commands.Close()
	_ = events.Close()
	b := &browser{t: t, out: ours, answers: map[int]chan devtools{}}
	done := make(chan struct{})
	go func() {
		defer close(done)
		b.read(theirs)
	}()
	t.Cleanup(func() {
		_, _ = ours.Write([]byte(`{"id":999999,"method":"Browser.close"}` + "\x00"))
		timer := time.AfterFunc(10*time.Second, func() { _ = cmd.Process.Kill() })
		_ = cmd.Wait()
		timer.Stop()
		_ = ours.Close()
		<-done
		_ = theirs.Close()
	})
	var target struct{ TargetID string }
	b.call("Target.createTarget", map[string]any{"url": "about:blank"}, &target)
	var attached struct{ SessionID string }
	b.call("Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &attached)
	b.session = attached.SessionID
	for _, domain := range []string{"Runtime", "Page", "Log"} {
		b.call(domain+".enable", nil, nil)
	}
	b.call("Page.navigate", map[string]any{"url": url}, nil)
	return b
}

func (b *browser) read(r io.Reader) {
	in := bufio.NewReader(r)
	for {
		raw, err := in.ReadBytes(0)
		if err != nil {
			b.mu.Lock()
			defer b.mu.Unlock()
			for _, ch := range b.answers {
				close(ch)
			}
			b.answers = nil
			return
		}
		var m devtools
		if json.Unmarshal(raw[:len(raw)-1], &m) != nil {
			continue
		}
		b.mu.Lock()
		switch {
		case m.ID != 0:
			if ch := b.answers[m.ID]; ch != nil {
				delete(b.answers, m.ID)
				ch <- m
			}
		case m.Method == "Runtime.exceptionThrown", m.Method == "Log.entryAdded":
			b.errors = append(b.errors, string(m.Params))
		}
		b.mu.Unlock()
	}
}

// call sends a command and decodes its result.
func (b *browser) call(method string, params, result any) {
	b.t.Helper()
	if err := b.try(method, params, result); err != nil {
		b.t.Fatalf("%s: %v", method, err)
	}
}

func (b *browser) try(method string, params, result any) error {
	raw, err := json.Marshal(params)
	if err != nil {
		return err
	}
	if params == nil {
		raw = []byte("{}")
	}
	ch := make(chan devtools, 1)
	b.mu.Lock()
	if b.answers == nil {
		b.mu.Unlock()
		return errors.New("the browser has ended")
	}
	b.next++
	id := b.next
	b.answers[id] = ch
	b.mu.Unlock()
	line, err := json.Marshal(devtools{ID: id, Method: method, Params: raw, SessionID: b.session})
	if err != nil {
		return err
	}
	if _, err := b.out.Write(append(line, 0)); err != nil {
		return err
	}
	select {
	case m, ok := <-ch:
		switch {
		case !ok:
			return errors.New("the browser has ended")
		case m.Error != nil:
			return errors.New(m.Error.Message)
		case result != nil:
			return json.Unmarshal(m.Result, result)
		}
		return nil
	case <-time.After(60 * time.Second): // against hanging tests only
		return errors.New("no answer")
	}
}

// eval evaluates an expression in the page and decodes its value, if into is not nil.
func (b *browser) eval(expression string, into any) {
	b.t.Helper()
	var answer struct {
		Result struct {
			Value json.RawMessage
		}
		ExceptionDetails json.RawMessage
	}
	b.call("Runtime.evaluate", map[string]any{"expression": expression, "returnByValue": true, "awaitPromise": true}, &answer)
	if answer.ExceptionDetails != nil {
		b.t.Fatalf("%s: %s", expression, answer.ExceptionDetails)
	}
	if into != nil {
		if err := json.Unmarshal(answer.Result.Value, into); err != nil {
			b.t.Fatalf("%s: %s: %v", expression, answer.Result.Value, err)
		}
	}
}

// until waits in the page until an expression is true.
func (b *browser) until(expression string) {
	b.t.Helper()
	var ok bool
	b.eval(fmt.Sprintf(`new Promise(done => { const end = Date.now() + 30000; (function look() {
		let v = false; try { v = !!(%s) } catch (e) {}
		if (v || Date.now() > end) done(v); else setTimeout(look, 20) })() })`, expression), &ok)
	if !ok {
		var text string
		b.eval(`document.body.innerText.slice(0, 2000)`, &text)
		b.t.Fatalf("never true: %s\n%s", expression, text)
	}
}

// screenshot writes what the page looks like to a folder, if there is one.
func (b *browser) screenshot(dir, name string) {
	b.t.Helper()
	if dir == "" {
		return
	}
	var shot struct{ Data string }
	b.call("Page.captureScreenshot", map[string]any{"format": "png"}, &shot)
	raw, err := base64.StdEncoding.DecodeString(shot.Data)
	if err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name+".png"), raw, 0o644); err != nil {
		b.t.Fatal(err)
	}
}
