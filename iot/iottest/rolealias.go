// SPDX-License-Identifier: Apache-2.0

package iottest

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// RoleAlias is a role that devices may assume with their certificate.
type RoleAlias struct {
	// Name is the role alias.
	Name string
	// Lifetime of the credentials, one hour when zero.
	Lifetime time.Duration
	// Policies are the AWS IoT policies of the credentials, as JSON documents;
	// without any they allow everything.
	Policies []string
}

// AddRoleAlias makes the credentials endpoint ([Core.CredentialsEndpoint])
// issue credentials for a role alias, to devices whose policies allow
// iot:AssumeRoleWithCertificate on it. The core accepts these credentials in
// signatures.
func (c *Core) AddRoleAlias(a RoleAlias) error {
	if a.Name == "" {
		return errors.New("iottest: a role alias needs a name")
	}
	setDefault(&a.Lifetime, time.Hour)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.roleAliases[a.Name] = &a
	return nil
}

// issue makes temporary credentials and records where they came from.
func (c *Core) issue(source string, conn int64, lifetime time.Duration, policies []string) (*AccessKey, error) {
	k, err := c.CreateAccessKey(AccessKeyOptions{Lifetime: lifetime, Policies: policies})
	if err != nil {
		return nil, err
	}
	c.emit(Event{Type: CredentialsIssued, Conn: conn, AccessKeyID: k.AccessKeyID, Source: source})
	return k, nil
}

func writeJSON(w http.ResponseWriter, contentType string, status int, v any) {
	w.Header().Set("Content-Type", contentType)
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}

// serveRoleAlias is GET /role-aliases/<alias>/credentials of the credentials endpoint.
func (c *Core) serveRoleAlias(w http.ResponseWriter, r *http.Request, tr *transport) {
	name, ok := strings.CutPrefix(r.URL.Path, "/role-aliases/")
	name, ok2 := strings.CutSuffix(name, "/credentials")
	if !ok || !ok2 || r.Method != http.MethodGet {
		c.refuseHTTP(w, tr, http.StatusNotFound, errors.New("iottest: not a role alias request"))
		return
	}
	p, err := c.authenticateX509(tr)
	if err != nil {
		c.refuseHTTP(w, tr, http.StatusForbidden, err)
		return
	}
	if thing := r.Header.Get("x-amzn-iot-thingname"); thing != "" && thing != p.device.name {
		c.refuseHTTP(w, tr, http.StatusForbidden, errors.New("iottest: the thing is not attached to the certificate"))
		return
	}
	c.mu.Lock()
	alias := c.roleAliases[name]
	allowed := p.allowed(c, p.device.name, "iot:AssumeRoleWithCertificate", "rolealias/"+name)
	c.mu.Unlock()
	switch {
	case alias == nil:
		c.refuseHTTP(w, tr, http.StatusNotFound, fmt.Errorf("iottest: role alias %q does not exist", name))
		return
	case !allowed:
		c.refuseHTTP(w, tr, http.StatusForbidden, errors.New("iottest: iot:AssumeRoleWithCertificate is not allowed on the role alias"))
		return
	}
	k, err := c.issue("role-alias", tr.raw.id, alias.Lifetime, alias.Policies)
	if err != nil {
		c.refuseHTTP(w, tr, http.StatusInternalServerError, err)
		return
	}
	writeJSON(w, "application/json", http.StatusOK, map[string]any{"credentials": map[string]string{
		"accessKeyId": k.AccessKeyID, "secretAccessKey": k.SecretAccessKey, "sessionToken": k.SessionToken,
		"expiration": k.Expires.UTC().Format(time.RFC3339),
	}})
}
