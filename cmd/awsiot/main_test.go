// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/cmd/internal/cli"
	"github.com/gocrt/aws-iot-device-sdk-go/iot/iottest"
)

// patience is how long a step of a test may take on a loaded machine.
const patience = 60 * time.Second

var folder string

// built is the path of the program.
var built = sync.OnceValues(func() (string, error) {
	path := filepath.Join(folder, "awsiot")
	if runtime.GOOS == "windows" {
		path += ".exe"
	}
	out, err := exec.Command("go", "build", "-o", path, ".").CombinedOutput()
	if err != nil {
		err = errors.New(string(out))
	}
	return path, err
})

func TestMain(m *testing.M) {
	var err error
	if folder, err = os.MkdirTemp("", "awsiot-test-"); err != nil {
		panic(err)
	}
	status := m.Run()
	_ = os.RemoveAll(folder)
	os.Exit(status)
}

// environment is that of the tests, without what might say how to connect.
func environment(more ...string) []string {
	var env []string
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "AWS_") && !strings.HasPrefix(strings.ToUpper(v), "HTTPS_PROXY") && !strings.HasPrefix(strings.ToUpper(v), "ALL_PROXY") {
			env = append(env, v)
		}
	}
	env = append(env, "AWS_CONFIG_FILE="+filepath.Join(folder, "none"), "AWS_SHARED_CREDENTIALS_FILE="+filepath.Join(folder, "none"), "AWS_EC2_METADATA_DISABLED=true", "COLUMNS=100")
	return append(env, more...)
}

func command(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	path, err := built()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = environment()
	return cmd
}

// run runs the program to its end.
func run(t *testing.T, stdin string, args ...string) (stdout, stderr string, status int) {
	t.Helper()
	return runWith(t, environment(), stdin, args...)
}

