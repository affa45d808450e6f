// SPDX-License-Identifier: Apache-2.0

package provisioning

import (
	"context"
	"crypto"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/request"
)

// Options configure [Provision].
type Options struct {
	// Template is the name of the provisioning template. Required.
	Template string
	// Parameters are those of the template, such as a serial number.
	Parameters map[string]string
	// Store keeps the progress. Required.
	Store Store
	// NewClaim makes a stopped client that connects with the claim. With a
	// trusted user it fetches the claim, which is valid for five minutes only:
	// the context of Provision then needs a deadline, since a call asks for the
	// claim once, and waits for its connection. The next call goes on where this
	// one was. Required.
	NewClaim func(ctx context.Context) (*mqtt5.Client, error)
	// NewDevice makes a stopped client that connects with the new identity.
	// Required.
	NewDevice func(ctx context.Context, identity *Identity) (*mqtt5.Client, error)
	// Key is a key that is never stored, such as one of package pkcs11. It has to
	// be the same in each call. Nil: a new P-256 key, which is stored.
	Key crypto.Signer
	// ServiceKey lets the service make the key and send it.
	ServiceKey bool
	// Subject is that of the certificate signing request. Zero value: the common
	// name "AWS IoT Certificate".
	Subject pkix.Name
	Format  Format
	// StartJitter is the longest random delay before the first connection with
	// the claim, so that a fleet which is switched on at once does not arrive at
	// once. 0: none.
	StartJitter time.Duration
	// RequestTimeout limits each request. 0: 30 s.
	RequestTimeout time.Duration
	// ConnectTimeout limits the wait for each of the two connections. 0: 5 minutes.
	ConnectTimeout time.Duration
	// The random delay before a request is repeated is at most MinRetryDelay, and
	// twice as long with each failure up to MaxRetryDelay. 0: 1 s and 2 minutes.
	MinRetryDelay, MaxRetryDelay time.Duration
	// OnEvent receives each step that was reached and each failure that is
	// followed by another attempt. Nil: nothing.
	OnEvent func(Event)
}

// Event is a step or a failure of [Provision].
type Event struct {
	// Phase is what has been stored.
	Phase Phase
	// Err is the failure. Nil if a step was reached.
	Err error
}

// Identity is what a provisioned device has.
type Identity struct {
	ThingName           string
	DeviceConfiguration map[string]string
	CertificateID       string
	CertificatePEM      []byte
	// PrivateKeyPEM is nil if Options.Key is set.
	PrivateKeyPEM []byte
	// Key is the private key in any case.
	Key crypto.Signer
}

// Device is the result of [Provision].
type Device struct {
	Identity *Identity
	// Client was made by Options.NewDevice and is started. The caller stops it.
	Client *mqtt5.Client
}

const (
	defaultRequestTimeout = 30 * time.Second
	defaultConnectTimeout = 5 * time.Minute
	defaultMinRetryDelay  = time.Second
	defaultMaxRetryDelay  = 2 * time.Minute
	// tokenLifetime is shorter than the hour for which a token is valid.
	tokenLifetime = 55 * time.Minute
	// maxCertificates is how many certificates one call asks for when the service
	// refuses their tokens.
	maxCertificates = 3
	// stopTimeout limits the orderly end of the connection with the claim.
	stopTimeout = 5 * time.Second
)

// Provision gives a device its identity, and returns a client that has connected
// with it:
//
//  1. It makes a key and stores it.
//  2. With the claim, it asks for a certificate for the key, and stores it.
//  3. It registers the thing, and stores its name and configuration.
//  4. It ends the connection with the claim, connects with the new identity, and
//     stores that this succeeded.
//
// A process that ends at any moment loses nothing that the next call does not
// find again: it goes on after the last step that was stored. Only a certificate
// whose answer was lost is asked for again, for the same key; the service deletes
// the other one. A device that is provisioned gets its client at once, without a
// claim, without a wait for its connection.
//
// It repeats what may succeed later, until ctx ends. It fails with a
// [*RejectedError] that is not temporary, [ErrClaim], [ErrDevice], [ErrStore],
// [ErrInvalidArgument], [ErrInvalidPayload], the errors of NewClaim and
// NewDevice, and the cause of ctx.
func Provision(ctx context.Context, options Options) (*Device, error) {
	if err := options.check(); err != nil {
		return nil, err
	}
	p := &provisioner{Options: options}
	if err := p.load(); err != nil {
		return nil, err
	}
	if p.state.Phase == PhaseNone || p.state.Phase == PhaseKey || p.state.Phase == PhaseCertificate {
		if err := p.register(ctx); err != nil {
			return nil, err
		}
	}
	return p.connect(ctx)
}

