// SPDX-License-Identifier: Apache-2.0

package credentials

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials/endpointcreds"
)

// containerEndpoint is where ECS serves relative URIs.
const containerEndpoint = "http://169.254.170.2"

// containerHosts are the addresses that plain http may go to, besides loopback.
var containerHosts = [...]netip.Addr{
	netip.AddrFrom4([4]byte{169, 254, 170, 2}),
	netip.AddrFrom4([4]byte{169, 254, 170, 23}),
	netip.AddrFrom16([16]byte{0xfd, 0, 0x0e, 0xc2, 15: 0x23}),
}

// ContainerOptions configures [NewContainer]. What is not set is read from the
// environment at each request.
type ContainerOptions struct {
	// RelativeURI is a path at http://169.254.170.2. Default:
	// AWS_CONTAINER_CREDENTIALS_RELATIVE_URI.
	RelativeURI string

	// FullURI is the URL of the endpoint, used if there is no relative one.
	// Default: AWS_CONTAINER_CREDENTIALS_FULL_URI.
	FullURI string

	// TokenFile holds the value of the Authorization header; it is read at each
	// request. Default: AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE. Without a file,
	// AWS_CONTAINER_AUTHORIZATION_TOKEN is the value.
	TokenFile string

	// Lookup resolves the host of FullURI. Default: the system's resolver.
	Lookup func(ctx context.Context, host string) ([]netip.Addr, error)

	HTTP  HTTPOptions
	Cache CacheOptions
}

// Format leaves out the URIs, which may contain secrets.
func (o ContainerOptions) Format(f fmt.State, _ rune) {
	fmt.Fprint(f, "credentials.ContainerOptions{…}")
}

// MarshalText keeps secrets out of encoders such as encoding/json.
func (o ContainerOptions) MarshalText() ([]byte, error) { return fmt.Append(nil, o), nil }

// NewContainer returns a cached provider for containers of ECS and EKS, and for
// agents such as Greengrass that serve credentials in the same way.
//
// A FullURI with plain http must be on a loopback address or one of the
// addresses of the container services; the host is resolved, all its addresses
// must be allowed, and the connection goes to the first of those that can be
// connected to. Otherwise the error is [ErrHost]. It is [ErrNotConfigured] if
// there is no URI.
func NewContainer(o ContainerOptions) (*Provider, error) {
	if err := errors.Join(o.HTTP.validate(), o.Cache.validate()); err != nil {
		return nil, newError("container", err)
	}
	return cached(container(o), o.Cache), nil
}

func container(o ContainerOptions) *Provider {
	return &Provider{name: "container", retrieve: func(ctx context.Context) (aws.Credentials, error) {
		return o.retrieve(ctx)
	}}
}

func (o ContainerOptions) endpoint() string {
	relative, full := o.RelativeURI, o.FullURI
	if relative == "" && full == "" {
		relative = os.Getenv("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI")
		full = os.Getenv("AWS_CONTAINER_CREDENTIALS_FULL_URI")
	}
	if relative != "" {
		return containerEndpoint + "/" + strings.TrimPrefix(relative, "/")
	}
	return full
}

func (o ContainerOptions) retrieve(ctx context.Context) (aws.Credentials, error) {
	endpoint := o.endpoint()
	if endpoint == "" {
		return aws.Credentials{}, fmt.Errorf("%w: AWS_CONTAINER_CREDENTIALS_RELATIVE_URI and AWS_CONTAINER_CREDENTIALS_FULL_URI are not set", ErrNotConfigured)
	}
	u, err := url.Parse(endpoint)
	if err != nil || u.Hostname() == "" || u.Scheme != "http" && u.Scheme != "https" {
		// The URL may hold a secret: do not repeat it.
		return aws.Credentials{}, errors.New("the container credentials URI is not an http or https URL")
	}
	h := o.HTTP.withDefaults(metadataConnectTimeout, metadataTimeout)
	if u.Scheme == "http" {
		addrs, err := o.allowed(ctx, u.Hostname())
		if err != nil {
			return aws.Credentials{}, err
		}
		h.Dial = dialAddresses(h.Dial, addrs)
	}
	token, err := o.token()
	if err != nil {
		return aws.Credentials{}, err
	}
	c, err := endpointcreds.New(endpoint, func(e *endpointcreds.Options) {
		e.HTTPClient = h.client()
		e.Retryer = h.retryer()
		e.AuthorizationToken = token
	}).Retrieve(ctx)
	var ue *url.Error
	if errors.As(err, &ue) {
		err = fmt.Errorf("ask %s: %w", u.Host, ue.Err)
	}
	return c, err
}

func (o ContainerOptions) token() (string, error) {
	file := o.TokenFile
	if file == "" {
		file = os.Getenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE")
	}
	if file == "" {
		return os.Getenv("AWS_CONTAINER_AUTHORIZATION_TOKEN"), nil
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("authorization token file: %w", err)
	}
	return strings.TrimRight(string(b), "\r\n"), nil
}

// allowed returns the addresses of a host, all of which credentials may be sent to.
func (o ContainerOptions) allowed(ctx context.Context, host string) ([]netip.Addr, error) {
	if addr, err := netip.ParseAddr(host); err == nil {
		if !allowedAddr(addr) {
			return nil, fmt.Errorf("%w: %s", ErrHost, host)
		}
		return []netip.Addr{addr.Unmap()}, nil
	}
	lookup := o.Lookup
	if lookup == nil {
		lookup = func(ctx context.Context, host string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		}
	}
	addrs, err := lookup(ctx, host)
	if err != nil {
		return nil, fmt.Errorf("resolve %s: %w", host, err)
	}
	if len(addrs) == 0 {
		return nil, fmt.Errorf("resolve %s: no address", host)
	}
	var unmapped []netip.Addr
	for _, addr := range addrs {
		if !allowedAddr(addr) {
			return nil, fmt.Errorf("%w: %s is %s", ErrHost, host, addr)
		}
		if addr = addr.Unmap(); !slices.Contains(unmapped, addr) {
			unmapped = append(unmapped, addr)
		}
	}
	return unmapped, nil
}

type dialFunc = func(ctx context.Context, network, address string) (net.Conn, error)

// dialAddresses connects to the addresses that were checked, one after the
// other: the name may resolve to others a moment later, and an agent may listen
// on one of them alone, as those on localhost do that is ::1 and 127.0.0.1.
// Each but the last gets its share of the time that the context leaves.
func dialAddresses(dial dialFunc, addrs []netip.Addr) dialFunc {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		_, port, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		var errs []error
		for i, addr := range addrs {
			conn, err := dialShare(ctx, len(addrs)-i, func(ctx context.Context) (net.Conn, error) {
				return dial(ctx, network, net.JoinHostPort(addr.String(), port))
			})
			if err == nil {
				return conn, nil
			}
			errs = append(errs, err)
			if ctx.Err() != nil {
				break
			}
		}
		return nil, errors.Join(errs...)
	}
}

// dialShare gives a call an equal share of the time until the deadline; parts
// are left to share it.
func dialShare(ctx context.Context, parts int, dial func(context.Context) (net.Conn, error)) (net.Conn, error) {
	deadline, ok := ctx.Deadline()
	if !ok || parts < 2 {
		return dial(ctx)
	}
	ctx, cancel := context.WithTimeout(ctx, time.Until(deadline)/time.Duration(parts))
	defer cancel()
	return dial(ctx)
}

func allowedAddr(a netip.Addr) bool {
	a = a.Unmap()
	if a.IsLoopback() {
		return true
	}
	for _, h := range containerHosts {
		if a == h {
			return true
		}
	}
	return false
}
