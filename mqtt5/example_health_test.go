// SPDX-License-Identifier: Apache-2.0

package mqtt5_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
)

// A readiness probe: ready while connected, and while what is queued moves.
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