func (o *Options) check() error {
	switch {
	case !templates.MatchString(o.Template):
		return fmt.Errorf("%w: template name %q: 1 to 36 letters, digits, '_' or '-'", ErrInvalidArgument, o.Template)
	case o.Store == nil || o.NewClaim == nil || o.NewDevice == nil:
		return fmt.Errorf("%w: Store, NewClaim and NewDevice are required", ErrInvalidArgument)
	case o.Key != nil && o.ServiceKey:
		return fmt.Errorf("%w: Key and ServiceKey exclude each other", ErrInvalidArgument)
	case o.Format > CBOR:
		return fmt.Errorf("%w: unknown format", ErrInvalidArgument)
	case o.StartJitter < 0 || o.RequestTimeout < 0 || o.ConnectTimeout < 0 || o.MinRetryDelay < 0 || o.MaxRetryDelay < 0:
		return fmt.Errorf("%w: negative duration", ErrInvalidArgument)
	}
	for _, d := range []struct {
		value *time.Duration
		other time.Duration
	}{
		{&o.RequestTimeout, defaultRequestTimeout}, {&o.ConnectTimeout, defaultConnectTimeout},
		{&o.MinRetryDelay, defaultMinRetryDelay}, {&o.MaxRetryDelay, defaultMaxRetryDelay},
	} {
		if *d.value == 0 {
			*d.value = d.other
		}
	}
	o.MaxRetryDelay = max(o.MaxRetryDelay, o.MinRetryDelay)
	return nil
}

// provisioner is one call of Provision.
type provisioner struct {
	Options
	state *State
	key   crypto.Signer // nil until there is one
	// doubt: the token may have been used up by a request whose answer was lost.
	doubt bool
}

// load restores what an earlier call has stored.
func (p *provisioner) load() error {
	state, err := p.Store.Load()
	if err != nil {
		return storeError(err)
	}
	if state == nil || state.Phase == PhaseNone {
		p.state, p.key = &State{}, p.Key
		return nil
	}
	switch state.Phase {
	case PhaseKey, PhaseCertificate, PhaseRegistered, PhaseComplete:
	default:
		return fmt.Errorf("%w: the phase %q is unknown", ErrStore, state.Phase)
	}
	p.state, p.doubt = state, true
	switch {
	case p.Key != nil:
		p.key = p.Key
	case len(state.PrivateKeyPEM) > 0:
		if p.key, err = parseKey(state.PrivateKeyPEM); err != nil {
			return storeError(err)
		}
	default:
		return fmt.Errorf("%w: the key is missing", ErrStore)
	}
	if state.Phase == PhaseKey {
		return nil
	}
	if err := belongs(state.CertificatePEM, p.key); err != nil {
		return storeError(err)
	}
	return nil
}

func storeError(err error) error {
	if errors.Is(err, ErrStore) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrStore, err)
}

// save stores a new state. The old one stays in force if that fails.
func (p *provisioner) save(change func(s *State)) error {
	next := *p.state
	next.Template = p.Template
	change(&next)
	if err := p.Store.Save(&next); err != nil {
		return storeError(err)
	}
	p.state = &next
	p.event(nil)
	return nil
}

func (p *provisioner) event(err error) {
	if p.OnEvent != nil {
		p.OnEvent(Event{Phase: p.state.Phase, Err: err})
	}
}

// register goes from any phase to PhaseRegistered.
func (p *provisioner) register(ctx context.Context) (err error) {
	if p.StartJitter > 0 {
		if err := sleep(ctx, rand.N(p.StartJitter)); err != nil {
			return err
		}
	}
	if err := p.makeKey(); err != nil {
		return err
	}
	claim, err := p.NewClaim(ctx)
	if err != nil {
		return err
	}
	if claim == nil {
		return fmt.Errorf("%w: NewClaim returned no client", ErrInvalidArgument)
	}
	defer func() { err = errors.Join(err, claim.Close()) }()
	// A late answer is as good as that of the request that is repeated: it is about
	// the same key, or the same token.
	requests, err := request.New(claim, request.Options{Timeout: p.RequestTimeout, LateWindow: -1})
	if err != nil {
		return err
	}
	if err := start(ctx, claim, p.ConnectTimeout, ErrClaim); err != nil {
		return err
	}
	client, err := NewClient(requests, ClientOptions{Format: p.Format})
	if err != nil {
		return err
	}
	if err := p.exchange(ctx, client); err != nil {
		return err
	}
	// An orderly end, so that no will is published and the device can take the
	// client identifier over. If it takes too long, Close does it.
	end, cancel := context.WithTimeout(ctx, stopTimeout)
	defer cancel()
	_ = claim.Stop(end, nil)
	return nil
}

