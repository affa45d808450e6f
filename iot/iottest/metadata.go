// SPDX-License-Identifier: Apache-2.0

package iottest

import (
	"fmt"
	"maps"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// Metadata is the plain HTTP server that stands for the instance metadata
// service of Amazon EC2 (version 2) and the credentials endpoint of a
// container, see [Core.StartMetadata].
type Metadata struct {
	// Endpoint is the value for AWS_EC2_METADATA_SERVICE_ENDPOINT.
	Endpoint string
	// ContainerURL is the value for AWS_CONTAINER_CREDENTIALS_FULL_URI.
	ContainerURL string
	// AuthorizationToken is the value for AWS_CONTAINER_AUTHORIZATION_TOKEN,
	// which the container endpoint demands.
	AuthorizationToken string
	// Role is the name of the role of the instance.
	Role string

	server *http.Server
	mu     sync.Mutex
	tokens map[string]time.Time
}

// MetadataOptions say what [Core.StartMetadata] issues.
type MetadataOptions struct {
	// Lifetime of the credentials, 6 hours when zero.
	Lifetime time.Duration
	// Policies are the AWS IoT policies of the credentials, as JSON documents;
	// without any they allow everything.
	Policies []string
}

// StartMetadata starts the metadata server on 127.0.0.1. It ends with the core;
// a core has one.
func (c *Core) StartMetadata(o MetadataOptions) (*Metadata, error) {
	setDefault(&o.Lifetime, 6*time.Hour)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || c.metadata != nil {
		return nil, fmt.Errorf("iottest: the core is closed, or has a metadata server already")
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("iottest: %w", err)
	}
	m := &Metadata{Endpoint: "http://" + ln.Addr().String(), AuthorizationToken: randomHex(16), Role: "iottest-role",
		tokens: map[string]time.Time{}}
	m.ContainerURL = m.Endpoint + "/container/credentials"
	issue := func(w http.ResponseWriter, source string, more map[string]any) {
		k, err := c.issue(source, 0, o.Lifetime, o.Policies)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		body := map[string]any{"AccessKeyId": k.AccessKeyID, "SecretAccessKey": k.SecretAccessKey,
			"Token": k.SessionToken, "Expiration": k.Expires.UTC().Format(time.RFC3339)}
		for name, v := range more {
			body[name] = v
		}
		writeJSON(w, "application/json", http.StatusOK, body)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("PUT /latest/api/token", func(w http.ResponseWriter, r *http.Request) {
		const ttlHeader = "X-aws-ec2-metadata-token-ttl-seconds"
		ttl, err := strconv.Atoi(r.Header.Get(ttlHeader))
		if err != nil || ttl < 1 || ttl > 21600 {
			http.Error(w, "bad or missing "+ttlHeader, http.StatusBadRequest)
			return
		}
		w.Header().Set(ttlHeader, strconv.Itoa(ttl))
		_, _ = w.Write([]byte(m.newToken(c.now().Add(time.Duration(ttl) * time.Second))))
	})
	guarded := func(h http.HandlerFunc) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if !m.valid(r.Header.Get("X-aws-ec2-metadata-token"), c.now()) {
				http.Error(w, "token is missing, unknown or expired", http.StatusUnauthorized)
				return
			}
			h(w, r)
		}
	}
	const path = "/latest/meta-data/iam/security-credentials/"
	mux.HandleFunc("GET "+path+"{$}", guarded(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(m.Role)) }))
	mux.HandleFunc("GET "+path+m.Role, guarded(func(w http.ResponseWriter, _ *http.Request) {
		issue(w, "imds", map[string]any{"Code": "Success", "Type": "AWS-HMAC", "LastUpdated": c.now().UTC().Format(time.RFC3339)})
	}))
	mux.HandleFunc("GET /container/credentials", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != m.AuthorizationToken {
			http.Error(w, "wrong authorization token", http.StatusForbidden)
			return
		}
		issue(w, "container", map[string]any{"RoleArn": "arn:aws:iam::" + c.opts.AccountID + ":role/" + m.Role})
	})
	m.server = &http.Server{Handler: mux, ReadHeaderTimeout: c.opts.ConnectTimeout}
	c.metadata = m
	c.wg.Go(func() { _ = m.server.Serve(ln) })
	return m, nil
}

func (m *Metadata) newToken(expires time.Time) string {
	token := randomHex(28)
	m.mu.Lock()
	defer m.mu.Unlock()
	maps.DeleteFunc(m.tokens, func(_ string, end time.Time) bool { return end.Before(expires.Add(-6 * time.Hour)) })
	m.tokens[token] = expires
	return token
}

func (m *Metadata) valid(token string, now time.Time) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	expires, ok := m.tokens[token]
	return ok && now.Before(expires)
}

// DropTokens makes the metadata service forget its session tokens, so that it
// answers 401 to those who hold one.
func (m *Metadata) DropTokens() {
	m.mu.Lock()
	defer m.mu.Unlock()
	clear(m.tokens)
}
