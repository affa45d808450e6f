// SPDX-License-Identifier: Apache-2.0

package iottest

import (
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
)

// Authorizer is a custom authorizer.
type Authorizer struct {
	// Name is the authorizer's name.
	Name string
	// TokenKeyName is the name of the parameter that has the token. Needed
	// unless SigningDisabled.
	TokenKeyName string
	// PublicKey verifies the signature of the token (RSA PKCS #1 v1.5 with
	// SHA-256). Needed unless SigningDisabled.
	PublicKey *rsa.PublicKey
	// SigningDisabled lets tokens through unsigned.
	SigningDisabled bool
	// Default makes it the authorizer of connections that name none. The last
	// one registered wins.
	Default bool
	// Inactive authorizers refuse everybody.
	Inactive bool
	// Handler stands for the Lambda function. An error, a panic, or no return
	// within 5 seconds refuses the connection. It may be called from several
	// goroutines at once.
	Handler func(context.Context, *AuthorizerRequest) (*AuthorizerResponse, error)
}

// AuthorizerRequest is the input of the Lambda function.
type AuthorizerRequest struct {
	Authorizer        string
	Token             string // value of the token parameter
	SignatureVerified bool
	ClientID          string // empty when the fields came with the WebSocket upgrade
	Username          string // as in CONNECT, with its query
	Query             url.Values
	Password          []byte // bytes of CONNECT, nil when there are none
	ServerName        string // SNI
	WebSocket         bool
	Header            http.Header // of the upgrade, nil without
	CertificateID     string      // of the client certificate, if there is one

	name, signature string
	fields          map[string]string
}

// AuthorizerResponse is what the Lambda function answers.
type AuthorizerResponse struct {
	// IsAuthenticated lets the client in.
	IsAuthenticated bool
	// PrincipalID names the client, 1 to 128 letters and digits.
	PrincipalID string
	// Policies are AWS IoT policies as JSON documents, ten at most. Without any
	// the client may do nothing.
	Policies []string
	// DisconnectAfter ends the connection after that time on the core's clock;
	// 0 means 24 hours.
	DisconnectAfter time.Duration
}

// Errors of custom authorizers, as [Event.Err].
var (
	ErrNoAuthorizer        = errors.New("iottest: no such authorizer, and no default one")
	ErrAuthorizerInactive  = errors.New("iottest: the authorizer is not active")
	ErrTokenMissing        = errors.New("iottest: token or signature is missing")
	ErrTokenSignature      = errors.New("iottest: the signature does not match the token")
	ErrNotAuthenticated    = errors.New("iottest: the authorizer function did not authenticate the client")
	ErrAuthorizerFailed    = errors.New("iottest: the authorizer function failed")
	errAuthorizerNoHandler = errors.New("iottest: an authorizer needs Name and Handler")
)

// AddAuthorizer registers a custom authorizer, or replaces the one of the same name.
func (c *Core) AddAuthorizer(a Authorizer) error {
	switch {
	case a.Name == "" || a.Handler == nil:
		return errAuthorizerNoHandler
	case !a.SigningDisabled && (a.PublicKey == nil || a.TokenKeyName == ""):
		return fmt.Errorf("iottest: authorizer %q verifies signatures: it needs PublicKey and TokenKeyName", a.Name)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.authorizers[a.Name] = &a
	if a.Default {
		c.defaultAuth = a.Name
	}
	return nil
}

func (c *Core) hasAuthorizers() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.authorizers) > 0
}

// tokenIn reports whether the fields have the token of a registered authorizer.
func (c *Core) tokenIn(req *AuthorizerRequest) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, a := range c.authorizers {
		if a.TokenKeyName != "" && req.field(a.TokenKeyName) != "" {
			return true
		}
	}
	return false
}

const (
	fieldName      = "x-amz-customauthorizer-name"
	fieldSignature = "x-amz-customauthorizer-signature"
)

func (r *AuthorizerRequest) field(name string) string {
	if r.Header != nil {
		if v := r.Header.Get(name); v != "" {
			return v
		}
	}
	return r.fields[name]
}

