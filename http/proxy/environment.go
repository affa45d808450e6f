// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
)

// FromEnvironment returns a dialer for the proxy that the environment names:
// HTTPS_PROXY, or else ALL_PROXY, in either case of letters. NO_PROXY lists the
// hosts to dial directly, by the rules of Go's own HTTP client, which never
// uses a proxy for localhost and loopback addresses; [Options.NoProxy] adds to it.
// HTTP_PROXY is not consulted: every target is tunneled, as HTTPS is.
// A value without a scheme means http. Without a proxy in the environment the dialer
// dials everything directly.
//
// opts gives all but the address of the proxy; Username and Password, if set,
// override those in the environment. TLS and TLSConfig apply if the environment
// names an https proxy, ConnectHeader and PreemptiveAuth if it does not name a
// SOCKS5 proxy. The environment is read once, by this call. A proxy address
// that makes no sense is an error, which does not repeat it.
func FromEnvironment(opts Options) (*Dialer, error) {
	return fromEnvironment(opts, os.Getenv)
}

func fromEnvironment(opts Options, getenv func(string) string) (*Dialer, error) {
	if opts.URL != "" || opts.Host != "" || opts.Port != 0 || opts.Kind != HTTP {
		return nil, errors.New("proxy: FromEnvironment excludes URL, Kind, Host and Port")
	}
	lookup := func(names ...string) (name, value string) {
		for _, n := range names {
			if v := strings.TrimSpace(getenv(n)); v != "" {
				return n, v
			}
		}
		return "", ""
	}
	name, value := lookup("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")
	if value == "" {
		d := &Dialer{opts: opts}
		d.setDefaults()
		return d, nil
	}
	opts.URL = value
	// What the environment names decides which of the options apply. A URL that
	// makes no sense is New's to refuse.
	if u, err := parseURL(value); err == nil {
		if !u.secure {
			opts.TLS, opts.TLSConfig = nil, nil
		}
		if u.kind == SOCKS5 {
			opts.ConnectHeader, opts.PreemptiveAuth = nil, false
		}
	}
	d, err := New(opts)
	if err != nil {
		return nil, fmt.Errorf("environment variable %s: %w", name, err)
	}
	_, noProxy := lookup("NO_PROXY", "no_proxy")
	rules := environmentBypass(noProxy)
	d.direct = func(hostport string) bool {
		host, port, err := net.SplitHostPort(hostport)
		return err == nil && (isLoopback(host) || rules.matches(host, port))
	}
	return d, nil
}

// environmentBypass reads NO_PROXY. An entry that makes no sense is passed over,
// because the variable is shared with other programs.
func environmentBypass(list string) *bypass {
	var all bypass
	for entry := range strings.SplitSeq(list, ",") {
		if one, err := parseBypass([]string{entry}); err == nil {
			all.all = all.all || one.all
			all.prefixes = append(all.prefixes, one.prefixes...)
			all.hosts = append(all.hosts, one.hosts...)
		}
	}
	return &all
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return ip.IsLoopback() || strings.EqualFold(strings.TrimSuffix(host, "."), "localhost")
}
