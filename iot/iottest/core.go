// SPDX-License-Identifier: Apache-2.0

package iottest

import (
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"sync"
	"time"
)

// Options configure a [Core]. The zero value is a core on free ports of
// 127.0.0.1 with the quotas of [Quotas].
type Options struct {
	// Dir is a folder that keeps the state of the core, so that a core started
	// with the same folder goes on where the last one ended. Empty keeps
	// nothing. One core at a time may use a folder.
	Dir string
	// CA signs the certificate of the server. It is made when there is none;
	// with Dir it stays the same.
	CA tls.Certificate
	// Region is the AWS region the core stands for, "us-east-1" when empty.
	Region string
	// AccountID is used in policy resources (ARNs), "123456789012" when empty.
	AccountID string
	// Addr is where the port that stands for 443 listens, "127.0.0.1:0" when empty.
	Addr string
	// MTLSAddr is where the port that stands for 8883 listens, "127.0.0.1:0" when empty.
	MTLSAddr string
	// PlainTCP opens a third port that speaks MQTT without TLS and lets
	// everybody in. AWS IoT Core has no such port; it is there for tests of the
	// layers above.
	PlainTCP bool
	// TCPAddr is where that port listens, "127.0.0.1:0" when empty.
	TCPAddr string
	// LateCertificateErrors lets unknown and expired certificates through the
	// TLS handshake and closes the connection when CONNECT arrives, as for
	// inactive ones. The service has been seen to do both.
	LateCertificateErrors bool
	// ServerNames are further DNS names and IP addresses for the server's certificate.
	ServerNames []string
	// Quotas are the limits of each connection.
	Quotas Quotas
	// DisableOutboundAliases keeps the core from using topic aliases towards
	// clients that allow them.
	DisableOutboundAliases bool
	// DisablePresence turns off the messages on $aws/events/presence/ and
	// $aws/events/subscriptions/.
	DisablePresence bool
	// MaxFrameBytes splits what is sent over WebSockets into frames of at most
	// this size, so that packets and frames do not begin together. Zero does
	// not split.
	MaxFrameBytes int
	// ConnectTimeout is how long a client may take for TLS handshake and
	// CONNECT, 30 s when zero.
	ConnectTimeout time.Duration
	// OnEvent is called for every event, one at a time and in order, on a
	// goroutine of the core. When it is far behind (32 MiB of events wait),
	// events are dropped, and an [EventsDropped] says how many.
	OnEvent func(Event)
	// Services configure the device services: shadow, jobs and the like.
	Services ServiceOptions
	// EventCapacity is how many events are kept for [Core.Events], the newest
	// ones, 65,536 when zero.
	EventCapacity int
	// EventBytes is how many bytes of events, payloads included, are kept for
	// it, 16 MiB when zero.
	EventBytes int
}

// Core is an embedded AWS IoT Core. Its methods may be used from any goroutine.
type Core struct {
	opts     Options
	quotas   Quotas
	endpoint string
	prefix   string
	rootCA   *authority
	deviceCA *authority
	server   tls.Certificate

	ports     []*port // 443, 8883 and perhaps 1883; the list does not change
	web       *http.Server
	webConns  *connListener
	wg        sync.WaitGroup
	handlers  taskQueue
	events    eventLog
	faults    faultState
	closeOnce sync.Once
	closeErr  error
	state     *state // nil without Options.Dir

	mu       sync.Mutex // guards all below and the state of sessions
	closed   bool
	offset   time.Duration
	devices  map[string]*Device
	raw      map[*faultConn]struct{}
	clients  map[*client]struct{}
	sessions map[string]*session
	exact    map[string]map[*session]*subscription // filters without wildcards
	wild     map[*session]map[string]*subscription
	shares   map[string]*shareGroup // by group and filter
	retained map[string]*stored

	retainedBytes int // of size, of all of them
	services      map[*service]struct{}
	connects      map[string]*bucket
	authorizers   map[string]*Authorizer
	defaultAuth   string
	keys          map[string]*AccessKey
	roleAliases   map[string]*RoleAlias
	ssoRoles      map[ssoName]*SSORole
	pools         map[string]*IdentityPool
	identities    map[string]string // identity to pool
	roles         map[string]*Role
	tokenKeys     map[string]*rsa.PrivateKey
	metadata      *Metadata
	versions      map[string]*presenceVersion
	nextConn      int64
	alarms        alarms
	device        deviceServices
}

