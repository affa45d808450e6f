// SPDX-License-Identifier: Apache-2.0

package tlsctx

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"
)

// Context makes the TLS configuration of every attempt. It is safe for concurrent use, and one Context may serve many
// clients. It holds no goroutine and needs no closing.
type Context struct {
	opts    Options
	log     *zap.Logger
	timeout time.Duration
	roots   *roots // nil: the system's

	mu       sync.Mutex
	material material
}

// material is what one attempt uses. Its parts are shared and read only.
type material struct {
	cert *tls.Certificate // nil: none
	pool *x509.CertPool   // nil: the system's
	// sessions belong to one identity and one set of authorities: a session that is resumed is a session in which the
	// server has accepted the old certificate.
	sessions tls.ClientSessionCache
}

// New checks the options and, as far as they name files or hold bytes, the material itself: that the files are there,
// that certificate and key belong together, that the certificate is valid now, that the CAs can be read. Callbacks and
// identities of other packages are first asked at the first attempt.
//
// Errors wrap [ErrInvalidOptions] or are of type [*Error].
func New(opts Options) (*Context, error) {
	if err := opts.validate(); err != nil {
		return nil, prefixed{err}
	}
	c := &Context{opts: opts, log: opts.Logger, timeout: opts.HandshakeTimeout}
	c.opts.ALPN = slices.Clone(opts.ALPN)
	c.opts.CipherSuites = slices.Clone(opts.CipherSuites)
	c.opts.CurvePreferences = slices.Clone(opts.CurvePreferences)
	c.opts.CAPEM = bytes.Clone(opts.CAPEM)
	if c.log == nil {
		c.log = zap.NewNop()
	}
	if c.timeout == 0 {
		c.timeout = DefaultHandshakeTimeout
	}
	if c.opts.Now == nil {
		c.opts.Now = time.Now
	}
	var err error
	if c.roots, err = newRoots(&c.opts); err != nil {
		return nil, err
	}
	if c.roots != nil && c.opts.CAFunc == nil {
		if _, err := c.roots.build(nil, nil); err != nil {
			return nil, err
		}
	}
	if _, ok := opts.Identity.(eager); ok {
		if _, err := c.identity(context.Background()); err != nil {
			return nil, err
		}
	}
	if opts.DangerouslyDisableServerVerification {
		c.log.Warn("server verification is off: the connection is open to anyone in between")
	}
	return c, nil
}

// Config returns the configuration of one attempt to reach the server of that name, a host without a port.
// [Options.ServerName] overrides it. Files that have changed are read again, callbacks are called. The configuration
// belongs to the caller, who may change it; it should not be kept for later attempts, as it does not see rotations.
func (c *Context) Config(ctx context.Context, serverName string) (*tls.Config, error) {
	if c.opts.ServerName != "" {
		serverName = c.opts.ServerName
	}
	serverName = cleanName(serverName)
	if serverName == "" && !c.opts.DangerouslyDisableServerVerification {
		return nil, &Error{Err: ErrNoServerName, Hint: "give the host to Config or set Options.ServerName"}
	}
	m, err := c.load(ctx)
	if err != nil {
		return nil, err
	}
	cfg := &tls.Config{
		ServerName:         serverName,
		RootCAs:            m.pool,
		InsecureSkipVerify: c.opts.DangerouslyDisableServerVerification,
		NextProtos:         slices.Clone(c.opts.ALPN),
		MinVersion:         c.opts.MinVersion,
		MaxVersion:         c.opts.MaxVersion,
		CipherSuites:       slices.Clone(c.opts.CipherSuites),
		CurvePreferences:   slices.Clone(c.opts.CurvePreferences),
		ClientSessionCache: m.sessions,
		Time:               c.opts.Now,
		KeyLogWriter:       c.opts.KeyLogWriter,
		// MQTT packets are small and their receiver waits for all of one: records that grow with the connection's age
		// only split them.
		DynamicRecordSizingDisabled: true,
	}
	if cfg.MinVersion == 0 {
		cfg.MinVersion = tls.VersionTLS12
	}
	if cert := m.cert; cert != nil {
		// Not Certificates: crypto/tls would then keep the certificate back from a server that names other authorities
		// than its issuer, as servers with certificates registered one by one do.
		cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return cert, nil }
	}
	if c.opts.Configure != nil {
		c.opts.Configure(cfg)
	}
	return cfg, nil
}

