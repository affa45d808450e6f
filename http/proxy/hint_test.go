// SPDX-License-Identifier: Apache-2.0

package proxy_test

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/gocrt/aws-iot-device-sdk-go/http/proxy"
)

// A refusal says what to do, without what in it may be secret.
func TestError_hint(t *testing.T) {
	t.Parallel()
	const auth407 = "HTTP/1.1 407 Proxy Authentication Required\r\n"
	given := proxy.Options{Username: "user", Password: secret}
	callback := proxy.Options{ConnectHeader: func(context.Context, proxy.ConnectRequest) (http.Header, error) { return nil, nil }}
	for name, tt := range map[string]struct {
		answers []string
		options proxy.Options
		want    string
	}{
		"none given":             {[]string{auth407 + "Proxy-Authenticate: Basic realm=\"a, b c\"\r\n\r\n"}, proxy.Options{}, "no credentials were given: put them into the URL (http://user:password@proxy.test:3128)"},
		"none given, no schemes": {[]string{auth407 + "\r\n"}, proxy.Options{}, "no credentials were given"},
		"not accepted":           {[]string{auth407 + "Proxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n", auth407 + "Proxy-Authenticate: Basic\r\n\r\n"}, given, "the proxy does not accept these credentials: check the proxy's user name and password"},
		"Negotiate and NTLM": {[]string{auth407 + "Proxy-Authenticate: Negotiate\r\nProxy-Authenticate: NTLM\r\n\r\n"}, given,
			"the proxy does not offer Basic, only Negotiate, NTLM: give the Proxy-Authorization of such a scheme with the callback ConnectHeader"},
		"NTLM, none given":      {[]string{auth407 + "Proxy-Authenticate: NTLM TlRMTVNTUAAC=\r\n\r\n"}, proxy.Options{}, "only NTLM: give"},
		"Digest":                {[]string{auth407 + "Proxy-Authenticate: Digest realm=\"x, Basic y\", nonce=\"z\", qop=\"auth\"\r\n\r\n"}, given, "only Digest: give"},
		"callback gives none":   {[]string{auth407 + "Proxy-Authenticate: Negotiate\r\n\r\n"}, callback, "what ConnectHeader returns"},
		"tinyproxy":             {[]string{"HTTP/1.1 401 Unauthorized\r\n\r\n"}, proxy.Options{}, "no credentials were given"},
		"portal":                {[]string{"HTTP/1.1 302 Found\r\nLocation: https://u:pw-ZEBRA@portal.example/login?token=ZEBRA\r\n\r\n"}, proxy.Options{}, "this is not a proxy, perhaps a portal that wants a login: it redirects to portal.example"},
		"portal, relative":      {[]string{"HTTP/1.1 307 Moved\r\nLocation: /login?ZEBRA\r\n\r\n"}, proxy.Options{}, "it redirects to a page of its own"},
		"portal, no location":   {[]string{"HTTP/1.1 303 See Other\r\n\r\n"}, proxy.Options{}, "perhaps a portal"},
		"web server":            {[]string{"HTTP/1.1 405 Method Not Allowed\r\n\r\n"}, proxy.Options{}, "probably a web server and not a proxy"},
		"web server, old":       {[]string{"HTTP/1.0 501 Not Implemented\r\n\r\n"}, proxy.Options{}, "probably a web server and not a proxy"},
		"forbidden":             {[]string{"HTTP/1.1 403 Forbidden\r\n\r\n"}, proxy.Options{}, "forbids this host or port"},
		"host not reached":      {[]string{"HTTP/1.1 502 Bad Gateway\r\n\r\n"}, proxy.Options{}, "check that the proxy can reach the endpoint"},
		"nothing that is known": {[]string{"HTTP/1.1 418 I'm a teapot\r\n\r\n"}, proxy.Options{}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := &scripted{t: t, scripts: []script{answer(tt.answers...)}}
			o := tt.options
			o.Host, o.Port, o.Dial = "proxy.test", 3128, s.dial
			_, err := newDialer(t, o).DialContext(t.Context(), "tcp", "broker.test:8883")
			pe := proxyError(t, err)
			if (tt.want == "") != (pe.Hint == "") || !strings.Contains(pe.Hint, tt.want) || !strings.Contains(err.Error(), pe.Hint) {
				t.Errorf("hint %q, want %q", pe.Hint, tt.want)
			}
		})
	}
}
