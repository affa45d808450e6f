// SPDX-License-Identifier: Apache-2.0

//go:build unix

package main

import (
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/gocrt/aws-iot-device-sdk-go/iot/iottest"
)

// Ctrl-C ends what did not finish, at once, in one line and with status 130.
func TestInterrupt(t *testing.T) {
	core := iottest.Start(t)
	to := target(t, core, "device")
	silent := []string{"-plaintext", "-endpoint", "127.0.0.1", "-port", listen(t, func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) })}
	for _, tt := range []struct {
		test  string
		args  []string
		begun string // a line of standard error after which to interrupt
		want  string
	}{
		{"connecting", append([]string{"pub", "a", "x"}, silent...), "connecting to", "awsiot pub: interrupted"},
		{"too few messages", append([]string{"sub", "a", "-n", "3"}, to...), "subscribed to", "awsiot sub: 0 of 3 messages came: interrupted"},
	} {
		t.Run(tt.test, func(t *testing.T) {
			t.Parallel()
			f := start(t, tt.args...)
			f.next(f.errs, tt.begun)
			f.cancel()
			interrupted(t, f, tt.want)
		})
	}
	for _, args := range []string{"pub a", "shadow update -thing lamp"} {
		t.Run("reading standard input: "+args, func(t *testing.T) {
			t.Parallel()
			cmd := command(t, append(strings.Fields(args), to...)...)
			in, theirs, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer theirs.Close()
			cmd.Stdin = in
			f := startCommand(t, cmd)
			// The program is reading once it has taken the first bytes.
			if _, err := theirs.Write(make([]byte, 1<<20)); err != nil {
				t.Fatal(err)
			}
			f.cancel()
			interrupted(t, f, "awsiot "+strings.Fields(args)[0]+": interrupted")
		})
	}
}

func interrupted(t *testing.T, f *follow, want string) {
	t.Helper()
	f.next(f.errs, want)
	for range f.errs {
	}
	var exit *exec.ExitError
	if err := f.wait(); !errors.As(err, &exit) || exit.ExitCode() != 130 {
		t.Errorf("it ended with %v, want status 130", err)
	}
}
