// SPDX-License-Identifier: Apache-2.0

package sigv4

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

const (
	// Service is the name AWS IoT Core's device gateway expects in a signature.
	Service = "iotdevicegateway"

	// Path is the path of the MQTT WebSocket endpoint.
	Path = "/mqtt"

	maxExpires = 7 * 24 * time.Hour
)

var (
	// ErrRegion means that the region was not given and does not follow from the
	// endpoint, as with custom domains and VPC endpoints. Set [Options.Region].
	ErrRegion = errors.New("sigv4: region unknown")

	// ErrCredentials means that the provider gave credentials that cannot sign:
	// the access key or the secret key is empty.
	ErrCredentials = errors.New("sigv4: access key or secret key is empty")
)

// Options configures a [Signer]. Credentials is required.
type Options struct {
	// Credentials is called for every signature; a provider that fetches
	// credentials should cache them. With anonymous credentials requests pass
	// unsigned.
	Credentials CredentialsProvider

	// Region of the endpoint, for example "eu-west-1". Default: what
	// [RegionFromEndpoint] reads from the host that is signed for.
	Region string

	// Service is the service name in the signature. Default: [Service].
	Service string

	// Expires is sent as X-Amz-Expires, in whole seconds from 1 s to 7 days.
	// Default: the parameter is left out, as the other device SDKs do. The
	// service does not honor long values.
	Expires time.Duration

	// Now is the clock. Default: [time.Now].
	Now func() time.Time
}

// Format prints the options without anything that the providers hold.
func (o Options) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "sigv4.Options{Region:%q Service:%q Expires:%v}", o.Region, o.Service, o.Expires)
}

// Signer signs WebSocket upgrades. It is safe for concurrent use, and one
// signer can serve many endpoints if Region is not set. Create it with [New].
type Signer struct {
	// A function, not the provider: package fmt looks into unexported fields of
	// structs that hold a Signer, but never into a function.
	retrieve func(context.Context) (Credentials, error)
	region   string
	service  string
	expires  time.Duration
	now      func() time.Time
	last     atomic.Pointer[lastSigned]
}

// lastSigned is what a hint needs to know of the latest signature. It holds no
// secret, so that a signer never keeps one between attempts.
type lastSigned struct {
	host, region string
	identity     Identity
}

