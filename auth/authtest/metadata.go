// SPDX-License-Identifier: Apache-2.0

package authtest

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// IMDS speaks the EC2 instance metadata service, version 2: credentials need a
// token, which a PUT request gives.
type IMDS struct {
	Endpoint
	role string
	v1   bool

	tokenMu sync.Mutex
	tokens  map[string]time.Time
}

// NewIMDS returns a handler with one role. With v1 it has no tokens and answers
// requests without one, as version 1 did.
func NewIMDS(o Options, role string, v1 bool) *IMDS {
	m := &IMDS{role: role, v1: v1, tokens: map[string]time.Time{}}
	m.init(o)
	return m
}

// RevokeTokens makes all tokens invalid, as a restart of the service does.
func (m *IMDS) RevokeTokens() {
	m.tokenMu.Lock()
	defer m.tokenMu.Unlock()
	clear(m.tokens)
}

func plainError(w http.ResponseWriter, f *Failure) { http.Error(w, f.Message, f.Status) }

// ServeHTTP implements http.Handler.
func (m *IMDS) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if _, ok := m.begin(w, r, plainError); !ok {
		return
	}
	const base = "/latest/meta-data/iam/security-credentials/"
	if r.URL.Path == "/latest/api/token" {
		m.serveToken(w, r)
		return
	}
	if !m.v1 && !m.tokenValid(r.Header.Get("X-Aws-Ec2-Metadata-Token")) {
		http.Error(w, "", http.StatusUnauthorized)
		return
	}
	switch {
	case r.Method != http.MethodGet:
		http.Error(w, "", http.StatusMethodNotAllowed)
	case r.URL.Path == base || r.URL.Path+"/" == base:
		_, _ = io.WriteString(w, m.role)
	case r.URL.Path == base+m.role:
		creds := m.issue()
		writeJSON(w, "application/json", http.StatusOK, map[string]string{
			"Code": "Success", "Type": "AWS-HMAC",
			"AccessKeyId": creds.AccessKeyID, "SecretAccessKey": creds.SecretAccessKey, "Token": creds.SessionToken,
			"Expiration": creds.Expires.UTC().Format(time.RFC3339),
		})
	default:
		http.NotFound(w, r)
	}
}

func (m *IMDS) serveToken(w http.ResponseWriter, r *http.Request) {
	ttl, err := strconv.Atoi(r.Header.Get("X-Aws-Ec2-Metadata-Token-Ttl-Seconds"))
	switch {
	case m.v1:
		http.NotFound(w, r)
		return
	case r.Method != http.MethodPut:
		http.Error(w, "", http.StatusMethodNotAllowed)
		return
	case err != nil || ttl < 1 || ttl > 21600:
		http.Error(w, "", http.StatusBadRequest)
		return
	}
	m.tokenMu.Lock()
	token := fmt.Sprint("metadata-token-", len(m.Requests()))
	m.tokens[token] = m.o.Now().Add(time.Duration(ttl) * time.Second)
	m.tokenMu.Unlock()
	w.Header().Set("X-Aws-Ec2-Metadata-Token-Ttl-Seconds", strconv.Itoa(ttl))
	_, _ = io.WriteString(w, token)
}

func (m *IMDS) tokenValid(token string) bool {
	m.tokenMu.Lock()
	defer m.tokenMu.Unlock()
	expires, ok := m.tokens[token]
	return ok && m.o.Now().Before(expires)
}

// Container speaks the credentials endpoint of ECS, EKS and Greengrass.
type Container struct {
	Endpoint
	authorization func() string
}

// NewContainer returns a handler that answers at every path. authorization
// gives the value that the Authorization header must have at a call; nil means
// that none is needed.
func NewContainer(o Options, authorization func() string) *Container {
	c := &Container{authorization: authorization}
	c.init(o)
	return c
}

func containerError(w http.ResponseWriter, f *Failure) {
	writeJSON(w, "application/json", f.Status, map[string]string{"code": f.Code, "message": f.Message})
}

