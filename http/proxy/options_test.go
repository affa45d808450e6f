// SPDX-License-Identifier: Apache-2.0

package proxy_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"golang.org/x/net/http/httpproxy"

	"github.com/gocrt/aws-iot-device-sdk-go/http/proxy"
)

var errDial = errors.New("dialed")

// reached reports which address a dialer goes to for a target.
func reached(t *testing.T, make func(proxy.Options) (*proxy.Dialer, error), o proxy.Options, target string) string {
	t.Helper()
	address := ""
	o.Dial = func(_ context.Context, _, a string) (net.Conn, error) {
		address = a
		return nil, errDial
	}
	d, err := make(o)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.DialContext(t.Context(), "tcp", target); !errors.Is(err, errDial) {
		t.Fatal(err)
	}
	return address
}

func TestOptions_address(t *testing.T) {
	tests := []struct {
		options proxy.Options
		dials   string
		text    string
	}{
		{proxy.Options{URL: "http://p.test"}, "p.test:80", "http://p.test:80"},
		{proxy.Options{URL: "HTTP://u:secret@p.test:3128/"}, "p.test:3128", "http://p.test:3128"},
		{proxy.Options{URL: "https://u:secret@p.test"}, "p.test:443", "https://p.test:443"},
		{proxy.Options{URL: "socks5://u:secret@p.test"}, "p.test:1080", "socks5://p.test:1080"},
		{proxy.Options{URL: "socks5h://[2001:db8::1]:9"}, "[2001:db8::1]:9", "socks5://[2001:db8::1]:9"},
		{proxy.Options{URL: "127.0.0.1:3128"}, "127.0.0.1:3128", "http://127.0.0.1:3128"},
		{proxy.Options{URL: " http://p.test:3128\r\n"}, "p.test:3128", "http://p.test:3128"},
		{proxy.Options{URL: "p.test"}, "p.test:80", "http://p.test:80"},
		{proxy.Options{URL: "\tu:secret@p.test:3128 "}, "p.test:3128", "http://p.test:3128"},
		{proxy.Options{URL: "[2001:db8::1]:9"}, "[2001:db8::1]:9", "http://[2001:db8::1]:9"},
		{proxy.Options{Host: "p.test"}, "p.test:80", "http://p.test:80"},
		{proxy.Options{Host: "p.test", TLSConfig: &tls.Config{}}, "p.test:443", "https://p.test:443"},
		{proxy.Options{Host: "::1", Port: 8080}, "[::1]:8080", "http://[::1]:8080"},
		{proxy.Options{Host: "[::1]", Port: 8080}, "[::1]:8080", "http://[::1]:8080"},
		{proxy.Options{Kind: proxy.SOCKS5, Host: "p.test", TLSConfig: &tls.Config{}}, "p.test:1080", "socks5+tls://p.test:1080"},
		{proxy.Options{Host: "p.test", Username: "", Password: "secret"}, "p.test:80", "http://p.test:80"},
	}
	for _, tt := range tests {
		if got := reached(t, proxy.New, tt.options, "t.test:1"); got != tt.dials {
			t.Errorf("%s: dials %s, want %s", tt.text, got, tt.dials)
		}
		d := newDialer(t, tt.options)
		if got := d.String(); got != tt.text {
			t.Errorf("got %s, want %s", got, tt.text)
		}
		for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
			for _, v := range []any{tt.options, &tt.options, d, struct{ O proxy.Options }{tt.options}, struct{ D *proxy.Dialer }{d}} {
				if s := fmt.Sprintf(verb, v); strings.Contains(s, "secret") {
					t.Errorf("%s of %T tells the password: %s", verb, v, s)
				}
			}
		}
	}
}

