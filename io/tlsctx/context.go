// SPDX-License-Identifier: Apache-2.0

package tlsctx

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"
)

// Context makes the TLS configuration of every attempt. It is safe for
// concurrent use, and one Context may serve many clients. It holds no goroutine
// and needs no closing.
type Context struct {
	opts    Options
	log     *zap.Logger
	timeout time.Duration
	roots   *roots // nil: the system's

	mu       sync.Mutex
	loaded   bool        // material is set
	material material    // of the last attempt
	shared   *tls.Config // made of that material, or nil
}

// material is what one attempt uses. Its parts are shared and read only.
type material struct {
	cert *tls.Certificate // nil: none
	pool *x509.CertPool   // nil: the system's
	// sessions belong to one identity and one set of authorities: a session
	// that is resumed is a session in which the server has accepted the old
	// certificate.
	sessions tls.ClientSessionCache
}

// New checks the options and, as far as they name files or hold bytes, the
// material itself: that the files are there, that certificate and key belong
// together, that the certificate is valid now, that the CAs can be read.
// Callbacks and identities of other packages are first asked at the first
// attempt.
//
// Errors wrap [ErrInvalidOptions] or are of type [*Error]; several are joined,
// one for each file that is missing.
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
	var problems []error
	var err error
	if c.roots, err = newRoots(&c.opts, c.log); err != nil {
		problems = append(problems, err)
	} else if c.roots != nil && c.opts.CAFunc == nil {
		if _, err := c.roots.build(nil, authorities{}); err != nil {
			problems = append(problems, err)
		}
	}
	if _, ok := opts.Identity.(eager); ok {
		if _, err := c.identity(context.Background()); err != nil {
			problems = append(problems, err)
		}
	}
	switch len(problems) {
	case 0:
	case 1:
		return nil, problems[0]
	default:
		return nil, errors.Join(problems...)
	}
	if opts.DangerouslyDisableServerVerification {
		c.log.Warn("server verification is off: the connection is open to anyone in between")
	}
	return c, nil
}

// Config returns the configuration of one attempt to reach the server of that
// name, a host without a port. [Options.ServerName] overrides it. Files that
// have changed are read again, callbacks are called. The configuration belongs
// to the caller, who may change it; it should not be kept for later attempts,
// as it does not see rotations.
func (c *Context) Config(ctx context.Context, serverName string) (*tls.Config, error) {
	serverName, err := c.serverName(serverName)
	if err != nil {
		return nil, err
	}
	m, err := c.load(ctx)
	if err != nil {
		return nil, err
	}
	return c.build(m, serverName)
}

// config is Config for use inside: where no hook may change it, the
// configuration is shared between connections.
func (c *Context) config(ctx context.Context, serverName string) (*tls.Config, error) {
	if c.opts.Configure != nil {
		return c.Config(ctx, serverName)
	}
	serverName, err := c.serverName(serverName)
	if err != nil {
		return nil, err
	}
	m, err := c.load(ctx)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.shared != nil && c.shared.ServerName == serverName && c.material == m {
		return c.shared, nil
	}
	cfg, err := c.build(m, serverName)
	if err == nil && c.material == m {
		c.shared = cfg
	}
	return cfg, err
}

// Expiry returns when the client certificate of the last attempt expires; the
// zero time if it had none.
func (c *Context) Expiry() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.material.cert == nil {
		return time.Time{}
	}
	return c.material.cert.Leaf.NotAfter
}

// NextExpiry asks the identity and returns when the certificate that the next
// attempt would use expires; the zero time if there is no identity. It changes
// nothing, so that [Context.Expiry] stays what it was.
func (c *Context) NextExpiry(ctx context.Context) (time.Time, error) {
	if c.opts.Identity == nil {
		return time.Time{}, nil
	}
	cert, err := c.identity(ctx)
	if err != nil {
		return time.Time{}, err
	}
	return cert.Leaf.NotAfter, nil
}

func (c *Context) serverName(host string) (string, error) {
	if c.opts.ServerName != "" {
		host = c.opts.ServerName
	}
	host = cleanName(host)
	if host == "" && !c.opts.DangerouslyDisableServerVerification {
		return "", &Error{Err: ErrNoServerName, Hint: "give the host to Config or set Options.ServerName"}
	}
	return host, nil
}