func runWith(t *testing.T, env []string, stdin string, args ...string) (stdout, stderr string, status int) {
	t.Helper()
	cmd := command(t, args...)
	cmd.Env = env
	cmd.Stdin = strings.NewReader(stdin)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// target are the flags for a device of the core.
func target(t *testing.T, core *iottest.Core, name string, opts ...iottest.DeviceOption) []string {
	t.Helper()
	files, err := core.Device(t, name, opts...).WriteFiles(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return append(reach(core, files.CA), "-client-id", name, "-cert", files.Cert, "-key", files.Key)
}

// reach are the flags for the core itself.
func reach(core *iottest.Core, ca string) []string {
	return []string{"-endpoint", "localhost", "-port", fmt.Sprint(core.Port()), "-ca", ca}
}

// follow starts the program and returns its lines; end is to be called after use.
type follow struct {
	t      *testing.T
	lines  chan string
	errs   chan string
	cancel func()
	wait   func() error
}

func start(t *testing.T, args ...string) *follow {
	t.Helper()
	return startCommand(t, command(t, args...))
}

func startCommand(t *testing.T, cmd *exec.Cmd) *follow {
	t.Helper()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	errs, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	f := &follow{t: t, lines: make(chan string, 100), errs: make(chan string, 100), cancel: func() { _ = cmd.Process.Signal(os.Interrupt) }, wait: cmd.Wait}
	scan := func(r io.Reader, lines chan<- string) {
		defer close(lines)
		for s := bufio.NewScanner(r); s.Scan(); {
			lines <- s.Text()
		}
	}
	go scan(out, f.lines)
	go scan(errs, f.errs)
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	return f
}

// next is the next line that contains text.
func (f *follow) next(lines <-chan string, text string) string {
	f.t.Helper()
	timeout := time.After(patience)
	for {
		select {
		case line, ok := <-lines:
			if !ok {
				f.t.Fatalf("the output ended without %q", text)
			}
			if strings.Contains(line, text) {
				return line
			}
		case <-timeout:
			f.t.Fatalf("no %q within %v", text, patience)
		}
	}
}

// end interrupts the program, which has to end with status 0.
func (f *follow) end() {
	f.t.Helper()
	f.cancel()
	for range f.lines {
	}
	for range f.errs {
	}
	if err := f.wait(); err != nil {
		f.t.Errorf("after Ctrl-C: %v", err)
	}
}

// What is published arrives as it was, to the last byte, whatever the way in and
// the way out.
func TestPubSub(t *testing.T) {
	core := iottest.Start(t)
	to := target(t, core, "publisher")
	file := filepath.Join(t.TempDir(), "payload")
	if err := os.WriteFile(file, []byte("of a file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := start(t, append([]string{"sub", "a/#", "-format", "json"}, target(t, core, "subscriber")...)...)
	s.next(s.errs, "subscribed to a/#")
	for _, tt := range []struct {
		test, stdin string
		args        []string
		want        []string // in the lines of JSON
		says        string
	}{
		{"argument", "", []string{"a/b", "21.5"}, []string{`"topic":"a/b","qos":1,"payload":"21.5"`}, "4 bytes to a/b: acknowledged (QoS 1)"},
		{"standard input", "one\ntwo\n\n", []string{"a/b"}, []string{`"payload":"one\ntwo\n\n"`}, "9 bytes to a/b"},
		{"empty", "", []string{"a/b", ""}, []string{`"payload":""`}, "0 bytes"},
		{"file", "", []string{"a/b", "-file", file}, []string{`"payload":"of a file\n"`}, "10 bytes"},
		{"lines", "one\ntwo\r\nthree", []string{"a/b", "-lines"}, []string{`"payload":"one"`, `"payload":"two"`, `"payload":"three"`}, "5 bytes to a/b"},
		{"bytes", "\xff\x00\n", []string{"a/b"}, []string{`"payloadBase64":"/wAK"`}, "3 bytes"},
		{"hexadecimal", "", []string{"-hex", "a/b", "ff 00"}, []string{`"payloadBase64":"/wA="`}, "2 bytes"},
		{"properties", "", []string{"a/b", "{}", "-content-type", "application/json", "-response-topic", "r", "-property", "k=v=w", "-expiry", "1m"},
			[]string{`"contentType":"application/json","responseTopic":"r","userProperties":[["k","v=w"]]`}, "2 bytes"},
		{"QoS 0", "", []string{"a/b", "x", "-qos", "0"}, []string{`"qos":0,"payload":"x"`}, "1 byte to a/b: sent with QoS 0, which the server does not acknowledge"},
	} {
		t.Run(tt.test, func(t *testing.T) {
			out, errs, status := run(t, tt.stdin, append(append([]string{"pub"}, tt.args...), to...)...)
			if status != 0 || out != "" || !strings.Contains(errs, tt.says) {
				t.Fatalf("status %d, %q, %q; want %q", status, out, errs, tt.says)
			}
			for _, want := range tt.want {
				if line := s.next(s.lines, ""); !strings.Contains(line, want) {
					t.Errorf("got %s, want %s", line, want)
				}
			}
		})
	}
	s.end()
	out, errs, status := run(t, "", append([]string{"pub", "nobody/hears", "x"}, to...)...)
	if status != 0 || out != "" || !strings.Contains(errs, "acknowledged") {
		t.Errorf("status %d, %q, %q", status, out, errs)
	}
}

// What is published without a network is sent by the next run.
func TestPub_spool(t *testing.T) {
	core := iottest.Start(t)
	to := target(t, core, "spooler")
	s := start(t, append([]string{"sub", "a/#"}, target(t, core, "subscriber")...)...)
	s.next(s.errs, "subscribed to a/#")
	spool := filepath.Join(t.TempDir(), "spool")
	args := func(rest ...string) []string { return append(append([]string{"pub", "-spool", spool}, rest...), to...) }
	core.StopListening()
	_, errs, status := run(t, "", args("a/b", "one", "-timeout", "1s")...)
	if status != 0 || !strings.Contains(errs, "3 bytes to a/b: stored") || !strings.Contains(errs, "1 messages stay in") {
		t.Fatalf("without network: status %d, %q", status, errs)
	}
	if err := core.Listen(); err != nil {
		t.Fatal(err)
	}
	_, errs, status = run(t, "", args("a/b", "two")...)
	if status != 0 || !strings.Contains(errs, "is acknowledged") {
		t.Fatalf("with network: status %d, %q", status, errs)
	}
	for _, want := range []string{"one", "two"} {
		if line := s.next(s.lines, ""); !strings.Contains(line, want) {
			t.Errorf("got %s, want %s", line, want)
		}
	}
	s.end()
	for _, wrong := range [][]string{{"pub", "-spool", spool, "a", "x", "-endpoint", "localhost"}, args("a", "x", "-qos", "0")} {
		if _, errs, status := run(t, "", wrong...); status != 2 || !strings.Contains(errs, "-spool") {
			t.Errorf("%q: status %d, %q", wrong, status, errs)
		}
	}
}

func TestSub_forms(t *testing.T) {
	core := iottest.Start(t)
	for _, tt := range []struct {
		args []string
		want string
	}{
		{nil, "h\xc3\xa9llo"},
		{[]string{"-topics"}, "a/b h\xc3\xa9llo"},
		{[]string{"-format", "hex"}, "68c3a96c6c6f"},
	} {
		s := start(t, append(append([]string{"sub", "-n", "1", "a/b"}, tt.args...), target(t, core, "forms")...)...)
		s.next(s.errs, "subscribed")
		if err := core.Publish(iottest.Message{Topic: "a/b", Payload: []byte("h\u00e9llo")}); err != nil {
			t.Fatal(err)
		}
		if got := s.next(s.lines, ""); got != tt.want {
			t.Errorf("%v: got %q, want %q", tt.args, got, tt.want)
		}
		if err := s.wait(); err != nil {
			t.Errorf("after -n messages: %v", err)
		}
	}
	_, errs, status := run(t, "", append([]string{"sub", "-q", "-n", "2", "-wait", "200ms", "a/b"}, target(t, core, "forms")...)...)
	if status != 1 || errs != "awsiot sub: 0 of 2 messages came within 200ms\n" {
		t.Errorf("status %d, %q", status, errs)
	}
}

// A lost connection is opened again, with the subscriptions.
func TestSub_survivesReconnects(t *testing.T) {
	core := iottest.Start(t)
	s := start(t, append([]string{"sub", "a/b"}, target(t, core, "survivor")...)...)
	s.next(s.errs, "subscribed")
	if !core.Cut("survivor") {
		t.Fatal("it is not connected")
	}
	s.next(s.errs, "connection lost")
	s.next(s.errs, "connected again")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	subscribed := 0
	if _, err := core.WaitFor(ctx, func(e iottest.Event) bool {
		if e.Type == iottest.Subscribed {
			subscribed++
		}
		return subscribed == 2
	}); err != nil {
		t.Fatal(err)
	}
	if err := core.Publish(iottest.Message{Topic: "a/b", Payload: []byte("after"), QoS: 1}); err != nil {
		t.Fatal(err)
	}
	s.next(s.lines, "after")
	s.end()
}

// The environment and profiles stand for flags; flags come first.
func TestConnect_environmentAndProfile(t *testing.T) {
	core := iottest.Start(t, func(o *iottest.Options) { o.PlainTCP = true })
	dir := t.TempDir()
	files, err := core.Device(t, "device").WriteFiles(dir)
	if err != nil {
		t.Fatal(err)
	}
	profile := filepath.Join(dir, "desk")
	text := fmt.Sprintf("# of a test\nendpoint = localhost\nport=%d\n\nca = %s\n-cert = %s\nkey = %s\n", core.Port(), files.CA, filepath.Base(files.Cert), files.Key)
	if err := os.WriteFile(profile, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	env := environment("AWS_IOT_ENDPOINT=localhost", fmt.Sprintf("AWS_IOT_PORT=%d", core.Port()), "AWS_IOT_CA="+files.CA, "AWS_IOT_CERT="+files.Cert,
		"AWS_IOT_KEY="+files.Key, "AWS_IOT_CLIENT_ID=of-the-environment", "AWS_IOT_IDENTITY_POOL_ID=us-east-1:1")
	for _, tt := range []struct {
		test   string
		env    []string
		args   []string
		status int
		want   string
	}{
		{"environment", env, nil, 0, "connected to localhost as of-the-environment"},
		{"flag over environment", env, []string{"-client-id", "of-the-flag"}, 0, "as of-the-flag"},
		{"method over environment", env, []string{"-method", "pkcs12"}, 2, "-method pkcs12 needs -p12"},
		{"profile", environment(), []string{"-profile", profile}, 0, "connected to localhost as awsiot-"},
		{"profile of the environment", environment("AWS_IOT_PROFILE=" + profile), nil, 0, "connected to localhost"},
		{"environment over profile", environment("AWS_IOT_CLIENT_ID=mine"), []string{"-profile", profile}, 0, "as mine"},
		{"no profile", environment(), []string{"-profile", "nobody"}, 2, "there is no profile"},
		{"wrong value", environment("AWS_IOT_PORT=x"), []string{"-profile", profile}, 2, "AWS_IOT_PORT: invalid value \"x\": it is a whole number"},
		{"proxy of the environment", append(env, "AWS_IOT_PROXY=ftp://x"), nil, 1, "scheme of the proxy URL"},
		{"another connection without TLS", env, []string{"-plaintext", "-port", fmt.Sprint(core.TCPPort())}, 0, "connected to localhost"},
		{"nothing", environment(), nil, 2, "-endpoint is missing (or AWS_IOT_ENDPOINT)"},
		{"no method", environment(), []string{"-endpoint", "x"}, 2, "nothing says how to authenticate"},
	} {
		t.Run(tt.test, func(t *testing.T) {
			_, errs, status := runWith(t, tt.env, "", append([]string{"pub", "a", "x"}, tt.args...)...)
			if status != tt.status || !strings.Contains(errs, tt.want) {
				t.Errorf("status %d, %q; want %d, %q", status, errs, tt.status, tt.want)
			}
		})
	}
}

// A mistake in the command line is one line, with status 2.
func TestUsage(t *testing.T) {
	for _, tt := range []struct{ args, want string }{
		{"pubb", "there is no command \"pubb\" (did you mean pub?)"},
		{"pub -qoz 1", "there is no flag -qoz (did you mean -qos?)"},
		{"pub -n 3 a", "there is no flag -n; see"},
		{"pub -qso 1 a", "there is no flag -qso (did you mean -qos?)"},
		{"pub -qos x a", "-qos: invalid value \"x\": it is a whole number"},
		{"pub -timeout 5 a", "-timeout: invalid value \"5\": a time has a unit, such as 30s or 5m"},
		{"pub -q=maybe a", "-q: invalid value \"maybe\": it is true or false"},
		{"pub -property x a", "-property: invalid value \"x\": it is not of the form NAME=VALUE"},
		{"bench -rate x", "-rate: invalid value \"x\": it is a number"},
		{"bench -size x", "\"x\" is not a size"},
		{"jobs list -plaintext -endpoint x", "-thing is missing"},
		{"pub", "the TOPIC is missing"},
		{"pub a b c", "unexpected argument \"c\""},
		{"pub a -qos 3", "-qos 3: it is 0, 1 or 2"},
		{"pub a b -lines", "exclude each other"},
		{"sub", "the topic FILTER is missing"},
		{"sub a -format xml", "unknown -format \"xml\""},
		{"doctor x", "unexpected argument \"x\""},
		{"completion", "which shell?"},
		{"completion tcsh", "unknown shell"},
		{"sub a -endpoint x -method magic", "unknown -method \"magic\""},
		{"sub a -endpoint x -method sigv4 -cert c", "-cert has no effect with -method sigv4, but with certificate, "},
		{"sub a -endpoint x -authorizer b -p12 c", "-p12 has no effect with -method custom-auth, but with pkcs12;"},
		{"shadow update", "STATE is missing"},
		{"shadow update []", "it is the JSON value array; see"},
		{"sub a -endpoint x -cert c", "-method certificate needs -key"},
		{"sub a -endpoint x -method cognito", "needs -identity-id or -identity-pool-id"},
	} {
		out, errs, status := run(t, "", strings.Fields(tt.args)...)
		if status != 2 || out != "" || !strings.Contains(errs, tt.want) || strings.Count(errs, "\n") != 1 {
			t.Errorf("%s: status %d, %q, %q; want %q", tt.args, status, out, errs, tt.want)
		}
	}
	for _, args := range []string{"help", "-h", "pub -h", "help sub", "doctor --help", "version -h"} {
		out, errs, status := run(t, "", strings.Fields(args)...)
		if status != 0 || errs != "" || !strings.Contains(out, "Usage: awsiot ") {
			t.Errorf("%s: status %d, %q, %q", args, status, out, errs)
		}
		for line := range strings.Lines(out) {
			if len([]rune(line)) > 101 {
				t.Errorf("%s: a line is too wide: %s", args, line)
			}
		}
	}
	out, _, _ := run(t, "", "pub", "-h")
	for _, text := range []string{"(default 30s)", "(default 1)"} {
		if !strings.Contains(out, text) {
			t.Errorf("no default %q", text)
		}
	}
	for _, heading := range []string{"\nMessage\n", "\nWhere to connect\n", "\nWith AWS credentials (", "\nWho connects\n"} {
		if !strings.Contains(out, heading) {
			t.Errorf("no group %q", heading)
		}
	}
	if out, _, status := run(t, "", "version"); status != 0 || !strings.HasPrefix(out, "awsiot v") {
		t.Errorf("version: %q", out)
	}
	if _, errs, status := run(t, ""); status != 2 || !strings.Contains(errs, "Usage: awsiot COMMAND") {
		t.Errorf("without a command: %d, %q", status, errs)
	}
}

// The scripts are good for their shells, and complete.
func TestCompletion(t *testing.T) {
	p := program()
	for _, shell := range cli.Shells {
		script, err := p.Completion(shell)
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"pub", "doctor", "endpoint", "websocket-custom-auth"} {
			if !strings.Contains(script, want) {
				t.Errorf("%s: the script lacks %s", shell, want)
			}
		}
		path := filepath.Join(t.TempDir(), shell)
		if err := os.WriteFile(path, []byte(script), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := exec.LookPath(shell); err != nil {
			if os.Getenv("CI") != "" || os.Getenv("SDK_TEST_REQUIRE_TOOLS") != "" {
				t.Fatalf("%s is not installed", shell)
			}
			t.Logf("NOT TESTED: %s is not installed", shell)
			continue
		}
		if out, err := exec.Command(shell, "-n", path).CombinedOutput(); err != nil {
			t.Errorf("%s: %v: %s", shell, err, out)
		}
	}
	script, _ := p.Completion("bash")
	for typed, want := range map[string]string{"awsiot do": "doctor", "awsiot pub -qo": "-qos", "awsiot sub -format j": "json", "awsiot sub -method plai": "", "awsiot sub -method custo": "custom-auth"} {
		words := strings.Fields(typed)
		try := script + fmt.Sprintf("\nCOMP_WORDS=(%s); COMP_CWORD=%d; _awsiot; echo \"${COMPREPLY[0]}\"\n", typed, len(words)-1)
		out, err := exec.Command("bash", "-c", try).CombinedOutput()
		if err != nil {
			t.Fatalf("bash: %v: %s", err, out)
		}
		if got := strings.TrimSpace(string(out)); got != want {
			t.Errorf("%q completes to %q, want %q", typed, got, want)
		}
	}
}