func TestOptions_invalid(t *testing.T) {
	tests := map[string]proxy.Options{
		"nothing":                 {},
		"URL and host":            {URL: "http://p.test", Host: "p.test"},
		"URL and kind":            {URL: "http://p.test", Kind: proxy.SOCKS5},
		"scheme":                  {URL: "ftp://u:ZEBRA@p.test"},
		"unparsable":              {URL: "http://u:ZEBRA%zz@p.test:80"},
		"password with slash":     {URL: "http://u:ZEBRA/x@p.test:80"},
		"path":                    {URL: "http://u:ZEBRA@p.test/path"},
		"query":                   {URL: "http://u:ZEBRA@p.test?x"},
		"no host":                 {URL: "http://u:ZEBRA@:80"},
		"port":                    {URL: "http://u:ZEBRA@p.test:99999"},
		"port zero":               {URL: "http://u:ZEBRA@p.test:0"},
		"host":                    {Host: "a b"},
		"host with user":          {Host: "u:ZEBRA@p.test"},
		"negative port":           {Host: "p.test", Port: -1},
		"large port":              {Host: "p.test", Port: 65536},
		"kind":                    {Host: "p.test", Kind: 9},
		"two TLS":                 {Host: "p.test", TLSConfig: &tls.Config{}, TLS: stubTLS{}},
		"colon in user":           {Host: "p.test", Username: "a:b", Password: "ZEBRA"},
		"colon in user of URL":    {URL: "http://a%3Ab:ZEBRA@p.test"},
		"control characters":      {Host: "p.test", Username: "a", Password: "ZEBRA\r\n"},
		"SOCKS without user":      {URL: "socks5://p.test", Password: "ZEBRA"},
		"SOCKS long user":         {URL: "socks5://p.test", Username: strings.Repeat("u", 256), Password: "ZEBRA"},
		"SOCKS long password":     {URL: "socks5://p.test", Username: "u", Password: strings.Repeat("ZEBRA", 52)},
		"SOCKS preemptive":        {URL: "socks5://p.test", PreemptiveAuth: true},
		"scheme with one slash":   {URL: "http:/u:ZEBRA@p.test"},
		"no-proxy entry":          {Host: "p.test", NoProxy: []string{"http://a.test/"}},
		"no-proxy entry of stars": {Host: "p.test", NoProxy: []string{"a.*.test"}},
	}
	for name, o := range tests {
		_, err := proxy.New(o)
		if err == nil || o.Validate() == nil {
			t.Errorf("%s: accepted", name)
		} else if strings.Contains(err.Error(), "ZEBRA") || !strings.HasPrefix(err.Error(), "proxy: ") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

type stubTLS struct{}

func (stubTLS) Client(context.Context, net.Conn, string) (*tls.Conn, error) { return nil, errDial }

// A TLS layer that fails is reported, whatever it is.
func TestOptions_customTLS(t *testing.T) {
	client, far := net.Pipe()
	defer func() { _ = far.Close() }()
	d := newDialer(t, proxy.Options{Host: "p.test", TLS: stubTLS{}, Dial: func(context.Context, string, string) (net.Conn, error) { return client, nil }})
	_, err := d.DialContext(t.Context(), "tcp", "t.test:1")
	if pe := proxyError(t, err); pe.Step != proxy.StepTLS || !errors.Is(err, errDial) || pe.Stage() != "proxy" {
		t.Errorf("got %v", err)
	}
}

var bypassLists = []string{
	"", "*", "example.com", ".example.com", "*.example.com", "example.com:443", "EXAMPLE.com, other.test", "10.1.2.3", "10.0.0.0/8", "10.1.2.3:443",
	"2001:db8::1", "[2001:db8::1]:443", "2001:db8::/32", "bücher.example", "xn--bcher-kva.example", "192.168.0.0/16,.corp", "com", "169.254.169.254",
}

var bypassTargets = []string{
	"example.com:443", "a.example.com:443", "notexample.com:443", "example.com:8883", "A.Example.COM:443", "other.test:1", "10.1.2.3:443", "10.1.2.3:80",
	"10.200.0.1:5", "11.0.0.1:5", "[2001:db8::1]:443", "[2001:db8::1]:80", "[2001:db9::1]:443", "bücher.example:443", "xn--bcher-kva.example:443", "host.corp:1", "corp:1",
	"192.168.7.7:1", "169.254.169.254:80",
}

// The list follows the rules of NO_PROXY as the x/net package applies them, but
// for loopback.
func TestNoProxy_sameAsHTTPProxy(t *testing.T) {
	for _, list := range bypassLists {
		rules := (&httpproxy.Config{HTTPSProxy: "http://p.test:3128", NoProxy: list}).ProxyFunc()
		for _, target := range bypassTargets {
			u, err := rules(httpsURL(target))
			if err != nil {
				t.Fatal(err)
			}
			want := "p.test:3128"
			if u == nil {
				want = target
			}
			if got := reached(t, proxy.New, proxy.Options{URL: "http://p.test:3128", NoProxy: strings.Split(list, ",")}, target); got != want {
				t.Errorf("NO_PROXY=%s, %s: dials %s, want %s", list, target, got, want)
			}
		}
	}
	for _, target := range []string{"localhost:1", "127.0.0.1:1", "[::1]:1"} {
		if got := reached(t, proxy.New, proxy.Options{URL: "http://p.test:3128"}, target); got != "p.test:3128" {
			t.Errorf("%s: dials %s", target, got)
		}
	}
	if got := reached(t, proxy.New, proxy.Options{URL: "http://p.test:3128", NoProxy: []string{"127.0.0.0/8"}}, "127.0.0.1:1"); got != "127.0.0.1:1" {
		t.Errorf("listed loopback: dials %s", got)
	}
}

func TestFromEnvironment(t *testing.T) {
	const p = "p.test:3128"
	tests := []struct {
		name   string
		env    map[string]string
		target string
		dials  string // "" for an error from FromEnvironment
	}{
		{"nothing", nil, "t.test:1", "t.test:1"},
		{"HTTPS_PROXY", map[string]string{"HTTPS_PROXY": "http://u:ZEBRA@" + p}, "t.test:1", p},
		{"lower case", map[string]string{"https_proxy": "http://" + p}, "t.test:1", p},
		{"without scheme", map[string]string{"HTTPS_PROXY": p}, "t.test:1", p},
		{"HTTP_PROXY is for others", map[string]string{"HTTP_PROXY": "http://" + p}, "t.test:80", "t.test:80"},
		{"ALL_PROXY", map[string]string{"ALL_PROXY": "socks5://" + p}, "t.test:1", p},
		{"all_proxy", map[string]string{"all_proxy": "socks5h://" + p}, "t.test:1", p},
		{"HTTPS_PROXY first", map[string]string{"ALL_PROXY": "socks5://q.test", "HTTPS_PROXY": "http://" + p}, "t.test:1", p},
		{"NO_PROXY", map[string]string{"HTTPS_PROXY": p, "NO_PROXY": "x.test, t.test"}, "a.t.test:1", "a.t.test:1"},
		{"no_proxy", map[string]string{"ALL_PROXY": "socks5://" + p, "no_proxy": "10.0.0.0/8"}, "10.1.1.1:1", "10.1.1.1:1"},
		{"NO_PROXY for others", map[string]string{"HTTPS_PROXY": p, "NO_PROXY": "x.test"}, "t.test:1", p},
		{"localhost", map[string]string{"HTTPS_PROXY": p}, "localhost:1", "localhost:1"},
		{"loopback", map[string]string{"HTTPS_PROXY": p}, "[::1]:1", "[::1]:1"},
		{"bad scheme", map[string]string{"HTTPS_PROXY": "ftp://u:ZEBRA@p.test"}, "", ""},
		{"unparsable", map[string]string{"ALL_PROXY": "http://u:ZEBRA%@p.test"}, "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"} {
				t.Setenv(name, "")
				t.Setenv(strings.ToLower(name), "")
			}
			for k, v := range tt.env {
				t.Setenv(k, v)
			}
			if tt.dials == "" {
				if _, err := proxy.FromEnvironment(proxy.Options{}); err == nil || strings.Contains(err.Error(), "ZEBRA") {
					t.Errorf("got %v", err)
				}
				return
			}
			if got := reached(t, proxy.FromEnvironment, proxy.Options{}, tt.target); got != tt.dials {
				t.Errorf("dials %s, want %s", got, tt.dials)
			}
			if got := reached(t, proxy.FromEnvironment, proxy.Options{NoProxy: []string{"*"}}, tt.target); got != tt.target {
				t.Errorf("with a list: dials %s", got)
			}
		})
	}
	if _, err := proxy.FromEnvironment(proxy.Options{Host: "p.test"}); err == nil {
		t.Error("accepted a host")
	}
}

