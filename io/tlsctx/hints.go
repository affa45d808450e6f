// SPDX-License-Identifier: Apache-2.0

package tlsctx

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"reflect"
	"slices"
	"strings"
)

// explain makes the error of a failed handshake.
func (c *Context) explain(serverName string, conn net.Conn, err error) *HandshakeError {
	e := &HandshakeError{ServerName: serverName, Err: err}
	if a := conn.RemoteAddr(); a != nil {
		e.Address = a.String()
	}
	e.Hint = printable(c.hint(serverName, err)) // quotes certificates
	return e
}

// hint says what to check after a failure.
func (c *Context) hint(serverName string, err error) string {
	if errors.Is(err, ErrSignerPending) {
		return "the signer of the client certificate has not answered: look into the log of the device or service that holds the key; a person who has to touch it needs a longer HandshakeTimeout"
	}
	if errors.Is(err, ErrHandshakeTimeout) {
		return "the server accepted the connection but did not finish the handshake in time: check that the port speaks TLS, and firewalls and proxies in between"
	}
	if a, ok := remoteAlert(err); ok {
		return c.alertHint(a)
	}
	var verify *tls.CertificateVerificationError
	if errors.As(err, &verify) && len(verify.UnverifiedCertificates) > 0 {
		return c.verifyHint(serverName, verify)
	}
	var record tls.RecordHeaderError
	if errors.As(err, &record) {
		switch first := bytes.TrimSpace(record.RecordHeader[:]); {
		case string(first) == "HTTP/":
			return "the server answered in plain HTTP: check the port"
		case bytes.HasPrefix(first, []byte("<")):
			return "a web page came in place of TLS: a portal or proxy in between answers instead of the server"
		}
		return "the server does not speak TLS on this port: check the port (1883 is MQTT without TLS)"
	}
	if errors.Is(err, io.EOF) || errors.Is(err, errReset) {
		return "the server closed the connection during the handshake: check host and port, whether the port has TLS, the server name (SNI), and the application protocol (ALPN)"
	}
	return ""
}

// verifyHint describes the certificate of the server and why it was not accepted.
func (c *Context) verifyHint(serverName string, v *tls.CertificateVerificationError) string {
	leaf := v.UnverifiedCertificates[0]
	top := v.UnverifiedCertificates[len(v.UnverifiedCertificates)-1]
	var unknown x509.UnknownAuthorityError
	var name x509.HostnameError
	var invalid x509.CertificateInvalidError
	switch {
	case errors.As(v.Err, &unknown):
		s := fmt.Sprintf("the certificate of the server, %s, has a chain that ends with issuer %q, which is not among %s: ",
			describe(leaf), top.Issuer.String(), c.roots.describe())
		if missing := c.roots.missing(top.RawIssuer); missing != "" {
			return s + missing
		}
		if c.roots == nil {
			return s + "give the CA of the server with CAFile or CAPEM"
		}
		return s + "give the CA that issued it with CAFile or CAPEM (a given CA replaces the system's; AddSystemCAs keeps both)"
	case errors.As(v.Err, &name):
		return fmt.Sprintf("the certificate of the server is for %s: check the endpoint, or set ServerName", validNames(leaf))
	case errors.As(v.Err, &invalid) && invalid.Reason == x509.Expired:
		cert := invalid.Cert
		if cert == nil {
			cert = leaf
		}
		return fmt.Sprintf("certificate %s is valid from %s to %s and the clock says %s: check the clock of this machine",
			describe(cert), utc(cert.NotBefore), utc(cert.NotAfter), utc(c.opts.Now()))
	case errors.As(v.Err, &invalid) && invalid.Reason == x509.IncompatibleUsage:
		return fmt.Sprintf("certificate %s was not issued for a server", describe(leaf))
	}
	return fmt.Sprintf("the certificate of the server is %s, issued by %q", describe(leaf), leaf.Issuer.String())
}