func (r *AuthorizerRequest) setFields(query string) {
	r.fields, r.Query = map[string]string{}, url.Values{}
	for _, pair := range strings.Split(query, "&") {
		name, value, _ := strings.Cut(pair, "=")
		if name == "" {
			continue
		}
		// Not a form: '+' stands for itself, as it does in base64.
		if n, err := url.PathUnescape(name); err == nil {
			name = n
		}
		if v, err := url.PathUnescape(value); err == nil {
			value = v
		}
		if _, twice := r.fields[name]; !twice {
			r.fields[name] = value
		}
		r.Query.Add(name, value)
	}
	r.name, r.signature = r.field(fieldName), r.field(fieldSignature)
}

// upgradeFields takes the authorizer's fields from headers and query of an upgrade.
func upgradeFields(r *http.Request) *AuthorizerRequest {
	req := &AuthorizerRequest{Header: r.Header.Clone()}
	req.setFields(r.URL.RawQuery)
	return req
}

// authenticateCustom runs the authorizer for a CONNECT.
func (c *Core) authenticateCustom(tr *transport, pk *packets.Packet) (*principal, error) {
	if tr.principal != nil { // by the upgrade
		return tr.principal, nil
	}
	req := &AuthorizerRequest{ClientID: pk.Connect.ClientIdentifier, Username: string(pk.Connect.Username)}
	if tr.upgrade != nil {
		req.Header = tr.upgrade.Header
	}
	query := ""
	if i := strings.LastIndexByte(req.Username, '?'); i >= 0 {
		query = req.Username[i+1:]
	}
	req.setFields(query)
	if pk.Connect.PasswordFlag {
		req.Password = append([]byte{}, pk.Connect.Password...)
	}
	return c.invoke(tr, req, pk)
}

// invoke verifies the token and asks the function.
func (c *Core) invoke(tr *transport, req *AuthorizerRequest, _ *packets.Packet) (*principal, error) {
	req.ServerName, req.WebSocket = tr.serverName, tr.webSocket
	p := &principal{kind: "custom"}
	if tr.peer != nil {
		x, err := c.authenticateX509(tr)
		if err != nil {
			return nil, err
		}
		p.device, req.CertificateID = x.device, x.device.id
	}
	c.mu.Lock()
	name := req.name
	if name == "" {
		name = c.defaultAuth
	}
	a := c.authorizers[name]
	c.mu.Unlock()
	switch {
	case a == nil:
		return nil, ErrNoAuthorizer
	case a.Inactive:
		return nil, ErrAuthorizerInactive
	}
	req.Authorizer = a.Name
	if a.TokenKeyName != "" {
		req.Token = req.field(a.TokenKeyName)
	}
	if !a.SigningDisabled {
		if req.Token == "" || req.signature == "" {
			return nil, ErrTokenMissing
		}
		sig, err := base64.StdEncoding.DecodeString(req.signature)
		if err != nil {
			return nil, fmt.Errorf("%w: not base64", ErrTokenSignature)
		}
		sum := sha256.Sum256([]byte(req.Token))
		if rsa.VerifyPKCS1v15(a.PublicKey, crypto.SHA256, sum[:], sig) != nil {
			return nil, ErrTokenSignature
		}
		req.SignatureVerified = true
	}
	resp, err := a.call(req, tr)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrAuthorizerFailed, err)
	}
	if resp == nil || !resp.IsAuthenticated {
		return nil, ErrNotAuthenticated
	}
	p.authorizer, p.principalID = a.Name, resp.PrincipalID
	p.policies = []*Policy{} // not nil: without a policy nothing is allowed
	if len(resp.Policies) > 10 {
		return nil, fmt.Errorf("%w: more than 10 policies", ErrAuthorizerFailed)
	}
	for _, doc := range resp.Policies {
		policy, err := ParsePolicy(doc)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrAuthorizerFailed, err)
		}
		p.policies = append(p.policies, policy)
	}
	p.lifetime = resp.DisconnectAfter
	setDefault(&p.lifetime, 24*time.Hour)
	return p, nil
}

const lambdaTimeout = 5 * time.Second

func (a *Authorizer) call(req *AuthorizerRequest, tr *transport) (resp *AuthorizerResponse, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), lambdaTimeout)
	defer cancel()
	type result struct {
		resp *AuthorizerResponse
		err  error
	}
	done := make(chan result, 1)
	go func() {
		var r result
		defer func() {
			if v := recover(); v != nil {
				r = result{err: fmt.Errorf("panic: %v", v)}
			}
			done <- r
		}()
		r.resp, r.err = a.Handler(ctx, req)
	}()
	select {
	case r := <-done:
		return r.resp, r.err
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-tr.raw.done:
		return nil, errors.New("connection closed")
	}
}