// Options apply as far as the proxy is of their kind: nobody knows that beforehand.
func TestFromEnvironment_optionsOfAnotherKind(t *testing.T) {
	called := false
	o := proxy.Options{TLS: stubTLS{}, PreemptiveAuth: true, ConnectHeader: func(context.Context, proxy.ConnectRequest) (http.Header, error) {
		called = true
		return nil, errDial
	}}
	for value, want := range map[string]struct {
		step   proxy.Step
		called bool
	}{
		"socks5://p.test": {proxy.StepTunnel, false},
		"http://p.test":   {proxy.StepHeader, true},
		"https://p.test":  {proxy.StepTLS, false},
	} {
		t.Setenv("HTTPS_PROXY", value)
		o.Dial = func(context.Context, string, string) (net.Conn, error) {
			client, far := net.Pipe()
			_ = far.Close()
			return client, nil
		}
		called = false
		d, err := proxy.FromEnvironment(o)
		if err != nil {
			t.Fatalf("%s: %v", value, err)
		}
		_, err = d.DialContext(t.Context(), "tcp", "t.test:1")
		if pe := proxyError(t, err); pe.Step != want.step || called != want.called {
			t.Errorf("%s: step %v, callback called %v: %v", value, pe.Step, called, err)
		}
	}
}

func httpsURL(hostport string) *url.URL { return &url.URL{Scheme: "https", Host: hostport} }