// TB is the part of [testing.TB] that [Start] and [Core.Device] use.
type TB interface {
	Helper()
	Fatalf(format string, args ...any)
	Cleanup(func())
}

// Start starts a core for a test: it ends the test when that fails, and closes
// the core with the test. Functions may change the options.
func Start(tb TB, options ...func(*Options)) *Core {
	tb.Helper()
	var o Options
	for _, f := range options {
		f(&o)
	}
	c, err := New(o)
	if err != nil {
		tb.Fatalf("%v", err)
		return nil
	}
	tb.Cleanup(func() { _ = c.Close() })
	return c
}

// New starts a core. Close it after use.
func New(o Options) (*Core, error) {
	setDefault(&o.Region, "us-east-1")
	setDefault(&o.AccountID, "123456789012")
	setDefault(&o.Addr, "127.0.0.1:0")
	setDefault(&o.MTLSAddr, "127.0.0.1:0")
	setDefault(&o.TCPAddr, "127.0.0.1:0")
	setDefault(&o.ConnectTimeout, 30*time.Second)
	setDefault(&o.EventCapacity, 65536)
	setDefault(&o.EventBytes, 16<<20)
	c := &Core{
		opts: o, quotas: o.Quotas.withDefaults(), prefix: "a" + randomHex(6) + "z",
		devices: map[string]*Device{}, raw: map[*faultConn]struct{}{}, clients: map[*client]struct{}{},
		sessions: map[string]*session{}, exact: map[string]map[*session]*subscription{},
		wild: map[*session]map[string]*subscription{}, shares: map[string]*shareGroup{},
		retained: map[string]*stored{}, services: map[*service]struct{}{}, connects: map[string]*bucket{},
		authorizers: map[string]*Authorizer{}, keys: map[string]*AccessKey{},
		roleAliases: map[string]*RoleAlias{}, ssoRoles: map[ssoName]*SSORole{}, pools: map[string]*IdentityPool{}, identities: map[string]string{},
		roles: map[string]*Role{}, versions: map[string]*presenceVersion{}, tokenKeys: map[string]*rsa.PrivateKey{},
	}
	c.events.init(o.EventCapacity, o.EventBytes)
	c.handlers.init()
	c.device.init(o.Services)
	if o.Dir != "" {
		var err error
		if c.state, err = openState(o.Dir); err != nil {
			return nil, err
		}
	}
	if err := c.open(); err != nil {
		return nil, errors.Join(err, c.state.close())
	}
	c.handlers.start(&c.wg)
	c.webConns = newConnListener(c.ports[0].ln.Addr())
	c.web = &http.Server{
		Handler:           http.HandlerFunc(c.serveHTTP),
		ConnContext:       withTransport,
		ReadHeaderTimeout: o.ConnectTimeout,
		ReadTimeout:       o.ConnectTimeout,
		WriteTimeout:      2 * o.ConnectTimeout, // counts from the end of the header
		IdleTimeout:       httpIdle,
		ErrorLog:          log.New(io.Discard, "", 0),
	}
	c.wg.Go(func() { _ = c.web.Serve(c.webConns) })
	for _, p := range c.ports {
		c.accept(p.ln, p.service)
	}
	return c, nil
}

// open restores what was kept, makes the server's certificate and opens the ports.
func (c *Core) open() error {
	o, now := &c.opts, time.Now()
	if err := c.loadIdentity(now); err != nil {
		return err
	}
	c.endpoint = c.prefix + "-ats.iot." + o.Region + ".amazonaws.com"
	if err := c.restore(); err != nil {
		return err
	}
	if err := c.loadServices(); err != nil {
		return err
	}
	names := append([]string{c.endpoint, "localhost", "127.0.0.1", "::1", c.CredentialsEndpoint(),
		"*.iot." + o.Region + ".amazonaws.com", "*.credentials.iot." + o.Region + ".amazonaws.com",
		"*." + o.Region + ".amazonaws.com", "portal.sso." + o.Region + ".amazonaws.com", "sts.amazonaws.com"}, o.ServerNames...)
	var err error
	if c.server, err = c.rootCA.serverCertificate(names, now); err != nil {
		return err
	}
	c.ports = []*port{{service: portHTTPS, addr: o.Addr}, {service: portMTLS, addr: o.MTLSAddr}}
	if o.PlainTCP {
		c.ports = append(c.ports, &port{service: portPlain, addr: o.TCPAddr})
	}
	return c.openPorts()
}

