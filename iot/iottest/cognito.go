// SPDX-License-Identifier: Apache-2.0

package iottest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// IdentityPool is an Amazon Cognito identity pool. The endpoint is
// cognito-identity.<region>.amazonaws.com.
type IdentityPool struct {
	// ID of the pool, such as "us-east-1:1b2c...". Made up when empty.
	ID string
	// Authenticate judges the logins of a request, provider name to token; nil
	// lets everybody in, guests too.
	Authenticate func(logins map[string]string) error
	// Lifetime of the credentials, one hour when zero.
	Lifetime time.Duration
	// Policies are the AWS IoT policies of the credentials, as JSON documents;
	// without any they allow everything.
	Policies []string
}

// AddIdentityPool registers an identity pool and returns its ID.
func (c *Core) AddIdentityPool(p IdentityPool) string {
	setDefault(&p.ID, c.opts.Region+":"+uuid())
	setDefault(&p.Lifetime, time.Hour)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pools[p.ID] = &p
	return p.ID
}

// CreateIdentity makes an identity of a pool, as GetId does, and returns its ID.
func (c *Core) CreateIdentity(poolID string) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.pools[poolID] == nil {
		return "", fmt.Errorf("iottest: IdentityPool %q not found", poolID)
	}
	id := c.opts.Region + ":" + uuid()
	c.identities[id] = poolID
	c.state.put(bucketIdentities, id, poolID)
	return id, nil
}

const amzJSON = "application/x-amz-json-1.1"

func (c *Core) serveCognito(w http.ResponseWriter, r *http.Request, tr *transport) {
	fail := func(kind, message string) {
		c.emit(Event{Type: RequestRefused, Conn: tr.raw.id, Status: http.StatusBadRequest, Err: errors.New("iottest: " + message)})
		writeJSON(w, amzJSON, http.StatusBadRequest, map[string]string{"__type": kind, "message": message})
	}
	var req struct {
		IdentityPoolId, IdentityId, CustomRoleArn, AccountId string
		Logins                                               map[string]string
	}
	if err := json.NewDecoder(io.LimitReader(r.Body, 64<<10)).Decode(&req); err != nil || r.Method != http.MethodPost {
		fail("SerializationException", "request is not JSON")
		return
	}
	target := r.Header.Get("X-Amz-Target")
	c.mu.Lock()
	poolID := req.IdentityPoolId
	if target != "AWSCognitoIdentityService.GetId" {
		poolID = c.identities[req.IdentityId]
	}
	pool := c.pools[poolID]
	c.mu.Unlock()
	authenticate := func() bool {
		if pool.Authenticate == nil {
			return true
		}
		if err := pool.Authenticate(req.Logins); err != nil {
			fail("NotAuthorizedException", "invalid login token: "+err.Error())
			return false
		}
		return true
	}
	switch target {
	case "AWSCognitoIdentityService.GetId":
		if pool == nil {
			fail("ResourceNotFoundException", fmt.Sprintf("IdentityPool '%s' not found.", req.IdentityPoolId))
			return
		}
		if !authenticate() {
			return
		}
		id, err := c.CreateIdentity(poolID)
		if err != nil {
			fail("InternalErrorException", err.Error())
			return
		}
		writeJSON(w, amzJSON, http.StatusOK, map[string]string{"IdentityId": id})
	case "AWSCognitoIdentityService.GetCredentialsForIdentity":
		if pool == nil {
			fail("ResourceNotFoundException", fmt.Sprintf("Identity '%s' not found.", req.IdentityId))
			return
		}
		if !authenticate() {
			return
		}
		k, err := c.issue("cognito", tr.raw.id, pool.Lifetime, pool.Policies)
		if err != nil {
			fail("InternalErrorException", err.Error())
			return
		}
		writeJSON(w, amzJSON, http.StatusOK, map[string]any{"IdentityId": req.IdentityId, "Credentials": map[string]any{
			"AccessKeyId": k.AccessKeyID, "SecretKey": k.SecretAccessKey, "SessionToken": k.SessionToken,
			"Expiration": float64(k.Expires.UnixMilli()) / 1000,
		}})
	default:
		fail("UnknownOperationException", fmt.Sprintf("unknown operation %q", target))
	}
}