// makeKey stores a key unless there is one, or the service will make it.
func (p *provisioner) makeKey() error {
	if p.key != nil || p.ServiceKey {
		return nil
	}
	encoded, err := generateKey()
	if err != nil {
		return err
	}
	key, err := parseKey(encoded)
	if err != nil {
		return err
	}
	if err := p.save(func(s *State) { s.Phase, s.PrivateKeyPEM = PhaseKey, encoded }); err != nil {
		return err
	}
	p.key = key
	return nil
}

// exchange asks for a certificate and registers the thing.
func (p *provisioner) exchange(ctx context.Context, client *Client) error {
	for certificates := 0; ; {
		if p.state.Phase == PhaseCertificate && p.tokenIsOld() {
			if err := p.forget(); err != nil {
				return err
			}
		}
		if p.state.Phase != PhaseCertificate {
			if certificates++; certificates > maxCertificates {
				return fmt.Errorf("%w: the service refuses the tokens that it issues", ErrInvalidPayload)
			}
			if err := p.repeat(ctx, func() error { return p.create(ctx, client) }); err != nil {
				return err
			}
		}
		var registration *Registration
		err := p.repeat(ctx, func() (err error) {
			registration, err = client.RegisterThing(ctx, p.Template, p.state.OwnershipToken, p.Parameters)
			if err != nil {
				p.doubt = p.doubt || errors.Is(err, mqtt5.ErrOutcomeUnknown)
			}
			return err
		})
		var rejected *RejectedError
		if errors.As(err, &rejected) && rejected.tokenExpired() && (p.doubt || p.tokenIsOld()) {
			// Too old, or used up by a request whose answer was lost.
			p.event(err)
			if err := p.forget(); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return err
		}
		return p.save(func(s *State) {
			s.Phase, s.ThingName, s.DeviceConfiguration = PhaseRegistered, registration.ThingName, registration.DeviceConfiguration
			s.OwnershipToken, s.TokenIssuedAt = "", time.Time{}
		})
	}
}

// tokenIsOld reports that the service may not take the token any more.
func (p *provisioner) tokenIsOld() bool {
	return time.Since(p.state.TokenIssuedAt) > tokenLifetime
}

// forget drops the certificate before another one is asked for: a crash in
// between must not leave the new certificate with the token of the old one.
func (p *provisioner) forget() error {
	if err := p.save(func(s *State) { s.forget(p.ServiceKey) }); err != nil {
		return err
	}
	if p.ServiceKey {
		p.key = nil
	}
	return nil
}

// forget drops a certificate, and a key that came with it.
func (s *State) forget(serviceKey bool) {
	*s = State{Phase: PhaseKey, Template: s.Template, PrivateKeyPEM: s.PrivateKeyPEM}
	if serviceKey {
		s.Phase, s.PrivateKeyPEM = PhaseNone, nil
	}
}

// create asks for a certificate and stores it.
func (p *provisioner) create(ctx context.Context, client *Client) error {
	if p.ServiceKey {
		return p.createKeys(ctx, client)
	}
	csr, err := signingRequest(p.key, p.Subject)
	if err != nil {
		return err
	}
	c, err := client.CreateCertificateFromCSR(ctx, csr)
	if err != nil {
		return err
	}
	if err := belongs([]byte(c.CertificatePEM), p.key); err != nil {
		return err
	}
	return p.saveCertificate(c.CertificateID, c.CertificatePEM, c.OwnershipToken, p.state.PrivateKeyPEM)
}

func (p *provisioner) createKeys(ctx context.Context, client *Client) error {
	if p.state.Phase != PhaseNone { // the key of an earlier call does not fit
		if err := p.forget(); err != nil {
			return err
		}
	}
	c, err := client.CreateKeysAndCertificate(ctx)
	if err != nil {
		return err
	}
	key, err := parseKey([]byte(c.PrivateKeyPEM))
	if err == nil {
		err = belongs([]byte(c.CertificatePEM), key)
	}
	if err != nil {
		return err
	}
	if err := p.saveCertificate(c.CertificateID, c.CertificatePEM, c.OwnershipToken, []byte(c.PrivateKeyPEM)); err != nil {
		return err
	}
	p.key = key
	return nil
}