// Close says goodbye to MQTT 5 clients (DISCONNECT 0x8B), closes all
// connections and ports, and waits until all goroutines of the core have ended.
// A callback of the core must not call it.
func (c *Core) Close() error {
	c.closeOnce.Do(func() {
		c.mu.Lock()
		c.closed = true
		c.closePorts()
		c.armAlarms()
		c.device.stop()
		for cl := range c.clients {
			if cl.session != nil {
				cl.sendDisconnect(ServerShuttingDown, "")
			}
			cl.finish()
		}
		raw := make([]*faultConn, 0, len(c.raw))
		for rc := range c.raw {
			raw = append(raw, rc)
		}
		for _, s := range c.sessions {
			s.stopReplay()
		}
		c.mu.Unlock()
		for _, rc := range raw {
			rc.Thaw()
			// An owned connection is closed by its client after a last packet,
			// but nobody waits for a slow one.
			if slow := rc.delay.Swap(0) > 0; slow || !rc.owned.Load() {
				_ = rc.Close()
			}
		}
		_ = c.web.Close()
		if c.metadata != nil {
			_ = c.metadata.server.Close()
		}
		c.handlers.close()
		c.wg.Wait()
		c.closeErr = c.state.close()
	})
	return c.closeErr
}

// Endpoint is the host name the core stands for, like
// "xxxx-ats.iot.us-east-1.amazonaws.com". The server's certificate is valid for
// it, and for localhost and 127.0.0.1. It does not resolve: connect through
// [Core.DialContext].
func (c *Core) Endpoint() string { return c.endpoint }

// CredentialsEndpoint is the host name of the credentials provider for devices.
func (c *Core) CredentialsEndpoint() string {
	return c.prefix + ".credentials.iot." + c.opts.Region + ".amazonaws.com"
}

// Region is the AWS region the core stands for.
func (c *Core) Region() string { return c.opts.Region }

// CAPEM is the root certificate of the server, in PEM.
func (c *Core) CAPEM() []byte { return append([]byte(nil), c.rootCA.pem...) }

// CAPool is a pool with that certificate alone.
func (c *Core) CAPool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(c.rootCA.cert)
	return pool
}

// WriteCA writes the root certificate to a file.
func (c *Core) WriteCA(path string) error {
	if err := os.WriteFile(path, c.rootCA.pem, 0o644); err != nil {
		return fmt.Errorf("iottest: %w", err)
	}
	return nil
}

// TLSConfig is a client configuration that trusts the core alone, offers the
// ALPN protocols and names the endpoint.
func (c *Core) TLSConfig(alpn ...string) *tls.Config {
	return &tls.Config{RootCAs: c.CAPool(), ServerName: c.endpoint, NextProtos: alpn, MinVersion: tls.VersionTLS12}
}

// Now is the core's clock: the system's plus what [Core.Advance] added.
func (c *Core) Now() time.Time { return c.now() }

func (c *Core) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.nowLocked()
}

func (c *Core) nowLocked() time.Time { return time.Now().Add(c.offset) }

// Advance moves the core's clock by d, forwards or backwards. The clock decides
// on the validity of certificates, signatures and credentials and on the expiry
// of sessions and messages; and clients that have been silent for too long on
// this clock, or have been connected for longer than their authentication
// holds, are disconnected at once. A skewed clock is how tests provoke errors
// of signing times.
func (c *Core) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.offset += d
	c.runAlarms()
	now := c.nowLocked()
	for cl := range c.clients {
		if cl.session != nil && cl.silentSince(now) > cl.patience() {
			cl.endLocked(KeepAliveTimeout, "", "")
		}
	}
}
