// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"errors"
	"net/http"
	"net/textproto"
	"net/url"
	"slices"
	"strings"

	"github.com/gocrt/aws-iot-device-sdk-go/http/internal/exchange"
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
	switch {
	case resp.status/100 == 3:
		return "this is not a proxy, perhaps a portal that wants a login: " + redirection(resp.header.Get("Location"))
	case resp.status == http.StatusNetworkAuthenticationRequired:
		return "this network wants a login first, on a page of its portal"
	}
	return ""
}

// What a proxy speaks in place of its protocol.
var (
	errSpeaksTLS    = malformed("it speaks TLS")
	errSpeaksHTTP   = malformed("it speaks HTTP")
	errSpeaksSOCKS5 = malformed("it speaks SOCKS5")
	errSpeaksSOCKS4 = malformed("it speaks SOCKS4")
)

// silentError means that a proxy ended the connection before it had answered
// anything.
type silentError struct{ error }

func (e silentError) Unwrap() error { return e.error }

// protocolHint says what to do about a proxy that does not speak the protocol
// that the options say.
func protocolHint(err error) string {
	switch {
	case errors.Is(err, errSpeaksTLS):
		return "this proxy wants TLS: use an https URL, or set TLS or TLSConfig"
	case errors.Is(err, errSpeaksHTTP):
		return "this is an HTTP proxy: use an http URL"
	case errors.Is(err, errSpeaksSOCKS5):
		return "this is a SOCKS5 proxy: use a socks5 URL"
	case errors.Is(err, errSpeaksSOCKS4):
		return "only SOCKS5 is supported: use another port or proxy"
	case errors.As(err, new(silentError)):
		return "it has not answered: check that host and port are those of the proxy, and whether it is one of HTTP (http), of HTTP over TLS (https) or SOCKS5 (socks5)"
	}
	return ""
}

// socksHint says what to do about a SOCKS5 proxy that opens no tunnel.
func (d *Dialer) socksHint(err error, reply SOCKSReply) string {
	switch {
	case errors.Is(err, ErrAuthentication) && !d.proxy.hasAuth:
		return "no credentials were given: put them into the URL (socks5://user:password@" + d.proxy.address() + ") or into Username and Password"
	case errors.Is(err, ErrAuthentication):
		return "the proxy does not accept these credentials: check the proxy's user name and password"
	case reply == socksNotAllowed:
		return "the proxy forbids this host or port: have it allowed there"
	case reply != 0 && reply <= socksTTLExpired:
		return "check that the proxy can reach the endpoint: the name of the host, and the network of the proxy"
	}
	return protocolHint(err)
}

// redirection says where a redirect leads, without what in a URL may be secret.
func redirection(location string) string {
	u, err := url.Parse(location)
	if err != nil || u.Host == "" {
		return "it redirects to a page of its own"
	}
	return "it redirects to " + exchange.Printable(u.Host)
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

// maxSchemes bounds the authentication schemes of a challenge that are looked
// at. The registry of them has about a dozen.
const maxSchemes = 16

// schemes returns the names of the authentication schemes that the challenge offers.
func (r *response) schemes() []string {
	var names []string
	for _, c := range r.header["Proxy-Authenticate"] {
		for part := range strings.SplitSeq(emptyQuoted(c), ",") {
			// A scheme is a first word that is not the name of a parameter.
			word, _, _ := strings.Cut(textproto.TrimString(part), " ")
			if word = exchange.Printable(word); word != "" && !strings.ContainsAny(word, "=\"") && !slices.Contains(names, word) {
				if names = append(names, word); len(names) == maxSchemes {
					return names
				}
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
