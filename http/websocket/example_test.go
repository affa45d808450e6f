// SPDX-License-Identifier: Apache-2.0

package websocket_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"time"

	coder "github.com/coder/websocket"

	"github.com/gocrt/aws-iot-device-sdk-go/http/proxy"
	"github.com/gocrt/aws-iot-device-sdk-go/http/websocket"
)

// localServer stands for an MQTT broker: it greets over WebSocket those who
// bring the right token.
func localServer() *httptest.Server {
	return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("token") != "fresh" {
			w.Header().Set("Date", "Tue, 03 Mar 2026 10:00:00 GMT")
			http.Error(w, "token expired", http.StatusForbidden)
			return
		}
		c, err := coder.Accept(w, r, &coder.AcceptOptions{Subprotocols: []string{"mqtt"}})
		if err != nil {
			return
		}
		_ = c.Write(r.Context(), coder.MessageBinary, []byte("welcome"))
		_ = c.Close(coder.StatusNormalClosure, "")
	}))
}

// A transform adds a token to each request. It may take its time to get one, within the
// context. Signing the request works the same way.
func ExampleDialer_DialContext() {
	server := localServer()
	defer server.Close()

	dialer, err := websocket.New(websocket.Options{
		Plaintext: true, // a ws server; leave it out for wss
		Transform: func(_ context.Context, r *http.Request) error {
			r.URL.RawQuery = url.Values{"token": {"fresh"}}.Encode()
			return nil
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	conn, err := dialer.DialContext(context.Background(), "tcp", server.Listener.Addr().String())
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	p := make([]byte, 100)
	n, err := conn.Read(p)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(string(p[:n]))
	// Output: welcome
}

// A server that refuses the upgrade says why, and what time it has.
func ExampleUpgradeError() {
	server := localServer()
	defer server.Close()

	dialer, err := websocket.New(websocket.Options{Plaintext: true, RawQuery: "token=stale"})
	if err != nil {
		log.Fatal(err)
	}
	_, err = dialer.DialContext(context.Background(), "tcp", server.Listener.Addr().String())
	var refused *websocket.UpgradeError
	if errors.As(err, &refused) {
		fmt.Printf("%d %s: %s", refused.StatusCode, refused.Date.Format(time.RFC3339), refused.Body)
	}
	// Output: 403 2026-03-03T10:00:00Z: token expired
}

// WebSocket with TLS through a proxy: each layer dials with the one below.
func ExampleNew() {
	tunnel, err := proxy.New(proxy.Options{URL: "http://proxy.example:3128"})
	if err != nil {
		log.Fatal(err)
	}
	dialer, err := websocket.New(websocket.Options{Dial: tunnel.DialContext})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(tunnel, dialer)
	// Output: http://proxy.example:3128 wss /mqtt
}

// The server closes with a code and a reason.
func ExampleCloseError() {
	err := error(&websocket.CloseError{Code: 1008, Reason: "not allowed"})
	fmt.Println(err)
	// Output: websocket: closed by the server with code 1008 "not allowed"
}