func (p *provisioner) saveCertificate(id, certificate, token string, key []byte) error {
	p.doubt = false
	return p.save(func(s *State) {
		*s = State{
			Phase: PhaseCertificate, Template: s.Template, PrivateKeyPEM: key, CertificatePEM: []byte(certificate),
			CertificateID: id, OwnershipToken: token, TokenIssuedAt: time.Now().UTC().Round(0),
		}
	})
}

// repeat does a step until it succeeds or fails for good.
func (p *provisioner) repeat(ctx context.Context, step func() error) error {
	for failures := 0; ; failures++ {
		err := step()
		if err == nil || ctx.Err() != nil || !temporary(err) {
			return err
		}
		p.event(err)
		limit := p.MaxRetryDelay
		if n := min(failures, 16); p.MinRetryDelay < limit>>n {
			limit = p.MinRetryDelay << n
		}
		if err := sleep(ctx, rand.N(limit+1)); err != nil {
			return err
		}
	}
}

// temporary reports whether another attempt may succeed.
func temporary(err error) bool {
	var rejected *RejectedError
	if errors.As(err, &rejected) {
		return rejected.Temporary()
	}
	var invalid *mqtt5.ValidationError
	if errors.As(err, &invalid) {
		return false
	}
	for _, final := range []error{ErrInvalidArgument, ErrInvalidPayload, ErrStore, request.ErrClosed, request.ErrInvalid, mqtt5.ErrClosed} {
		if errors.Is(err, final) {
			return false
		}
	}
	var refused *mqtt5.AckError
	if errors.Is(err, request.ErrTimeout) || !errors.As(err, &refused) {
		return true // a refusal in a time-out is one that may pass
	}
	switch mqtt5.PubackReasonCode(refused.ReasonCode) {
	case mqtt5.PubackUnspecifiedError, mqtt5.PubackImplementationSpecificError, mqtt5.PubackQuotaExceeded:
		return true
	}
	return false // by the policy, usually
}

// connect makes the client of the device, and waits for its first connection.
func (p *provisioner) connect(ctx context.Context) (*Device, error) {
	s := p.state
	identity := &Identity{
		ThingName: s.ThingName, DeviceConfiguration: s.DeviceConfiguration,
		CertificateID: s.CertificateID, CertificatePEM: s.CertificatePEM, PrivateKeyPEM: s.PrivateKeyPEM, Key: p.key,
	}
	client, err := p.NewDevice(ctx, identity)
	if err != nil {
		return nil, err
	}
	if client == nil {
		return nil, fmt.Errorf("%w: NewDevice returned no client", ErrInvalidArgument)
	}
	if s.Phase == PhaseComplete {
		if err := client.Start(); err != nil {
			return nil, errors.Join(err, client.Close())
		}
		return &Device{identity, client}, nil
	}
	err = start(ctx, client, p.ConnectTimeout, ErrDevice)
	if err == nil {
		err = p.save(func(s *State) { s.Phase = PhaseComplete })
	}
	if err != nil {
		return nil, errors.Join(err, client.Close())
	}
	return &Device{identity, client}, nil
}

// start starts a client and waits until it is connected. The error of a
// time-out matches condition and the failure of the last attempt.
func start(ctx context.Context, client *mqtt5.Client, timeout time.Duration, condition error) error {
	if err := client.Start(); err != nil {
		return fmt.Errorf("%w: %w", condition, err)
	}
	wait, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if err := client.WaitConnected(wait); err != nil {
		last := client.Health().LastError
		if last == nil || errors.Is(err, last) {
			return fmt.Errorf("%w: %w", condition, err)
		}
		return fmt.Errorf("%w: %w; the last attempt: %w", condition, err, last)
	}
	return nil
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// JustInTime starts a client whose certificate registers itself, because the CA
// that signed it is registered with a provisioning template (JITP) or a rule
// (JITR), and waits for its connection. The service ends the first connection of
// such a certificate without an answer while it registers it; the attempts after
// that succeed. It fails when ctx ends, with [ErrDevice] if timeout passes first,
// and with [ErrInvalidArgument] if client is nil. A timeout of 0 is 5 minutes.
func JustInTime(ctx context.Context, client *mqtt5.Client, timeout time.Duration) error {
	if client == nil {
		return fmt.Errorf("%w: the client is nil", ErrInvalidArgument)
	}
	if timeout <= 0 {
		timeout = defaultConnectTimeout
	}
	return start(ctx, client, timeout, ErrDevice)
}
