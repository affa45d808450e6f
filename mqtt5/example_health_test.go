// SPDX-License-Identifier: Apache-2.0

package mqtt5_test

import (
	"encoding/json"
	"expvar"
	"fmt"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
)

// A readiness probe: ready while connected, and while the queue moves.
func ExampleClient_Health() {
	client, _, end := exampleClient(mqtt5.ClientOptions{})
	ready := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		h := client.Health()
		if !h.Connected || h.QueueAge > time.Minute {
			http.Error(w, fmt.Sprintf("%v since %v, queue age %v, last error: %v", h.State, h.Since, h.QueueAge, h.LastError), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ready")
	})
	probe := func() int { // http.Handle("/readyz", ready), and ask it
		w := httptest.NewRecorder()
		ready.ServeHTTP(w, httptest.NewRequest("GET", "/readyz", nil))
		return w.Code
	}
	fmt.Println(probe())
	end()
	fmt.Println(probe())
	// Output:
	// 200
	// 503
}

// The counters as JSON at /debug/vars, without dependencies.
func ExampleClient_Stats_expvar() {
	client, _, end := exampleClient(mqtt5.ClientOptions{})
	defer end()
	expvar.Publish("mqtt", expvar.Func(func() any {
		h := client.Health()
		return map[string]any{
			"stats": client.Stats(), "state": h.State.String(), "since": h.Since, "lastError": fmt.Sprint(h.LastError),
		}
	}))
	var vars struct {
		Stats mqtt5.Stats
		State string
	}
	if err := json.Unmarshal([]byte(expvar.Get("mqtt").String()), &vars); err != nil {
		panic(err)
	}
	fmt.Println(vars.State, vars.Stats.Connections)
	// Output: connected 1
}
