// SPDX-License-Identifier: Apache-2.0

package main

import (
	"io"
	"net"
	"strings"
	"testing"
)

// What takes more than a second says so.
func TestProgress(t *testing.T) {
	silent := listen(t, func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) })
	onlyConnack := listen(t, func(conn net.Conn) {
		_, _ = conn.Read(make([]byte, 1024))
		_, _ = io.WriteString(conn, "\x20\x03\x00\x00\x00")
		_, _ = io.Copy(io.Discard, conn)
	})
	for _, tt := range []struct{ port, args, want string }{
		{silent, "pub a x", "connecting to 127.0.0.1 ..."},
		{silent, "doctor", "examining the connection to 127.0.0.1 ..."},
		{silent, "bench -clients 2 -method broker", "connecting 2 clients ..."},
		{onlyConnack, "pub a x", "waiting for the acknowledgement ..."},
		{onlyConnack, "sub a", "subscribing ..."},
		{onlyConnack, "shadow get -thing lamp", "waiting for the answer of the shadow service ..."},
		{onlyConnack, "jobs list -thing lamp", "waiting for the answer of the jobs service ..."},
	} {
		t.Run(tt.want, func(t *testing.T) {
			t.Parallel()
			args := append(strings.Fields(tt.args), "-endpoint", "127.0.0.1", "-port", tt.port, "-plaintext")
			if !strings.HasPrefix(tt.args, "bench") {
				args = append(args, "-timeout", "3s")
			}
			s := start(t, args...)
			s.next(s.errs, tt.want)
			s.cancel()
		})
	}
}
