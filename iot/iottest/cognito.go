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
	// Authenticate verifies the logins of a request, provider name to token; nil
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

// cognitoRequest is the body of a request of either operation.
type cognitoRequest struct {
	IdentityPoolId, IdentityId, CustomRoleArn, AccountId string
	Logins                                               map[string]string
}

// cognitoError is the answer to a request that fails.
type cognitoError struct{ kind, message string }

func (c *Core) serveCognito(w http.ResponseWriter, r *http.Request, tr *transport) {
	var req cognitoRequest
	var answer any
	failure := &cognitoError{"SerializationException", "request is not JSON"}
	if err := json.NewDecoder(io.LimitReader(r.Body, 64<<10)).Decode(&req); err == nil && r.Method == http.MethodPost {
		answer, failure = c.callCognito(r.Header.Get("X-Amz-Target"), &req, tr)
	}
	if failure != nil {
		c.emit(Event{Type: RequestRefused, Conn: tr.raw.id, Status: http.StatusBadRequest, Err: errors.New("iottest: " + failure.message)})
		writeJSON(w, amzJSON, http.StatusBadRequest, map[string]string{"__type": failure.kind, "message": failure.message})
		return
	}
	writeJSON(w, amzJSON, http.StatusOK, answer)
}

func (c *Core) callCognito(target string, req *cognitoRequest, tr *transport) (answer any, failure *cognitoError) {
	switch target {
	case "AWSCognitoIdentityService.GetId":
		return c.getID(req)
	case "AWSCognitoIdentityService.GetCredentialsForIdentity":
		return c.getCredentialsForIdentity(req, tr)
	}
	return nil, &cognitoError{"UnknownOperationException", fmt.Sprintf("unknown operation %q", target)}
}

func (c *Core) getID(req *cognitoRequest) (answer any, failure *cognitoError) {
	c.mu.Lock()
	pool := c.pools[req.IdentityPoolId]
	c.mu.Unlock()
	if pool == nil {
		return nil, &cognitoError{"ResourceNotFoundException", fmt.Sprintf("IdentityPool '%s' not found.", req.IdentityPoolId)}
	}
	if failure := pool.judge(req.Logins); failure != nil {
		return nil, failure
	}
	id, err := c.CreateIdentity(pool.ID)
	if err != nil {
		return nil, &cognitoError{"InternalErrorException", err.Error()}
	}
	return map[string]string{"IdentityId": id}, nil
}

func (c *Core) getCredentialsForIdentity(req *cognitoRequest, tr *transport) (answer any, failure *cognitoError) {
	c.mu.Lock()
	pool := c.pools[c.identities[req.IdentityId]]
	c.mu.Unlock()
	if pool == nil {
		return nil, &cognitoError{"ResourceNotFoundException", fmt.Sprintf("Identity '%s' not found.", req.IdentityId)}
	}
	if failure := pool.judge(req.Logins); failure != nil {
		return nil, failure
	}
	k, err := c.issue("cognito", tr.raw.id, pool.Lifetime, pool.Policies)
	if err != nil {
		return nil, &cognitoError{"InternalErrorException", err.Error()}
	}
	return map[string]any{"IdentityId": req.IdentityId, "Credentials": map[string]any{
		"AccessKeyId": k.AccessKeyID, "SecretKey": k.SecretAccessKey, "SessionToken": k.SessionToken,
		"Expiration": float64(k.Expires.UnixMilli()) / 1000,
	}}, nil
}

// judge verifies the logins of a request.
func (p *IdentityPool) judge(logins map[string]string) *cognitoError {
	if p.Authenticate == nil {
		return nil
	}
	if err := p.Authenticate(logins); err != nil {
		return &cognitoError{"NotAuthorizedException", "invalid login token: " + err.Error()}
	}
	return nil
}
