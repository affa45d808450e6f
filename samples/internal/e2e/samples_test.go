// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/samples/internal/softhsm"
)

// programs builds all samples, once.
var programs = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "samples-")
	if err != nil {
		return "", err
	}
	cleanup = append(cleanup, dir)
	if out, err := exec.Command("go", "build", "-o", dir+string(filepath.Separator), "../../...").CombinedOutput(); err != nil {
		return dir, errors.New(string(out))
	}
	return dir, nil
})

// cleanup are folders that all tests share.
var cleanup []string

func TestMain(m *testing.M) {
	status := m.Run()
	for _, dir := range cleanup {
		_ = os.RemoveAll(dir)
	}
	os.Exit(status)
}

// program is the path of a sample.
func program(t *testing.T, name string) string {
	t.Helper()
	dir, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, name)
}

// run runs a sample to its end.
func run(t *testing.T, stdin string, command string, args ...string) (stdout, stderr string, status int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, command, args...)
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

// pubSub is what samples print whose point is how they connect.
func pubSub(more ...string) []string {
	return append(more,
		`No -endpoint given: started an embedded AWS IoT Core`,
		`Event: attempting to connect to (\S+-ats.iot.us-east-1.amazonaws.com|localhost)`,
		`Event: connected \(success`,
		`Subscribed to sdk/samples/\S+: granted QoS 1`,
		`Received 1 of 10: sdk/samples/\S+: Hello from Go \[1\]`,
		`Published 10 messages with QoS 1`,
		`Received 10 of 10: sdk/samples/\S+: Hello from Go \[10\]`,
		`Unsubscribed from sdk/samples/`,
		`Event: disconnected`,
		`Event: stopped`)
}

// without are the samples, and what they print when they are run without flags.
var without = map[string][]string{
	"x509":                       pubSub(`its certificate is`),
	"pkcs11":                     pubSub(`token of SoftHSM`),
	"pkcs12":                     pubSub(`device.p12`),
	"signer":                     pubSub(`The signer signs \d+ bytes`),
	"websocket-sigv4":            pubSub(`Made AWS credentials`),
	"websocket-cognito":          pubSub(`Made the identity pool us-east-1:`),
	"role-alias":                 pubSub(),
	"custom-handshake":           pubSub(`Signing the upgrade to`),
	"certificate-and-authorizer": pubSub(`its certificate is`, `custom authorizer`),
	"custom-auth":                pubSub(`custom authorizer "sample-authorizer"`),
	"custom-auth-signed":         pubSub(`custom authorizer "sample-signing-authorizer"`),
	"websocket-custom-auth":      pubSub(`custom authorizer`),
	"proxy":                      pubSub(`The proxy opens a tunnel to \S+:443`),
	"shared-subscription": {`-1 received \d+ of 10: Hello from Go`, `-2 received \d+ of 10: Hello from Go`, `received 10 of 10`,
		`-1 got [1-9]\d* messages and \S+-2 got [1-9]`, `Unsubscribed from \$share/`, `Event: stopped`},
	"offline-queue": {`Unplugging`, `Published 10 messages without a network; 10 operations wait`, `QoS 0 does not wait: mqtt5: publish: .*not sent`,
		`session present: true`, `All 10 messages are acknowledged`, `Received 10 of 10`, `Event: stopped`},
	"persistent": {`Killed the device; it had accepted \d+ messages`, `All \d+ messages arrived`, `Event: stopped`},
	"telemetry": {`Probe: 503 stopped`, `Probe: 200 connected`, `Received 10 of 10`, `Event: stopped`,
		`mqtt_client_connections_total\{\S+\} 1`, `messaging_client_sent_messages_total\{\S+\} 10`, `mqtt_client_count\{\S*mqtt_client_state="connected"\S*\} 0`},
	"shadow": {
		`An application wants {"on":true,"level":80}`, `The lamp is switched on: true`, `The lamp has level 80`, `The lamp has level 100`,
		`Error: level -1: shadow: desired change refused`, `presses the button`, `"reported":{"level":30,"on":false}`, `Event: stopped`,
	},
	"jobs": {
		`Job \S+: reported as SUCCEEDED`, `The service has sample-1 as SUCCEEDED map\[greeted:World\]`,
		`sample-2 as REJECTED map\[reason:the document has no name\]`, `sample-3 as FAILED`, `sample-4 as REJECTED`, `Event: stopped`,
	},
	"provisioning": {
		`Stored: key\n`, `Stored: certificate\n`, `Stored: registered\n`, `Stored: complete\n`,
		`This is thing device-7 with map\[color:green\]`, `Published a message with the new identity\.`,
	},
	"commands":     {`set-target", "celsius": 21} as SUCCEEDED  \[changed target\]`, `REJECTED TOO_HOT`, `REJECTED UNKNOWN_COMMAND`, `Event: stopped`},
	"defender":     {`The service accepted report \d+`, `possible in five minutes`, `custom metrics map\[goroutines:`, `Event: stopped`},
	"presence":     {`guest connected`, `guest disconnected CLIENT_INITIATED_DISCONNECT`, `Event: stopped`},
	"basic-ingest": {`The rule got sdk/samples/basic-ingest: Hello from Go \[10\]`, `Published 10 messages to \$aws/rules/sample/`, `Event: stopped`},
	"direct": {`Received sdk/samples/direct/status: please`, `The backend got {"celsius":21.5} \(application/json\) for request 1`,
		`Received sdk/samples/direct/reboot: please`, `The device refused a message: 0x83`, `Event: stopped`},
	"request-response-topics": {`Request 1 of 10: "Hello from Go \[1\]" was answered with "HELLO FROM GO \[1\]"`, `Request 10 of 10`, `Event: stopped`},
	"manual-acknowledgement": {`Attempt 1: received Hello from Go`, `stays unacknowledged`,
		`session present: true`, `Attempt 2: received Hello from Go`, `acknowledged\.`, `Event: stopped`},
	"topic-aliases":     {`10 messages took \d+ bytes with full topics`, `10 messages took \d+ bytes with topic aliases`, `saved [1-9]\d* bytes`},
	"fleet":             {`20 clients are connected; the process has \d+ goroutines`, `200 messages with QoS 1 are acknowledged`},
	"proxy-environment": pubSub(`and set HTTPS_PROXY`, `The proxy opens a tunnel to \S+:443`),
	"windows-store":     nil, // its certificate is in a Windows store
	"agent":             nil, // has a test of its own
}

