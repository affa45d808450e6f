// SPDX-License-Identifier: Apache-2.0

package socket

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// Defaults of [Dialer].
const (
	DefaultConnectTimeout = 10 * time.Second
	DefaultResolveTimeout = 10 * time.Second
	DefaultAttemptDelay   = 250 * time.Millisecond
)

// Family selects the addresses that a [Dialer] uses.
type Family uint8

const (
	AnyFamily Family = iota // IPv6 and IPv4; the default
	IPv4                    // IPv4 only
	IPv6                    // IPv6 only
)

// String returns the name of the family.
func (f Family) String() string {
	switch f {
	case AnyFamily:
		return "any"
	case IPv4:
		return "IPv4"
	case IPv6:
		return "IPv6"
	}
	return fmt.Sprintf("Family(%d)", uint8(f))
}

// KeepAlive is how TCP finds out that the peer is gone while the connection is
// idle. It is off by default: MQTT has a keep-alive of its own. Times are
// rounded up to whole seconds.
type KeepAlive struct {
	// Enable turns keep-alive probes on. The other fields count only then.
	Enable bool

	// Idle is how long the connection is idle before the first probe. Zero
	// leaves it to the system, on Linux two hours.
	Idle time.Duration

	// Interval is the time between two probes. Zero leaves it to the system, on
	// Linux 75 seconds.
	Interval time.Duration

	// Probes is how many probes go unanswered before the connection is dropped.
	// Zero leaves it to the system, on Linux 9.
	Probes int
}

// Dialer opens connections. The zero value is usable and has the defaults that
// are documented with the fields. Fields must not be changed, nor the Dialer be
// copied, after the first use. It may be used by several goroutines at a time.
type Dialer struct {
	// ConnectTimeout bounds the TCP stage: from the first attempt to connect
	// until one of the addresses has answered. Zero means
	// [DefaultConnectTimeout]. For a longer or shorter bound on everything use
	// the context.
	ConnectTimeout time.Duration

	// ResolveTimeout bounds the DNS stage: how long to wait for the first
	// usable address. Zero means [DefaultResolveTimeout].
	ResolveTimeout time.Duration

	// AttemptDelay is how long an attempt to connect has to itself before the
	// next address is tried beside it, the Connection Attempt Delay of RFC
	// 8305. Zero means [DefaultAttemptDelay]; less than 10 ms is not allowed.
	AttemptDelay time.Duration

	// Family restricts the addresses. The networks "tcp4" and "tcp6" do so for one call.
	Family Family

	// LocalAddress is the address to connect from; its family restricts the
	// addresses as Family does. The zero value leaves it to the system.
	LocalAddress netip.Addr

	// Interface is the name of the network interface to use, whatever the
	// routing table says: SO_BINDTODEVICE on Linux, IP_BOUND_IF on macOS and
	// iOS, elsewhere [ErrUnsupported]. Empty leaves it to the system.
	Interface string

	// KeepAlive configures TCP keep-alive probes. Off by default.
	KeepAlive KeepAlive

	// UserTimeout is how long sent data may stay unacknowledged before the
	// connection is dropped, TCP_USER_TIMEOUT on Linux; elsewhere
	// [ErrUnsupported]. It is rounded up to milliseconds. Zero leaves it to the
	// system, on Linux about 15 minutes.
	UserTimeout time.Duration

	// DisableNoDelay turns Nagle's algorithm on, which delays small writes to
	// gather them. By default it is off (TCP_NODELAY), since clients gather
	// writes themselves.
	DisableNoDelay bool

	// SendBuffer and ReceiveBuffer are the sizes of the socket's buffers in
	// bytes (SO_SNDBUF, SO_RCVBUF), set before connecting. The system may round
	// and bound them; Linux doubles them. Zero leaves them to the system, which
	// usually tunes them by itself.
	SendBuffer    int
	ReceiveBuffer int

	// Resolver finds the addresses of host names. Nil means
	// [net.DefaultResolver]. Unless it is a [*ResolverCache], which several
	// dialers may share, the Dialer puts a cache with default options in front
	// of it.
	Resolver Resolver

	// Control, if not nil, is called with every socket after the options were
	// set and before it connects, as [net.Dialer.Control] is.
	Control func(network, address string, c syscall.RawConn) error

	connect connectFunc // tests replace it

	once  sync.Once
	cache *ResolverCache
}

// connectFunc connects to one address. The network is tcp4, tcp6 or unix.
type connectFunc func(ctx context.Context, network, address string) (net.Conn, error)

