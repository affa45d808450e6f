// SPDX-License-Identifier: Apache-2.0

package tlsctx

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"go.uber.org/zap"
)

// DefaultHandshakeTimeout bounds a handshake when [Options.HandshakeTimeout] is zero.
const DefaultHandshakeTimeout = 10 * time.Second

// defaultSessionCacheSize is the number of servers whose sessions one Context remembers.
const defaultSessionCacheSize = 64

// Options are the settings of a [Context]. The zero value is usable: no client
// certificate, the system's CAs, TLS 1.2 or newer, the cipher suites and key
// exchanges that crypto/tls prefers, session resumption on.
//
// Options are copied by [New] and not changed afterwards.
type Options struct {
	// Identity gives the client's certificate and key. Nil means that the
	// client has none and that the server must authenticate it in another way.
	Identity Identity

	// CAFile names a PEM file with the CA certificates to trust. It is read
	// again when it changes.
	//
	// As soon as any of CAFile, CADir, CAPEM, CAFunc and RootCAs is given, the
	// authorities found there are the only ones trusted: they replace the
	// system's, unless AddSystemCAs is set. Several of them add up. A
	// certificate among them that crypto/x509 cannot parse is passed over and
	// logged, and named by the error of a handshake that lacks it; a damaged
	// block is an error.
	CAFile string
	// CADir names a directory; every file in it that holds PEM certificates is
	// used. Files without any are passed over. Added, changed and removed files
	// are noticed at the next attempt.
	CADir string
	// CAPEM holds CA certificates in PEM form.
	CAPEM []byte
	// CAFunc is asked for CA certificates in PEM form at every attempt, with
	// the context of that attempt.
	CAFunc func(ctx context.Context) ([]byte, error)
	// RootCAs is a pool made by the caller. It must not be changed afterwards.
	RootCAs *x509.CertPool
	// AddSystemCAs trusts the system's CAs as well as the given ones. It
	// changes nothing when none are given, and cannot be used with RootCAs,
	// which may begin with [x509.SystemCertPool].
	AddSystemCAs bool

	// DangerouslyDisableServerVerification accepts any server: any certificate,
	// for any name, from anyone. Whoever can answer in the server's place then
	// reads and writes all traffic. For experiments on one machine only; a
	// server with a private CA wants CAFile instead.
	DangerouslyDisableServerVerification bool

	// ServerName overrides the name that is sent (SNI) and that the server's
	// certificate must be valid for. Empty means the host that was dialed.
	ServerName string
	// ALPN lists the application protocols to offer, the preferred one first.
	// Empty means none.
	ALPN []string

	// MinVersion is the lowest protocol version: [tls.VersionTLS12] or
	// [tls.VersionTLS13]. Zero means TLS 1.2.
	MinVersion uint16
	// MaxVersion is the highest protocol version. Zero means the highest there
	// is, TLS 1.3.
	MaxVersion uint16
	// CipherSuites restricts the cipher suites of TLS 1.2. Nil means those that
	// crypto/tls chooses. The suites of TLS 1.3 cannot be chosen. Suites that
	// [tls.InsecureCipherSuites] lists are refused here.
	CipherSuites []uint16
	// CurvePreferences restricts the key exchanges. Nil means those that
	// crypto/tls chooses, which begin with X25519MLKEM768, a hybrid that also
	// withstands a later quantum computer. [tls.CurveP256] alone is what some
	// old servers and small hardware want.
	CurvePreferences []tls.CurveID

	// HandshakeTimeout bounds one handshake, and before it the time that
	// Identity and CAFunc may take. Zero means [DefaultHandshakeTimeout],
	// negative means no limit but that of the context.
	HandshakeTimeout time.Duration
	// DisableSessionResumption makes every handshake a full one. By default the
	// sessions of the last 64 servers are kept and resumed, until the identity
	// or the trusted CAs change.
	DisableSessionResumption bool
	// DisableValidityCheck lets a client certificate be used that is expired or
	// not yet valid by the local clock; the server decides. It is meant for
	// devices that start without knowing the time. The certificate of the
	// server is still checked against the clock.
	DisableValidityCheck bool

	// Now is the clock that certificates are checked against. Nil means [time.Now].
	Now func() time.Time
	// KeyLogWriter receives the session secrets in NSS key log form, so that a
	// captured connection can be decrypted. That ends its secrecy: for
	// debugging only. Nil means that nothing is written.
	KeyLogWriter io.Writer
	// Configure may change the configuration of each attempt after everything
	// else has been set. Nil means no change.
	Configure func(*tls.Config)
	// Logger receives diagnostic messages about identities and sessions; never
	// keys or passwords. Nil means silence.
	Logger *zap.Logger
}

