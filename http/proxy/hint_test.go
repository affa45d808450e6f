// SPDX-License-Identifier: Apache-2.0

package proxy_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
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
	var many strings.Builder
	for i := range 8000 {
		fmt.Fprintf(&many, "S%d,", 10000+i)
	}
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
		"empty challenge":       {[]string{auth407 + "Proxy-Authenticate:\r\n\r\n"}, proxy.Options{}, "no credentials were given"},
		"endless challenge":     {[]string{auth407 + "Proxy-Authenticate: " + many.String() + "\r\n\r\n"}, given, "S10000, S10001"},
		"callback gives none":   {[]string{auth407 + "Proxy-Authenticate: Negotiate\r\n\r\n"}, callback, "what ConnectHeader returns"},
		"tinyproxy":             {[]string{"HTTP/1.1 401 Unauthorized\r\n\r\n"}, proxy.Options{}, "no credentials were given"},
		"portal":                {[]string{"HTTP/1.1 302 Found\r\nLocation: https://u:pw-ZEBRA@portal.example/login?token=ZEBRA\r\n\r\n"}, proxy.Options{}, "this is not a proxy, perhaps a portal that wants a login: it redirects to portal.example"},
		"portal, relative":      {[]string{"HTTP/1.1 307 Moved\r\nLocation: /login?ZEBRA\r\n\r\n"}, proxy.Options{}, "it redirects to a page of its own"},
		"portal, no location":   {[]string{"HTTP/1.1 303 See Other\r\n\r\n"}, proxy.Options{}, "perhaps a portal"},
		"portal, 511":           {[]string{"HTTP/1.1 511 Network Authentication Required\r\n\r\n"}, proxy.Options{}, "this network wants a login first"},
		"web server":            {[]string{"HTTP/1.1 405 Method Not Allowed\r\n\r\n"}, proxy.Options{}, "probably a web server and not a proxy"},
		"web server, old":       {[]string{"HTTP/1.0 501 Not Implemented\r\n\r\n"}, proxy.Options{}, "probably a web server and not a proxy"},
		"forbidden":             {[]string{"HTTP/1.1 403 Forbidden\r\n\r\n"}, proxy.Options{}, "forbids this host or port"},
		"host not reached":      {[]string{"HTTP/1.1 502 Bad Gateway\r\n\r\n"}, proxy.Options{}, "check that the proxy can reach the endpoint"},
		"TLS alert":             {[]string{"\x15\x03\x01\x00\x02\x02\x46"}, proxy.Options{}, "this proxy wants TLS: use an https URL"},
		"SOCKS5":                {[]string{"\x05\xff"}, proxy.Options{}, "this is a SOCKS5 proxy: use a socks5 URL"},
		"nothing that is known": {[]string{"HTTP/1.1 418 I'm a teapot\r\n\r\n"}, proxy.Options{}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := &scripted{t: t, scripts: []script{answer(tt.answers...)}}
			o := tt.options
			o.Host, o.Port, o.Dial = "proxy.test", 3128, s.dial
			_, err := newDialer(t, o).DialContext(t.Context(), "tcp", "broker.test:8883")
			pe := proxyError(t, err)
			if len(pe.Hint) > 1000 || (tt.want == "") != (pe.Hint == "") || !strings.Contains(pe.Hint, tt.want) || !strings.Contains(err.Error(), pe.Hint) {
				t.Errorf("hint %.300q, want %q", pe.Hint, tt.want)
			}
		})
	}
}

// What speaks another protocol than the options say is named, and so is what a
// SOCKS5 proxy has against its client.
func TestError_hintOfProtocol(t *testing.T) {
	t.Parallel()
	given := proxy.Options{Username: "user", Password: secret}
	socks := func(steps ...exchange) script { return serveSOCKS(steps, new(strings.Builder)) }
	silent := func(c net.Conn, br *bufio.Reader) { _, _ = br.ReadByte() }
	for name, tt := range map[string]struct {
		url     string
		script  script
		options proxy.Options
		want    string
	}{
		"HTTP, silent":           {"http", silent, proxy.Options{}, "it has not answered: check that host and port"},
		"SOCKS5, silent":         {"socks5", silent, proxy.Options{}, "it has not answered: check that host and port"},
		"HTTP for SOCKS5":        {"socks5", socks(exchange{3, "HTTP/1.1 400 Bad Request\r\n\r\n"}), proxy.Options{}, "this is an HTTP proxy: use an http URL"},
		"TLS for SOCKS5":         {"socks5", socks(exchange{3, "\x15\x03\x01\x00\x02\x02\x46"}), proxy.Options{}, "this proxy wants TLS"},
		"SOCKS4":                 {"socks5", socks(exchange{3, "\x00\x5b\x00\x00\x00\x00\x00\x00"}), proxy.Options{}, "only SOCKS5 is supported"},
		"HTTP for HTTP over TLS": {"https", socks(exchange{1, "HTTP/1.1 400 Bad Request\r\n\r\n"}), proxy.Options{}, "this proxy does not speak TLS: use an http or socks5 URL"},
		"no credentials given":   {"socks5", socks(exchange{3, "\x05\xff"}), proxy.Options{}, "no credentials were given: put them into the URL (socks5://user:password@proxy.test:3128)"},
		"not accepted":           {"socks5", socks(exchange{4, "\x05\x02"}, exchange{len(secret) + 7, "\x01\x01"}), given, "does not accept these credentials"},
		"forbidden":              {"socks5", socks(exchange{3, "\x05\x00"}, exchange{18, "\x05\x02\x00\x01"}), proxy.Options{}, "forbids this host or port"},
		"not reached":            {"socks5", socks(exchange{3, "\x05\x00"}, exchange{18, "\x05\x04\x00\x01"}), proxy.Options{}, "check that the proxy can reach the endpoint"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := &scripted{t: t, scripts: []script{tt.script}}
			o := tt.options
			o.URL, o.Dial = tt.url+"://proxy.test:3128", s.dial
			_, err := newDialer(t, o).DialContext(t.Context(), "tcp", "broker.test:8883")
			if pe := proxyError(t, err); !strings.Contains(pe.Hint, tt.want) || !strings.Contains(err.Error(), pe.Hint) {
				t.Errorf("hint %q, want %q: %v", pe.Hint, tt.want, err)
			}
		})
	}
}