// DialContext connects to the address on the network, which is one of "tcp",
// "tcp4", "tcp6" and "unix". A TCP address is "host:port" where host is a name
// or a literal IP address, in square brackets if it is IPv6, and port a number
// or the name of a service; a Unix address is the path of the socket. The
// connection is a [*net.TCPConn] or [*net.UnixConn].
//
// When ctx ends before there is a connection, everything begun is abandoned and
// closed. Once there is a connection, ctx has no effect on it.
//
// Errors are of type [*ResolveError] or [*ConnectError], or wrap
// [ErrInvalidOptions] or [ErrInvalidAddress]; see the package documentation.
func (d *Dialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	if err := d.Validate(); err != nil {
		return nil, err
	}
	family := d.Family
	if d.LocalAddress.IsValid() {
		family = familyOf(d.LocalAddress)
	}
	switch network {
	case "tcp":
	case "tcp4":
		if family == IPv6 {
			return nil, invalidAddress(network, address, "the dialer is restricted to IPv6")
		}
		family = IPv4
	case "tcp6":
		if family == IPv4 {
			return nil, invalidAddress(network, address, "the dialer is restricted to IPv4")
		}
		family = IPv6
	case "unix":
		return d.dialUnix(ctx, address)
	default:
		return nil, invalidAddress(network, address, "unknown network")
	}

	host, service, err := net.SplitHostPort(address)
	if err != nil {
		return nil, invalidAddress(network, address, "want host:port")
	}
	if host == "" {
		return nil, invalidAddress(network, address, "missing host")
	}
	port, err := lookupPort(ctx, service)
	if err != nil {
		return nil, invalidAddress(network, address, fmt.Sprintf("unknown port %q", service))
	}
	r := &race{
		dialer:  d,
		ctx:     ctx,
		network: network,
		address: address,
		host:    host,
		port:    port,
		family:  family,
		cache:   d.resolver(),
		connect: d.connect,
	}
	if r.connect == nil {
		r.connect = d.connectOne
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return r.run()
	}
	ip = ip.Unmap()
	if family != AnyFamily && family != familyOf(ip) {
		return nil, invalidAddress(network, address, "not an "+family.String()+" address")
	}
	return r.runLiteral(ip)
}

// resolver returns the cache to ask.
func (d *Dialer) resolver() *ResolverCache {
	d.once.Do(func() {
		if c, ok := d.Resolver.(*ResolverCache); ok && c != nil {
			d.cache = c
		} else {
			d.cache = NewResolverCache(CacheOptions{Resolver: d.Resolver})
		}
	})
	return d.cache
}

func lookupPort(ctx context.Context, service string) (uint16, error) {
	if n, err := strconv.ParseUint(service, 10, 16); err == nil && n != 0 {
		return uint16(n), nil
	}
	n, err := net.DefaultResolver.LookupPort(ctx, "tcp", service)
	if err == nil && n == 0 {
		err = strconv.ErrRange
	}
	return uint16(n), err
}

func familyOf(a netip.Addr) Family {
	if a.Unmap().Is4() {
		return IPv4
	}
	return IPv6
}

// connectOne connects to one TCP address.
func (d *Dialer) connectOne(ctx context.Context, network, address string) (net.Conn, error) {
	nd := net.Dialer{KeepAlive: -1}
	if d.SendBuffer > 0 || d.ReceiveBuffer > 0 || d.UserTimeout > 0 || d.Interface != "" || d.Control != nil {
		nd.Control = d.control
	}
	if d.LocalAddress.IsValid() {
		nd.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(d.LocalAddress, 0))
	}
	conn, err := nd.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	if err := d.tune(conn.(*net.TCPConn)); err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

// tune sets the options for which the standard library has a portable way once
// the socket is connected.
func (d *Dialer) tune(conn *net.TCPConn) error {
	if d.DisableNoDelay {
		if err := conn.SetNoDelay(false); err != nil {
			return optionError("DisableNoDelay", err)
		}
	}
	if k := d.KeepAlive; k.Enable {
		c := net.KeepAliveConfig{Enable: true, Idle: k.Idle, Interval: k.Interval, Count: k.Probes}
		// Zero would be the standard library's default instead of the system's.
		if c.Idle == 0 {
			c.Idle = -1
		}
		if c.Interval == 0 {
			c.Interval = -1
		}
		if c.Count == 0 {
			c.Count = -1
		}
		if err := conn.SetKeepAliveConfig(c); err != nil {
			return optionError("KeepAlive", err)
		}
	}
	return nil
}

// control sets the options that a socket must have before it connects.
func (d *Dialer) control(network, address string, c syscall.RawConn) error {
	var failed error
	err := c.Control(func(fd uintptr) {
		if d.SendBuffer > 0 {
			if err := setSendBuffer(fd, d.SendBuffer); err != nil {
				failed = optionError("SendBuffer", err)
				return
			}
		}
		if d.ReceiveBuffer > 0 {
			if err := setReceiveBuffer(fd, d.ReceiveBuffer); err != nil {
				failed = optionError("ReceiveBuffer", err)
				return
			}
		}
		if d.UserTimeout > 0 {
			if err := setUserTimeout(fd, d.UserTimeout); err != nil {
				failed = optionError("UserTimeout", err)
				return
			}
		}
		if d.Interface != "" {
			if err := bindToInterface(fd, network, d.Interface); err != nil {
				failed = optionError("Interface", err)
			}
		}
	})
	if err == nil {
		err = failed
	}
	if err == nil && d.Control != nil {
		err = d.Control(network, address, c)
	}
	return err
}

// dialUnix connects to a Unix socket.
func (d *Dialer) dialUnix(ctx context.Context, path string) (net.Conn, error) {
	if path == "" {
		return nil, invalidAddress("unix", path, "missing path")
	}
	if err := d.validateUnix(); err != nil {
		return nil, err
	}
	connect := d.connect
	if connect == nil {
		connect = (&net.Dialer{Control: d.control}).DialContext
	}
	limit := orDefault(d.ConnectTimeout, DefaultConnectTimeout)
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	conn, err := connect(limited, "unix", path)
	if err == nil {
		return conn, nil
	}
	e := &ConnectError{Network: "unix", Address: path, Attempts: []Attempt{{Address: path, Err: err}}}
	if ctx.Err() != nil {
		e.Err = contextError(ctx)
	} else if limited.Err() != nil {
		e.Err = timeoutError("no connection within", limit)
	}
	return nil, e
}

func orDefault(d, otherwise time.Duration) time.Duration {
	if d == 0 {
		return otherwise
	}
	return d
}
