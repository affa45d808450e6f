// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"errors"
	"net/url"
	"strconv"
	"strings"
)

type parsedURL struct {
	kind       Kind
	secure     bool
	host, port string // port is "" when the URL has none
	user, pass string
}

// parseURL takes a proxy URL apart. Its errors never quote the URL, which may
// hold a password: not even in the causes, because url.Error quotes it too.
func parseURL(s string) (parsedURL, error) {
	if s = strings.TrimSpace(s); !strings.Contains(s, "://") {
		s = "http://" + s
	}
	u, err := url.Parse(s)
	if err != nil {
		return parsedURL{}, errors.New("proxy: the proxy URL cannot be parsed; percent-encode reserved characters in user name and password")
	}
	var p parsedURL
	switch strings.ToLower(u.Scheme) {
	case "http":
	case "https":
		p.secure = true
	case "socks5", "socks5h":
		p.kind = SOCKS5
	default:
		return parsedURL{}, errors.New("proxy: the scheme of the proxy URL is unknown; use http, https, socks5 or socks5h")
	}
	if u.Opaque != "" || u.RawQuery != "" || u.Fragment != "" || (u.Path != "" && u.Path != "/") {
		return parsedURL{}, errors.New("proxy: the proxy URL has more than a host; use the form scheme://[user[:password]@]host[:port]")
	}
	p.host, p.port = u.Hostname(), u.Port()
	if !validHost(p.host) {
		return parsedURL{}, errors.New("proxy: the proxy URL has no valid host; use the form scheme://[user[:password]@]host[:port]")
	}
	if p.port != "" {
		if n, err := strconv.Atoi(p.port); err != nil || n < 1 || n > 65535 {
			return parsedURL{}, errors.New("proxy: the port of the proxy URL is out of range; use 1 to 65535")
		}
	}
	if u.User != nil {
		p.user = u.User.Username()
		p.pass, _ = u.User.Password()
	}
	return p, nil
}
