// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/coder/websocket"
)

// webSocketFront serves WebSockets on the loopback interface and passes their
// bytes on to a broker: mosquitto opens its own WebSocket listeners on all
// interfaces, whatever its configuration says.
func webSocketFront(t *testing.T, broker func() string, id *identity) (address string) {
	t.Helper()
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{"mqtt"}})
		if err != nil {
			return
		}
		ws.SetReadLimit(-1)
		below, err := net.Dial("tcp", broker())
		if err != nil {
			_ = ws.Close(websocket.StatusInternalError, "no broker")
			return
		}
		above := websocket.NetConn(r.Context(), ws, websocket.MessageBinary)
		go func() {
			_, _ = io.Copy(above, below)
			_ = above.Close()
		}()
		_, _ = io.Copy(below, above)
		_ = below.Close()
	}))
	if id == nil {
		srv.Start()
	} else {
		pair, err := tls.X509KeyPair(id.cert, id.key)
		if err != nil {
			t.Fatal(err)
		}
		srv.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
		srv.StartTLS()
	}
	t.Cleanup(func() {
		srv.CloseClientConnections()
		srv.Close()
	})
	return srv.Listener.Addr().String()
}

// wantLoopback fails the test if a process listens on another interface than
// loopback, as the system sees it.
func wantLoopback(t *testing.T, pid int) {
	t.Helper()
	if runtime.GOOS != "linux" {
		return
	}
	listening, err := listeningSockets(pid)
	if err != nil {
		t.Fatal(err)
	}
	if len(listening) == 0 {
		t.Fatal("the program listens nowhere: is this its process?")
	}
	for _, address := range listening {
		if address != "0100007F" && address != "00000000000000000000000001000000" {
			t.Errorf("the program listens on address %s, which is not loopback", address)
		}
	}
}

// listeningSockets returns the local addresses of the sockets on which a
// process listens, as /proc/net/tcp has them.
func listeningSockets(pid int) ([]string, error) {
	own := map[string]bool{}
	links, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	if err != nil {
		return nil, err
	}
	for _, l := range links {
		if to, err := os.Readlink(l); err == nil {
			own[strings.TrimSuffix(strings.TrimPrefix(to, "socket:["), "]")] = true
		}
	}
	var found []string
	for _, table := range []string{"tcp", "tcp6"} {
		f, err := os.Open(fmt.Sprintf("/proc/%d/net/%s", pid, table))
		if err != nil {
			return nil, err
		}
		for s := bufio.NewScanner(f); s.Scan(); {
			fields := strings.Fields(s.Text())
			const listen = "0A"
			if len(fields) < 10 || fields[3] != listen || !own[fields[9]] {
				continue
			}
			address, _, _ := strings.Cut(fields[1], ":")
			found = append(found, address)
		}
		_ = f.Close()
	}
	return found, nil
}