// validate reports all that is wrong with the options at once.
func (o *Options) validate() error {
	var errs []error
	bad := func(field, format string, args ...any) {
		errs = append(errs, fmt.Errorf("%w: %s %s", ErrInvalidOptions, field, fmt.Sprintf(format, args...)))
	}
	versions := []uint16{0, tls.VersionTLS12, tls.VersionTLS13}
	if !slices.Contains(versions, o.MinVersion) {
		bad("MinVersion", "is %s; TLS 1.2 and TLS 1.3 are supported", tls.VersionName(o.MinVersion))
	}
	if !slices.Contains(versions, o.MaxVersion) {
		bad("MaxVersion", "is %s; TLS 1.2 and TLS 1.3 are supported", tls.VersionName(o.MaxVersion))
	}
	if o.MaxVersion != 0 && o.MaxVersion < o.MinVersion {
		bad("MaxVersion", "%s is below MinVersion %s", tls.VersionName(o.MaxVersion), tls.VersionName(o.MinVersion))
	}
	for _, p := range o.ALPN {
		if len(p) == 0 || len(p) > 255 {
			bad("ALPN", "has a name of %d bytes; 1 to 255 are allowed", len(p))
		}
	}
	if o.CipherSuites != nil && len(o.CipherSuites) == 0 {
		bad("CipherSuites", "is empty; nil means the default")
	}
	if len(o.CipherSuites) > 0 && o.MinVersion == tls.VersionTLS13 {
		bad("CipherSuites", "has no effect with MinVersion TLS 1.3")
	}
	for _, id := range o.CipherSuites {
		o.validateSuite(id, bad)
	}
	if o.CurvePreferences != nil && len(o.CurvePreferences) == 0 {
		bad("CurvePreferences", "is empty; nil means the default")
	}
	if o.RootCAs != nil && o.AddSystemCAs {
		bad("AddSystemCAs", "cannot be added to RootCAs: begin RootCAs with x509.SystemCertPool instead")
	}
	if o.DangerouslyDisableServerVerification && o.hasRoots() {
		bad("DangerouslyDisableServerVerification", "contradicts the CA options; with a CA the server can be verified")
	}
	return errors.Join(errs...)
}

func (o *Options) validateSuite(id uint16, bad func(field, format string, args ...any)) {
	for _, s := range tls.CipherSuites() {
		if s.ID == id {
			if !slices.Contains(s.SupportedVersions, tls.VersionTLS12) {
				bad("CipherSuites", "has %s, which belongs to TLS 1.3 and cannot be chosen", s.Name)
			}
			return
		}
	}
	for _, s := range tls.InsecureCipherSuites() {
		if s.ID == id {
			bad("CipherSuites", "has %s, which is insecure; the Configure hook can set it", s.Name)
			return
		}
	}
	bad("CipherSuites", "has 0x%04x, which is not known", id)
}

// hasRoots reports whether any authority is given.
func (o *Options) hasRoots() bool {
	return o.CAFile != "" || o.CADir != "" || len(o.CAPEM) > 0 || o.CAFunc != nil || o.RootCAs != nil
}