// interactive are samples that need more than to be run.
var interactive = map[string]bool{"agent": true, "windows-store": true}

func TestSamples_withoutFlags(t *testing.T) {
	found, err := filepath.Glob("../../*/main.go")
	if err != nil {
		t.Fatal(err)
	}
	if len(found) == 0 {
		t.Fatal("no samples")
	}
	for _, path := range found {
		name := filepath.Base(filepath.Dir(path))
		want, known := without[name]
		if !known {
			t.Errorf("no test for sample %s", name)
		}
		if !known || interactive[name] {
			continue
		}
		t.Run(name, func(t *testing.T) {
			if name == "pkcs11" {
				needSoftHSM(t)
			}
			stdout, stderr, status := run(t, "", program(t, name))
			if status != 0 {
				t.Fatalf("exit status %d\n%s\n%s", status, stdout, stderr)
			}
			for _, w := range want {
				if !regexp.MustCompile(w).MatchString(stdout) {
					t.Errorf("the output lacks %s:\n%s", w, stdout)
				}
			}
		})
	}
}

// needSoftHSM skips the test if SoftHSM is not installed, which must not be on
// the machines that decide.
func needSoftHSM(t *testing.T) {
	t.Helper()
	if _, err := softhsm.Library(); err != nil {
		if os.Getenv("CI") != "" || os.Getenv("SDK_TEST_REQUIRE_TOOLS") != "" {
			t.Fatal(err)
		}
		t.Skip("NOT TESTED: ", err)
	}
}

