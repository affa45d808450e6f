// SPDX-License-Identifier: Apache-2.0

package websocket_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/gocrt/aws-iot-device-sdk-go/http/websocket"
)

// With TLS 1.3 a server refuses the client's certificate after the client's side
// of the handshake, where the answer to the upgrade is awaited.
func TestError_stageOfAlert(t *testing.T) {
	server := httptest.NewUnstartedServer(nil)
	server.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert, MinVersion: tls.VersionTLS13}
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	defer server.Close()
	dialer, err := websocket.New(websocket.Options{TLSConfig: &tls.Config{InsecureSkipVerify: true}})
	if err != nil {
		t.Fatal(err)
	}
	_, err = dialer.DialContext(context.Background(), "tcp", strings.TrimPrefix(server.URL, "https://"))
	var e *websocket.Error
	if !errors.As(err, &e) || e.Stage() != "TLS" {
		t.Errorf("got %v", err)
	}

	for _, tt := range []struct {
		err  error
		want string
	}{
		{&net.OpError{Op: "remote error", Err: errors.New("tls: bad certificate")}, "TLS"},
		{&net.OpError{Op: "read", Err: errors.New("connection reset by peer")}, "WebSocket upgrade"},
		{io.ErrUnexpectedEOF, "WebSocket upgrade"},
	} {
		if got := (&websocket.Error{Step: websocket.StepUpgrade, Err: tt.err}).Stage(); got != tt.want {
			t.Errorf("%v: stage %q, want %q", tt.err, got, tt.want)
		}
	}
}