// validNames lists what a certificate may be used for.
func validNames(c *x509.Certificate) string {
	names := slices.Clone(c.DNSNames)
	for _, ip := range c.IPAddresses {
		names = append(names, ip.String())
	}
	const most = 8
	switch {
	case len(names) == 0:
		return "no name at all"
	case len(names) > most:
		return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
	}
	return strings.Join(names, ", ")
}

// The alerts that a client can do something about: RFC 8446 section 6.2, RFC
// 7301 section 3.2.
const (
	alertHandshakeFailure      tls.AlertError = 40
	alertBadCertificate        tls.AlertError = 42
	alertUnsupportedCert       tls.AlertError = 43
	alertCertificateRevoked    tls.AlertError = 44
	alertCertificateExpired    tls.AlertError = 45
	alertCertificateUnknown    tls.AlertError = 46
	alertUnknownCA             tls.AlertError = 48
	alertAccessDenied          tls.AlertError = 49
	alertDecryptError          tls.AlertError = 51
	alertProtocolVersion       tls.AlertError = 70
	alertInsufficientSecurity  tls.AlertError = 71
	alertUnrecognizedName      tls.AlertError = 112
	alertCertificateRequired   tls.AlertError = 116
	alertNoApplicationProtocol tls.AlertError = 120
)

func (c *Context) alertHint(a tls.AlertError) string {
	none := c.opts.Identity == nil
	switch a {
	case alertBadCertificate, alertCertificateRequired, alertHandshakeFailure:
		if none {
			return "the server wants a client certificate and none is configured: set Identity"
		}
		if a == alertHandshakeFailure {
			return "client and server have no version, cipher suite or key type in common, or the server refuses the client certificate: check MinVersion, CipherSuites, CurvePreferences and the certificate"
		}
		return "the server does not accept the client certificate: check that it is registered and active there, and that its chain is complete"
	case alertUnsupportedCert:
		return "the server does not accept this kind of client certificate: check the type and size of its key and its allowed usages"
	case alertCertificateRevoked:
		return "the server says that the client certificate has been revoked: issue a new one"
	case alertCertificateExpired:
		return "the server says that the client certificate has expired: issue a new one, and check the clocks of both sides"
	case alertCertificateUnknown:
		return "the server does not know the client certificate: check that it is registered and active there"
	case alertUnknownCA:
		return "the server does not know the CA of the client certificate: check that the certificate or its CA is registered there, and that the certificate file holds the intermediate CAs"
	case alertAccessDenied:
		return "the server knows the client certificate and refuses it: check what it is allowed to do"
	case alertDecryptError:
		return "the server could not verify the client's signature: the signer may not do what its key type asks for"
	case alertProtocolVersion:
		return fmt.Sprintf("the server speaks none of the offered versions: TLS 1.2 and 1.3 are supported, and MinVersion is %s, MaxVersion %s",
			versionName(c.opts.MinVersion, "TLS 1.2"), versionName(c.opts.MaxVersion, "TLS 1.3"))
	case alertInsufficientSecurity:
		return "the server wants stronger cipher suites or keys: check CipherSuites and CurvePreferences"
	case alertUnrecognizedName:
		return "the server does not know the name it was asked for (SNI): check the endpoint, or set ServerName"
	case alertNoApplicationProtocol:
		if len(c.opts.ALPN) == 0 {
			return "the server expects an application protocol: set ALPN"
		}
		return fmt.Sprintf("the server does not speak any of the offered application protocols (%s): check ALPN and the port", strings.Join(c.opts.ALPN, ", "))
	}
	return "the server refused the handshake"
}

func versionName(v uint16, zero string) string {
	if v == 0 {
		return zero
	}
	return tls.VersionName(v)
}

// remoteAlert returns the alert that the other side has sent, if that is what
// the error says. Over TCP crypto/tls reports it as an unexported type with the
// underlying type of [tls.AlertError].
func remoteAlert(err error) (tls.AlertError, bool) {
	var op *net.OpError
	if !errors.As(err, &op) || op.Op != "remote error" || op.Err == nil {
		return 0, false
	}
	v := reflect.ValueOf(op.Err)
	if v.Kind() != reflect.Uint8 {
		return 0, false
	}
	return tls.AlertError(v.Uint()), true
}
