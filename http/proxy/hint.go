// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"net/http"
	"net/textproto"
	"net/url"
	"slices"
	"strings"
)

// hint says what to do about an answer that opens no tunnel.
func (d *Dialer) hint(resp *response) string {
	switch resp.status {
	case http.StatusProxyAuthRequired, http.StatusUnauthorized:
		return d.authenticationHint(resp)
	case http.StatusForbidden:
		return "the proxy forbids this host or port: have it allowed there"
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return "check that the proxy can reach the endpoint: the name of the host, and the network of the proxy"
	case http.StatusBadRequest, http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusNotImplemented, http.StatusSwitchingProtocols:
		return "this is probably a web server and not a proxy: it does not open tunnels (CONNECT); check host and port of the proxy"
	}
	if resp.status/100 == 3 {
		return "this is not a proxy, perhaps a portal that wants a login: " + redirection(resp.header.Get("Location"))
	}
	return ""
}

// redirection says where a redirect leads, without what in a URL may be secret.
func redirection(location string) string {
	u, err := url.Parse(location)
	if err != nil || u.Host == "" {
		return "it redirects to a page of its own"
	}
	return "it redirects to " + printable(u.Host)
}

// authenticationHint distinguishes a proxy that was given no credentials from
// one that rejects them.
func (d *Dialer) authenticationHint(resp *response) string {
	schemes := resp.schemes()
	switch {
	case d.opts.ConnectHeader != nil && !d.proxy.hasAuth:
		return "the proxy does not accept what ConnectHeader returns"
	case !resp.offers("basic"):
		return "the proxy does not offer Basic, only " + strings.Join(schemes, ", ") + ": give the Proxy-Authorization of such a scheme with the callback ConnectHeader"
	case !d.proxy.hasAuth:
		return "no credentials were given: put them into the URL (http://user:password@" + d.proxy.address() + ") or into Username and Password"
	}
	return "the proxy does not accept these credentials: check the proxy's user name and password"
}

// schemes returns the names of the authentication schemes that the challenge offers.
func (r *response) schemes() []string {
	var names []string
	for _, c := range r.header["Proxy-Authenticate"] {
		for part := range strings.SplitSeq(emptyQuoted(c), ",") {
			// A scheme is a first word that is not the name of a parameter.
			word, _, _ := strings.Cut(textproto.TrimString(part), " ")
			if word = printable(word); word != "" && !strings.ContainsAny(word, "=\"") && !slices.Contains(names, word) {
				names = append(names, word)
			}
		}
	}
	return names
}

// emptyQuoted returns s with empty quoted strings (RFC 9110): those of s may hold commas.
func emptyQuoted(s string) string {
	var out strings.Builder
	inside := false
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '"':
			inside = !inside
			out.WriteByte('"')
		case inside && s[i] == '\\':
			i++
		case !inside:
			out.WriteByte(s[i])
		}
	}
	return out.String()
}