func (c *Context) build(m material, serverName string) (*tls.Config, error) {
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
		// MQTT packets are small and their receiver waits for all of one:
		// records that grow with the connection's age only split them.
		DynamicRecordSizingDisabled: true,
	}
	if cfg.MinVersion == 0 {
		cfg.MinVersion = tls.VersionTLS12
	}
	if cert := m.cert; cert != nil {
		// Not Certificates: crypto/tls would then keep the certificate back
		// from a server that names other authorities than its issuer, as
		// servers with certificates registered one by one do.
		cfg.GetClientCertificate = func(request *tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return signWithin(request.Context(), cert), nil
		}
	}
	if c.opts.Configure != nil {
		if err := c.configure(cfg); err != nil {
			return nil, err
		}
	}
	return cfg, nil
}

func (c *Context) configure(cfg *tls.Config) (err error) {
	defer recovered("Options.Configure", &err)
	c.opts.Configure(cfg)
	return nil
}

// Client performs the handshake over a connection to the server of that name
// and returns the secured connection. The connection is closed if anything
// fails, or if ctx ends before the handshake does; after that ctx has no
// effect. Errors are of type [*Error] when the material could not be had, else
// [*HandshakeError].
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
	cfg, err := c.config(ctx, serverName)
	if err != nil && context.Cause(ctx) == ErrHandshakeTimeout && !errors.Is(err, ErrHandshakeTimeout) {
		err = &Error{Object: identityName(c.opts.Identity), Err: &caused{cause: ErrHandshakeTimeout, err: err},
			Hint: "the certificate or the CA was not there in time"}
	}
	return cfg, err
}

func (c *Context) handshake(ctx context.Context, conn net.Conn, cfg *tls.Config) (*tls.Conn, error) {
	ctx, cancel := c.limit(ctx)
	defer cancel()
	var state signing
	tc := tls.Client(conn, cfg)
	err := tc.HandshakeContext(context.WithValue(ctx, signingKey{}, &state))
	if err == nil {
		return tc, nil
	}
	conn.Close()
	if ctx.Err() != nil {
		if state.Load() {
			err = ErrSignerPending
		}
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
	c.mu.Lock()
	defer c.mu.Unlock()
	last, first := c.material, !c.loaded
	m.sessions = last.sessions
	if !first && sameCertificate(last.cert, m.cert) && last.pool == m.pool {
		// A certificate that was parsed again is no other identity.
		if c.material != m {
			c.material, c.shared = m, nil
		}
		return m, nil
	}
	if !c.opts.DisableSessionResumption {
		m.sessions = tls.NewLRUClientSessionCache(defaultSessionCacheSize)
	}
	c.material, c.shared, c.loaded = m, nil, true
	if ce := c.log.Check(zap.InfoLevel, "using new client certificate or CA"); ce != nil && !first {
		fields := []zap.Field{zap.Bool("ca changed", last.pool != m.pool)}
		if m.cert != nil {
			fields = append(fields, zap.String("subject", m.cert.Leaf.Subject.String()), zap.Time("not after", m.cert.Leaf.NotAfter))
		}
		ce.Write(fields...)
	}
	return m, nil
}

// identity asks the identity and checks its answer.
func (c *Context) identity(ctx context.Context) (*tls.Certificate, error) {
	name := identityName(c.opts.Identity)
	cert, err := ask(ctx, c.opts.Identity)
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

// ask keeps a panic of the caller's code from ending the process.
func ask(ctx context.Context, id Identity) (cert *tls.Certificate, err error) {
	defer recovered("Identity", &err)
	return id.Certificate(ctx)
}

// recovered turns a panic into an error.
func recovered(where string, err *error) {
	if p := recover(); p != nil {
		*err = &Error{Object: where, Err: fmt.Errorf("it panicked: %v", p)}
	}
}

func sameCertificate(a, b *tls.Certificate) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a == b || bytes.Equal(a.Certificate[0], b.Certificate[0])
}

// cleanName removes what is part of a host in an address but not of a name in a
// certificate: the final dot, and the zone of an IPv6 address.
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