// Client performs the handshake over a connection to the server of that name and returns the secured connection. The
// connection is closed if anything fails, or if ctx ends before the handshake does; after that ctx has no effect.
// Errors are of type [*Error] when the material could not be had, else [*HandshakeError].
func (c *Context) Client(ctx context.Context, conn net.Conn, serverName string) (*tls.Conn, error) {
	cfg, err := c.prepare(ctx, serverName)
	if err != nil {
		conn.Close()
		return nil, err
	}
	return c.handshake(ctx, conn, cfg)
}

// prepare is Config within the time limit.
func (c *Context) prepare(ctx context.Context, serverName string) (*tls.Config, error) {
	ctx, cancel := c.limit(ctx)
	defer cancel()
	cfg, err := c.Config(ctx, serverName)
	if err != nil && context.Cause(ctx) == ErrHandshakeTimeout && !errors.Is(err, ErrHandshakeTimeout) {
		err = &Error{Object: identityName(c.opts.Identity), Err: errors.Join(ErrHandshakeTimeout, err),
			Hint: "the certificate or the CA was not there in time"}
	}
	return cfg, err
}

func (c *Context) handshake(ctx context.Context, conn net.Conn, cfg *tls.Config) (*tls.Conn, error) {
	ctx, cancel := c.limit(ctx)
	defer cancel()
	tc := tls.Client(conn, cfg)
	err := tc.HandshakeContext(ctx)
	if err == nil {
		return tc, nil
	}
	conn.Close()
	if ctx.Err() != nil {
		if cause := context.Cause(ctx); !errors.Is(err, cause) {
			err = &caused{cause: cause, err: err}
		}
	}
	return nil, c.explain(cfg.ServerName, conn, err)
}

func (c *Context) limit(ctx context.Context) (context.Context, context.CancelFunc) {
	if c.timeout < 0 {
		return ctx, func() {}
	}
	return context.WithTimeoutCause(ctx, c.timeout, ErrHandshakeTimeout)
}

// load asks all sources. It holds no lock while it calls out.
func (c *Context) load(ctx context.Context) (material, error) {
	var m material
	var err error
	if c.opts.Identity != nil {
		if m.cert, err = c.identity(ctx); err != nil {
			return m, err
		}
	}
	if c.roots != nil {
		if m.pool, err = c.roots.load(ctx); err != nil {
			return m, err
		}
	}
	if c.opts.DisableSessionResumption {
		return m, nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.material.sessions == nil || !sameCertificate(c.material.cert, m.cert) || c.material.pool != m.pool {
		if c.material.sessions != nil {
			c.log.Info("client certificate or CA changed: new sessions from here on")
		}
		c.material = m
		c.material.sessions = tls.NewLRUClientSessionCache(defaultSessionCacheSize)
	}
	m.sessions = c.material.sessions
	return m, nil
}

// identity asks the identity and checks its answer.
func (c *Context) identity(ctx context.Context) (*tls.Certificate, error) {
	name := identityName(c.opts.Identity)
	cert, err := c.opts.Identity.Certificate(ctx)
	if err != nil {
		return nil, asError(name, err)
	}
	if cert, err = complete(name, cert); err != nil {
		return nil, err
	}
	if !c.opts.DisableValidityCheck {
		if err := checkValidity(name, cert.Leaf, c.opts.Now()); err != nil {
			return nil, err
		}
	}
	return cert, nil
}

func sameCertificate(a, b *tls.Certificate) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a == b || bytes.Equal(a.Certificate[0], b.Certificate[0])
}

// cleanName removes what is part of a host in an address but not of a name in a certificate: the final dot, and the zone
// of an IPv6 address.
func cleanName(host string) string {
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	if ip, _, ok := strings.Cut(host, "%"); ok && strings.Contains(ip, ":") {
		host = ip
	}
	return strings.TrimSuffix(host, ".")
}

// prefixed adds the name of the package to an error.
type prefixed struct{ error }

func (p prefixed) Error() string { return "tlsctx: " + p.error.Error() }
func (p prefixed) Unwrap() error { return p.error }

// caused is an error whose reason is the end of a context.
type caused struct{ cause, err error }

func (e *caused) Error() string   { return e.cause.Error() }
func (e *caused) Unwrap() []error { return []error{e.cause, e.err} }
