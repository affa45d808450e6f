// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// node is a program in JavaScript that a test drives, by lines of JSON on its
// standard input and output.
type node struct {
	t  *testing.T
	in io.WriteCloser

	mu      sync.Mutex // guards the following
	lastID  int
	waiting map[int]chan nodeLine
	streams map[string]chan json.RawMessage
	ended   chan struct{}
}

// nodeLine is what the program writes: the answer to a call, or a message of a stream.
type nodeLine struct {
	ID      int             `json:"id"`
	Result  json.RawMessage `json:"result"`
	Error   string          `json:"error"`
	Modeled json.RawMessage `json:"modeled"`
	Stream  string          `json:"stream"`
	Event   string          `json:"event"`
	Message json.RawMessage `json:"message"`
}

// nodeError is an error of the program. Modeled is what the service said, if it did.
type nodeError struct {
	Text    string
	Modeled json.RawMessage
}

func (e *nodeError) Error() string { return fmt.Sprintf("%s %s", e.Text, e.Modeled) }

// startNode starts a program of testdata/node, whose packages scripts/test installs.
func startNode(t *testing.T, script, uses string) *node {
	t.Helper()
	path := tool(t, "node")
	dir := filepath.Join("testdata", "node")
	if _, err := os.Stat(filepath.Join(dir, "node_modules", uses)); err != nil {
		missing(t, "npm package "+uses)
	}
	cmd := exec.Command(path, script)
	cmd.Dir = dir
	var log output
	cmd.Stderr = &log
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	n := &node{t: t, in: in, waiting: map[int]chan nodeLine{}, streams: map[string]chan json.RawMessage{}, ended: make(chan struct{})}
	read := make(chan struct{})
	go func() {
		defer close(read)
		n.read(out)
	}()
	t.Cleanup(func() {
		_ = in.Close() // ends the program
		<-read
		if err := cmd.Wait(); err != nil {
			t.Errorf("%s: %v\n%s", script, err, log.String())
		}
	})
	return n
}

func (n *node) read(out io.Reader) {
	defer close(n.ended)
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var line nodeLine
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			n.t.Errorf("the program wrote %q", lines.Bytes())
			continue
		}
		if line.Stream != "" {
			n.stream(line.Stream) <- line.Message
			continue
		}
		n.mu.Lock()
		answer := n.waiting[line.ID]
		delete(n.waiting, line.ID)
		n.mu.Unlock()
		if answer != nil {
			answer <- line
		}
	}
}

func (n *node) stream(name string) chan json.RawMessage {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.streams[name] == nil {
		n.streams[name] = make(chan json.RawMessage, 1000)
	}
	return n.streams[name]
}

// call calls a function of the program and decodes what it returns.
func (n *node) call(name string, arguments, result any) error {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	answer := make(chan nodeLine, 1)
	n.mu.Lock()
	n.lastID++
	id := n.lastID
	n.waiting[id] = answer
	n.mu.Unlock()
	b, err := json.Marshal(map[string]any{"id": id, "call": name, "arguments": arguments})
	if err != nil {
		n.t.Fatal(err)
	}
	if _, err := n.in.Write(append(b, '\n')); err != nil {
		n.t.Fatal(err)
	}
	select {
	case line := <-answer:
		if line.Error != "" {
			return &nodeError{line.Error, line.Modeled}
		}
		if result == nil {
			return nil
		}
		return json.Unmarshal(line.Result, result)
	case <-n.ended:
		return fmt.Errorf("the program ended during %s", name)
	case <-ctx.Done():
		return fmt.Errorf("no answer to %s", name)
	}
}

// must is call for what has to succeed.
func (n *node) must(name string, arguments, result any) {
	n.t.Helper()
	if err := n.call(name, arguments, result); err != nil {
		n.t.Fatalf("%s: %v", name, err)
	}
}

// next decodes the next message of a stream.
func (n *node) next(stream string, message any) {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	select {
	case b := <-n.stream(stream):
		if err := json.Unmarshal(b, message); err != nil {
			n.t.Fatalf("%s: %v: %s", stream, err, b)
		}
	case <-n.ended:
		n.t.Fatalf("the program ended before a message of %s", stream)
	case <-ctx.Done():
		n.t.Fatalf("no message of %s", stream)
	}
}
