// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/gocrt/aws-iot-device-sdk-go/http/internal/exchange"
)

// bypass is a parsed no-proxy list. The syntax is that of NO_PROXY in Go's own
// HTTP client, except that loopback is special only if the environment names the
// proxy: a proxy that is configured explicitly is used for every host not listed.
type bypass struct {
	all      bool
	prefixes []netip.Prefix
	hosts    []bypassHost
}

type bypassHost struct {
	addr netip.Addr // valid for an IP entry
	name string     // otherwise ".example.com"
	port string     // "" for any
	self bool       // the name without its leading dot matches too
}

func parseBypass(list []string) (bypass, error) {
	var b bypass
	for _, entry := range list {
		s := strings.ToLower(strings.TrimSpace(entry))
		if s == "" {
			continue
		}
		if s == "*" {
			b.all = true
			continue
		}
		if p, err := netip.ParsePrefix(s); err == nil {
			b.prefixes = append(b.prefixes, p.Masked())
			continue
		}
		h := bypassHost{name: s}
		if addr, err := netip.ParseAddr(strings.Trim(s, "[]")); err == nil {
			h.addr = addr.Unmap()
			b.hosts = append(b.hosts, h)
			continue
		}
		if host, port, err := net.SplitHostPort(s); err == nil {
			h.name, h.port = host, port
		}
		if addr, err := netip.ParseAddr(h.name); err == nil {
			h.addr = addr.Unmap()
			b.hosts = append(b.hosts, h)
			continue
		}
		name := strings.TrimPrefix(h.name, "*")
		if n, err := strconv.ParseUint(h.port, 10, 16); h.port != "" && (err != nil || n == 0) || name == "" || strings.ContainsAny(name, " /@*") {
			return bypass{}, fmt.Errorf("proxy: NoProxy entry %q is not a host, an address or a prefix", entry)
		}
		if name[0] != '.' {
			h.self = true
			name = "." + name
		}
		h.name = exchange.ASCIIHost(name)
		b.hosts = append(b.hosts, h)
	}
	return b, nil
}

// matches reports whether host is to be dialed without the proxy.
func (b *bypass) matches(host, port string) bool {
	if b.all {
		return true
	}
	addr, err := netip.ParseAddr(host)
	if err == nil {
		addr = addr.Unmap().WithZone("")
		for _, p := range b.prefixes {
			if p.Contains(addr) {
				return true
			}
		}
	}
	name := exchange.ASCIIHost(strings.ToLower(strings.TrimSuffix(host, ".")))
	for _, h := range b.hosts {
		if h.port != "" && h.port != port {
			continue
		}
		if h.addr.IsValid() {
			if err == nil && h.addr == addr {
				return true
			}
			continue
		}
		if err == nil {
			continue // a name never matches an address
		}
		if strings.HasSuffix(name, h.name) || h.self && name == h.name[1:] {
			return true
		}
	}
	return false
}
