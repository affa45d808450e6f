// SPDX-License-Identifier: Apache-2.0

package iottest

import (
	"errors"
	"net/http"
	"time"
)

// SSORole is a role of an account that the portal of IAM Identity Center hands
// credentials out for. The endpoint is portal.sso.<region>.amazonaws.com.
type SSORole struct {
	// AccountID and RoleName name the role. AccountID is that of the core when empty.
	AccountID, RoleName string
	// AccessToken is what a login leaves in ~/.aws/sso/cache, and what the
	// portal wants to see. Required.
	AccessToken string
	// Lifetime of the credentials, one hour when zero.
	Lifetime time.Duration
	// Policies are the AWS IoT policies of the credentials, as JSON documents;
	// without any they allow everything.
	Policies []string
}

// AddSSORole makes the portal issue credentials for a role.
func (c *Core) AddSSORole(r SSORole) error {
	if r.RoleName == "" || r.AccessToken == "" {
		return errors.New("iottest: an SSO role needs a name and an access token")
	}
	setDefault(&r.AccountID, c.opts.AccountID)
	setDefault(&r.Lifetime, time.Hour)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ssoRoles[ssoName{r.AccountID, r.RoleName}] = &r
	return nil
}

type ssoName struct{ account, role string }

// serveSSO is GET /federation/credentials of the portal.
func (c *Core) serveSSO(w http.ResponseWriter, r *http.Request, tr *transport) {
	fail := func(status int, kind, message string) {
		c.emit(Event{Type: RequestRefused, Conn: tr.raw.id, Status: status, Err: errors.New("iottest: " + message)})
		w.Header().Set("X-Amzn-Errortype", kind)
		writeJSON(w, "application/json", status, map[string]string{"message": message})
	}
	query := r.URL.Query()
	name := ssoName{query.Get("account_id"), query.Get("role_name")}
	token := r.Header.Get("X-Amz-Sso_bearer_token")
	c.mu.Lock()
	role := c.ssoRoles[name]
	known := false
	for _, other := range c.ssoRoles {
		known = known || other.AccessToken == token
	}
	c.mu.Unlock()
	switch {
	case r.Method != http.MethodGet || r.URL.Path != "/federation/credentials":
		fail(http.StatusNotFound, "ResourceNotFoundException", "no such operation")
		return
	case name.account == "" || name.role == "":
		fail(http.StatusBadRequest, "InvalidRequestException", "account_id and role_name are required")
		return
	case !known:
		fail(http.StatusUnauthorized, "UnauthorizedException", "Session token not found or invalid")
		return
	case role == nil || role.AccessToken != token:
		fail(http.StatusForbidden, "ForbiddenException", "No access")
		return
	}
	k, err := c.issue("sso", tr.raw.id, role.Lifetime, role.Policies)
	if err != nil {
		c.refuseHTTP(w, tr, http.StatusInternalServerError, err)
		return
	}
	writeJSON(w, "application/json", http.StatusOK, map[string]any{"roleCredentials": map[string]any{
		"accessKeyId": k.AccessKeyID, "secretAccessKey": k.SecretAccessKey, "sessionToken": k.SessionToken,
		"expiration": k.Expires.UnixMilli(),
	}})
}