func TestSamples_mistakes(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "x.pem")
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		sample string
		args   []string
		want   string
	}{
		{"x509", []string{"-cert", file}, `-endpoint is missing: -cert only makes sense with it`},
		{"x509", []string{"-endpoint", "broker.invalid"}, `needs -cert and -key`},
		{"x509", []string{"-endpoint", "broker.invalid", "-cert", filepath.Join(dir, "no"), "-key", file}, `failed at stage TLS: .*no such file`},
		{"x509", []string{"-endpoint", "broker.invalid", "-cert", file, "-key", file}, `failed at stage TLS: .*x\.pem`},
		{"x509", []string{"-endpoint", "https://broker.invalid", "-cert", file, "-key", file}, `failed at stage options: .*give the host name alone`},
		{"x509", []string{"-count", "-1"}, `-count -1 is negative`},
		{"x509", []string{"hello"}, `unexpected argument "hello"`},
		{"x509", []string{"-topic", "a/+"}, `(?i)topic.*wildcard`},
		{"pkcs12", []string{"-endpoint", "broker.invalid", "-p12", file}, `failed at stage TLS: .*x\.pem.*PKCS#12`},
		{"websocket-cognito", []string{"-endpoint", "broker.invalid"}, `needs -identity-id or -identity-pool-id`},
		{"custom-auth-signed", []string{"-endpoint", "broker.invalid", "-token", "hush", "-token-key-name", "k"}, `needs -signature`},
		{"custom-auth", []string{"-endpoint", "127.0.0.1", "-port", "1", "-password", "hush"}, `failed at stage TCP: .*refused.*check endpoint, port and firewalls`},
		{"proxy", []string{"-endpoint", "127.0.0.1", "-port", "1", "-cert", file, "-key", file, "-proxy", "ftp://user:hush@x"}, `scheme`},
		{"pkcs11", []string{"-endpoint", "127.0.0.1"}, `-library is missing`},
		{"pkcs11", []string{"-endpoint", "127.0.0.1", "-library", file}, `failed at stage TLS: .*x\.pem`},
		{"windows-store", nil, `-endpoint is missing: a certificate in a store`},
		{"windows-store", []string{"-endpoint", "broker.invalid"}, `needs -store`},
		{"windows-store", []string{"-endpoint", "broker.invalid", "-store", `CurrentUser\MY\A11F8A9B5DF5B98BA3508FBCA575D09570E0D2C6`}, `failed at stage TLS: .*no Windows certificate store`},
		{"x509", []string{"-proxy", "ftp://user:hush@x"}, `failed at stage options: .*scheme of the proxy URL.*use http, https, socks5`},
		{"websocket-cognito", []string{"-proxy", "http://user:hush@127.0.0.1:1"}, `failed at stage proxy: .*refused.*check host and port of the proxy`},
	} {
		t.Run(tt.sample+" "+strings.Join(tt.args, " "), func(t *testing.T) {
			if tt.sample == "pkcs11" && len(tt.args) > 2 {
				needSoftHSM(t)
			}
			stdout, stderr, status := run(t, "", program(t, tt.sample), tt.args...)
			if status != 1 {
				t.Errorf("exit status %d\n%s", status, stdout)
			}
			lines := strings.Split(strings.TrimSuffix(stderr, "\n"), "\n")
			if len(lines) != 1 || !regexp.MustCompile(tt.want).MatchString(lines[len(lines)-1]) {
				t.Errorf("want one line with %s, got:\n%s", tt.want, stderr)
			}
			if strings.Contains(stdout+stderr, "hush") {
				t.Errorf("a secret is shown:\n%s%s", stdout, stderr)
			}
		})
	}
}

// start starts a sample that ends with Ctrl-C, and returns its output and a
// function that interrupts it and returns its status.
func start(t *testing.T, name string, args ...string) (*bufio.Scanner, func() (rest string, status int)) {
	t.Helper()
	cmd := exec.Command(program(t, name), args...)
	// A file instead of a pipe, which might fill up while nobody reads.
	path := filepath.Join(t.TempDir(), "output")
	w, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = w, os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = w.Close()
	out, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = out.Close() })
	scanner := bufio.NewScanner(&follower{file: out, ended: func() bool { return cmd.ProcessState != nil }})
	ended := false
	t.Cleanup(func() {
		if !ended {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	})
	return scanner, func() (string, int) {
		ended = true
		if err := cmd.Process.Signal(os.Interrupt); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait()
		var rest strings.Builder
		for scanner.Scan() {
			rest.WriteString(scanner.Text() + "\n")
		}
		return rest.String(), cmd.ProcessState.ExitCode()
	}
}

// follower reads a file that a program writes.
type follower struct {
	file  *os.File
	ended func() bool
}

func (f *follower) Read(p []byte) (int, error) {
	for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		ended := f.ended()
		n, err := f.file.Read(p)
		if n > 0 || ended || err != nil && err != io.EOF || time.Now().After(deadline) {
			return n, err
		}
	}
}

// until reads lines up to one that matches.
func until(t *testing.T, s *bufio.Scanner, pattern string) (lines []string) {
	t.Helper()
	re := regexp.MustCompile(pattern)
	for s.Scan() {
		lines = append(lines, s.Text())
		if re.MatchString(s.Text()) {
			return lines
		}
	}
	t.Fatalf("no %s in:\n%s", pattern, strings.Join(lines, "\n"))
	return nil
}

func TestSamples_interrupt(t *testing.T) {
	out, interrupt := start(t, "x509", "-count", "0")
	until(t, out, `Received: .*\[1\]`)
	rest, status := interrupt()
	if status != 0 || !strings.Contains(rest, "Event: disconnected, as requested") || !strings.Contains(rest, "Event: stopped") {
		t.Errorf("exit status %d\n%s", status, rest)
	}
}