// New returns a signer, or an error that names every option that is wrong.
func New(o Options) (*Signer, error) {
	s := &Signer{
		region:  o.Region,
		service: o.Service,
		expires: o.Expires,
		now:     o.Now,
	}
	if s.service == "" {
		s.service = Service
	}
	if s.now == nil {
		s.now = time.Now
	}
	var errs []error
	if o.Credentials == nil {
		errs = append(errs, errors.New("sigv4: Options.Credentials is not set"))
	} else {
		s.retrieve = o.Credentials.Credentials
	}
	for _, f := range [...]struct{ name, value string }{
		{"Region", s.region}, {"Service", s.service},
	} {
		if f.value != "" && !isScopeName(f.value) {
			errs = append(errs, fmt.Errorf("sigv4: Options.%s %q: want letters, digits and hyphens", f.name, f.value))
		}
	}
	if s.expires != 0 && (s.expires < time.Second || s.expires > maxExpires || s.expires%time.Second != 0) {
		errs = append(errs, fmt.Errorf("sigv4: Options.Expires %v: want whole seconds from 1s to %v", s.expires, maxExpires))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return s, nil
}

// Format prints the signer without its credentials, for every verb.
func (s *Signer) Format(f fmt.State, _ rune) {
	if s == nil {
		fmt.Fprint(f, "sigv4.Signer(nil)")
		return
	}
	fmt.Fprintf(f, "sigv4.Signer{Region:%q Service:%q}", s.region, s.service)
}

// Presign returns the signed URL for one connection attempt.
//
// endpoint is a host name ("abc-ats.iot.eu-west-1.amazonaws.com"), optionally
// with a port, or a URL with the scheme wss, https, ws or http. The scheme of
// the result is wss or ws, wss if none was given; the path is [Path] if none
// was given; query parameters are kept and signed. A default port is dropped.
//
// Errors are [ErrRegion], [ErrCredentials], those of the credentials provider,
// and those for an endpoint that is no host or URL. None of them, and nothing
// else of this package, contains the secret key, the token or the URL.
func (s *Signer) Presign(ctx context.Context, endpoint string) (string, error) {
	u, err := parseEndpoint(endpoint)
	if err != nil {
		return "", err
	}
	if u.Path == "" {
		u.Path = Path
	}
	u.Host = signedHost(u.Scheme, u.Host)
	if err := s.sign(ctx, u, u.Host); err != nil {
		return "", err
	}
	return u.String(), nil
}

// Transform returns a handshake transform: a function that signs the upgrade
// request it is given, in place, with the time and credentials of the call.
// It is to be called once an attempt, immediately before the request is sent;
// calling it again replaces the signature.
//
// The function sets the query and the Host of the request (a default port is
// dropped from it, because the signed host must be the one that is sent), and
// the path to [Path] if it is empty. It adds no header. Errors are those of
// [Signer.Presign].
func (s *Signer) Transform() func(ctx context.Context, r *http.Request) error {
	return func(ctx context.Context, r *http.Request) error {
		if r == nil || r.URL == nil {
			return errors.New("sigv4: request has no URL")
		}
		host := r.Host
		if host == "" {
			host = r.URL.Host
		}
		if host == "" {
			return errors.New("sigv4: request has no host")
		}
		host = signedHost(r.URL.Scheme, host)
		// Work on a copy, so that a request is not left half-way changed.
		u := *r.URL
		if u.Path == "" {
			u.Path = Path
		}
		if err := s.sign(ctx, &u, host); err != nil {
			return err
		}
		r.URL.Path, r.URL.RawPath, r.URL.RawQuery = u.Path, u.RawPath, u.RawQuery
		r.Host = host
		return nil
	}
}

// sign replaces the query of u by the signed one.
func (s *Signer) sign(ctx context.Context, u *url.URL, host string) error {
	creds, err := s.retrieve(ctx)
	if err != nil {
		return fmt.Errorf("sigv4: get credentials: %w", err)
	}
	if creds.Anonymous {
		s.last.Store(&lastSigned{host: host, identity: IdentityOf(creds)})
		return nil
	}
	region, err := s.regionFor(host)
	if err != nil {
		return err
	}
	if creds.AccessKeyID == "" || creds.SecretAccessKey == "" {
		return ErrCredentials
	}
	params, err := queryParams(u.RawQuery)
	if err != nil {
		return err
	}
	// The clock is read after the provider answered: fetching may take a while.
	now := s.now().UTC()
	c := canonical{
		time:    now,
		region:  region,
		service: s.service,
		host:    host,
		path:    u.EscapedPath(),
	}
	params = append(params,
		param{"X-Amz-Algorithm", algorithm},
		param{"X-Amz-Credential", escape(creds.AccessKeyID + "/" + c.scope())},
		param{"X-Amz-Date", now.Format(timeFormat)},
		param{"X-Amz-SignedHeaders", "host"},
	)
	if s.expires > 0 {
		params = append(params, param{"X-Amz-Expires", strconv.FormatInt(int64(s.expires/time.Second), 10)})
	}
	c.query = encodeParams(params)
	query := c.query + "&X-Amz-Signature=" + c.signature(creds.SecretAccessKey)
	if creds.SessionToken != "" {
		query += "&X-Amz-Security-Token=" + escape(creds.SessionToken)
	}
	u.RawQuery = query
	s.last.Store(&lastSigned{host: host, region: region, identity: IdentityOf(creds)})
	return nil
}

func (s *Signer) regionFor(host string) (string, error) {
	if s.region != "" {
		return s.region, nil
	}
	return RegionFromEndpoint(host)
}

// parseEndpoint reads a host, a host with port, or a URL.
func parseEndpoint(endpoint string) (*url.URL, error) {
	raw := endpoint
	if !strings.Contains(raw, "://") {
		raw = "wss://" + raw
	}
	u, err := url.Parse(raw)
	if err != nil {
		// A url.Error repeats the URL, whose query may hold tokens.
		var ue *url.Error
		if errors.As(err, &ue) {
			err = ue.Err
		}
		return nil, fmt.Errorf("sigv4: endpoint: %w", err)
	}
	switch strings.ToLower(u.Scheme) {
	case "wss", "https":
		u.Scheme = "wss"
	case "ws", "http":
		u.Scheme = "ws"
	default:
		return nil, fmt.Errorf("sigv4: endpoint: scheme %q is none of wss, ws, https, http", u.Scheme)
	}
	if u.Hostname() == "" {
		return nil, errors.New("sigv4: endpoint: no host")
	}
	if u.User != nil {
		return nil, errors.New("sigv4: endpoint: user information in the URL")
	}
	u.Fragment, u.RawFragment = "", ""
	return u, nil
}

// signedHost drops the port that clients leave out of the Host header.
func signedHost(scheme, host string) string {
	port := "443"
	if scheme = strings.ToLower(scheme); scheme == "ws" || scheme == "http" {
		port = "80"
	}
	if rest, ok := strings.CutSuffix(host, ":"+port); ok && rest != "" {
		// An IPv6 literal ends in a bracket; a bare one cannot be distinguished
		// from a port.
		if !strings.Contains(rest, ":") || strings.HasSuffix(rest, "]") {
			return rest
		}
	}
	return host
}

func isScopeName(s string) bool {
	for i := 0; i < len(s); i++ {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return false
		}
	}
	return s != ""
}