// ServeHTTP implements http.Handler.
func (c *Container) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if _, ok := c.begin(w, r, containerError); !ok {
		return
	}
	if r.Method != http.MethodGet || c.authorization != nil && r.Header.Get("Authorization") != c.authorization() {
		containerError(w, &Failure{Status: http.StatusUnauthorized, Code: "Unauthorized"})
		return
	}
	creds := c.issue()
	writeJSON(w, "application/json", http.StatusOK, map[string]string{
		"AccessKeyId": creds.AccessKeyID, "SecretAccessKey": creds.SecretAccessKey, "Token": creds.SessionToken,
		"Expiration": creds.Expires.UTC().Format(time.RFC3339),
	})
}

// SSO speaks the portal of IAM Identity Center.
type SSO struct {
	Endpoint
	bearer string
}

// NewSSO returns a handler that wants the given access token.
func NewSSO(o Options, bearer string) *SSO {
	s := &SSO{bearer: bearer}
	s.init(o)
	return s
}

func ssoError(w http.ResponseWriter, f *Failure) {
	w.Header().Set("X-Amzn-Errortype", f.Code)
	writeJSON(w, "application/json", f.Status, map[string]string{"message": f.Message})
}

// ServeHTTP implements http.Handler.
func (s *SSO) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if _, ok := s.begin(w, r, ssoError); !ok {
		return
	}
	query := r.URL.Query()
	switch {
	case r.Method != http.MethodGet || r.URL.Path != "/federation/credentials":
		http.NotFound(w, r)
	case r.Header.Get("X-Amz-Sso_bearer_token") != s.bearer:
		ssoError(w, &Failure{Status: http.StatusUnauthorized, Code: "UnauthorizedException", Message: "Session token not found or invalid"})
	case query.Get("account_id") == "" || query.Get("role_name") == "":
		ssoError(w, &Failure{Status: http.StatusBadRequest, Code: "InvalidRequestException"})
	default:
		creds := s.issue()
		writeJSON(w, "application/json", http.StatusOK, map[string]any{"roleCredentials": map[string]any{
			"accessKeyId": creds.AccessKeyID, "secretAccessKey": creds.SecretAccessKey, "sessionToken": creds.SessionToken,
			"expiration": creds.Expires.UnixMilli(),
		}})
	}
}

// RoleAlias speaks the AWS IoT credentials endpoint. Serve it over TLS with
// client certificates required.
type RoleAlias struct {
	Endpoint
	alias  string
	things map[string]bool
}

// NewRoleAlias returns a handler for one alias. things are the names that may
// be sent in the thing name header; other names are refused.
func NewRoleAlias(o Options, alias string, things ...string) *RoleAlias {
	a := &RoleAlias{alias: alias, things: map[string]bool{}}
	a.init(o)
	for _, t := range things {
		a.things[t] = true
	}
	return a
}

// ServeHTTP implements http.Handler.
func (a *RoleAlias) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	fail := func(w http.ResponseWriter, f *Failure) {
		writeJSON(w, "application/json", f.Status, map[string]string{"message": f.Message})
	}
	if _, ok := a.begin(w, r, fail); !ok {
		return
	}
	alias, ok := strings.CutPrefix(r.URL.Path, "/role-aliases/")
	alias, ok2 := strings.CutSuffix(alias, "/credentials")
	thing := r.Header.Get("X-Amzn-Iot-Thingname")
	switch {
	case r.Method != http.MethodGet || !ok || !ok2:
		http.NotFound(w, r)
	case r.TLS == nil || len(r.TLS.PeerCertificates) == 0:
		fail(w, &Failure{Status: http.StatusForbidden, Message: "Missing client certificate"})
	case alias != a.alias:
		fail(w, &Failure{Status: http.StatusNotFound, Message: "Role alias does not exist"})
	case thing != "" && !a.things[thing]:
		fail(w, &Failure{Status: http.StatusForbidden, Message: "Invalid thing name passed"})
	default:
		creds := a.issue()
		writeJSON(w, "application/json", http.StatusOK, map[string]any{"credentials": map[string]string{
			"accessKeyId": creds.AccessKeyID, "secretAccessKey": creds.SecretAccessKey, "sessionToken": creds.SessionToken,
			"expiration": creds.Expires.UTC().Format(time.RFC3339),
		}})
	}
}
