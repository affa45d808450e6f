// SPDX-License-Identifier: Apache-2.0

package proxy_test

import (
	"errors"
	"testing"

	"github.com/gocrt/aws-iot-device-sdk-go/http/proxy"
)

// The text names each field that is set, and no other.
func TestError_text(t *testing.T) {
	t.Parallel()
	for want, e := range map[string]*proxy.Error{
		"proxy: tunnel step of http://p:80 to b:443: the proxy refused the tunnel (status 403 Forbidden); ask": {
			Step: proxy.StepTunnel, Proxy: "http://p:80", Target: "b:443", StatusCode: 403, Reason: "Forbidden", Hint: "ask", Err: proxy.ErrRefused},
		"proxy: tunnel step of socks5://p:1 to b:443: the proxy refused the tunnel (SOCKS reply 5: connection refused)": {
			Step: proxy.StepTunnel, Proxy: "socks5://p:1", Target: "b:443", Reply: 5, Err: proxy.ErrRefused},
		"proxy: tunnel step of http://p:80 to b:443: the proxy requires authentication (status 407)": {
			Step: proxy.StepTunnel, Proxy: "http://p:80", Target: "b:443", StatusCode: 407, Err: proxy.ErrAuthentication},
		"proxy: direct step to b:443: no route": {Step: proxy.StepDirect, Target: "b:443", Err: errors.New("no route")},
	} {
		if got := e.Error(); got != want {
			t.Errorf("got  %q\nwant %q", got, want)
		}
	}
}
