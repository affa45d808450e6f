// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	coder "github.com/coder/websocket"

	"github.com/gocrt/aws-iot-device-sdk-go/http/websocket"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
)

// What a server says in its close frame reaches the events of the client, in
// place of CONNACK and after it.
func TestCloseFrame(t *testing.T) {
	const reason = "the server is restarted for maintenance"
	for _, code := range []coder.StatusCode{coder.StatusNormalClosure, coder.StatusGoingAway, coder.StatusPolicyViolation} {
		for name, accepts := range map[string]bool{"in place of CONNACK": false, "after it": true} {
			t.Run(code.String()+" "+name, func(t *testing.T) {
				t.Parallel()
				srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					ws, err := coder.Accept(w, r, &coder.AcceptOptions{Subprotocols: []string{"mqtt"}})
					if err != nil {
						return
					}
					if _, _, err := ws.Read(r.Context()); err != nil { // CONNECT
						return
					}
					if accepts {
						_ = ws.Write(r.Context(), coder.MessageBinary, []byte{0x20, 3, 0, 0, 0})
					}
					_ = ws.Close(code, reason)
				}))
				defer srv.Close()
				failed := make(chan error, 16)
				report := func(err error) {
					select {
					case failed <- err:
					default:
					}
				}
				c, err := mqtt5.NewClient(mqtt5.ClientOptions{
					Connect:             mqtt5.ConnectPacket{ClientID: "closed"},
					Address:             srv.Listener.Addr().String(),
					Dial:                mqtt5.DialFunc(wsLayer(websocket.Options{})(t, (&net.Dialer{}).DialContext)),
					MinReconnectDelay:   time.Hour,
					MaxReconnectDelay:   time.Hour,
					OnConnectionFailure: func(e *mqtt5.ConnectionFailure) { report(e.Err) },
					OnDisconnection:     func(e *mqtt5.Disconnection) { report(e.Err) },
				})
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				if err := c.Start(); err != nil {
					t.Fatal(err)
				}
				select {
				case err = <-failed:
				case <-time.After(patience):
					t.Fatal("no event")
				}
				var e *websocket.CloseError
				if !errors.As(err, &e) || int(e.Code) != int(code) || e.Reason != reason || !strings.Contains(err.Error(), reason) {
					t.Errorf("got %v", err)
				}
			})
		}
	}
}
