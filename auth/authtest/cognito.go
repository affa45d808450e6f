// SPDX-License-Identifier: Apache-2.0

package authtest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
)

// Cognito speaks the JSON protocol of the Amazon Cognito identity service:
// GetId and GetCredentialsForIdentity.
type Cognito struct {
	Endpoint
	identities map[string]bool
	pools      map[string]string
}

// NewCognito returns a handler. identities are the ids it knows; pools maps the
// ids of pools to that of the identity which GetId gives.
func NewCognito(o Options, identities []string, pools map[string]string) *Cognito {
	c := &Cognito{identities: map[string]bool{}, pools: map[string]string{}}
	c.init(o)
	for _, id := range identities {
		c.identities[id] = true
	}
	for pool, id := range pools {
		c.pools[pool] = id
		c.identities[id] = true
	}
	return c
}

const amzJSON = "application/x-amz-json-1.1"

func amzError(w http.ResponseWriter, f *Failure) {
	writeJSON(w, amzJSON, f.Status, map[string]string{"__type": f.Code, "message": f.Message})
}

// ServeHTTP implements http.Handler.
func (c *Cognito) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, ok := c.begin(w, r, amzError)
	if !ok {
		return
	}
	var in struct{ IdentityId, IdentityPoolId string }
	if r.Method != http.MethodPost || json.Unmarshal(body, &in) != nil {
		amzError(w, &Failure{Status: http.StatusBadRequest, Code: "SerializationException"})
		return
	}
	notFound := func(kind, id string) {
		amzError(w, &Failure{Status: http.StatusBadRequest, Code: "ResourceNotFoundException", Message: fmt.Sprintf("%s '%s' not found.", kind, id)})
	}
	switch strings.TrimPrefix(r.Header.Get("X-Amz-Target"), "AWSCognitoIdentityService.") {
	case "GetId":
		id, ok := c.pools[in.IdentityPoolId]
		if !ok {
			notFound("IdentityPool", in.IdentityPoolId)
			return
		}
		writeJSON(w, amzJSON, http.StatusOK, map[string]string{"IdentityId": id})
	case "GetCredentialsForIdentity":
		if !c.identities[in.IdentityId] {
			notFound("Identity", in.IdentityId)
			return
		}
		creds := c.issue()
		writeJSON(w, amzJSON, http.StatusOK, map[string]any{
			"IdentityId": in.IdentityId,
			"Credentials": map[string]any{
				"AccessKeyId":  creds.AccessKeyID,
				"SecretKey":    creds.SecretAccessKey,
				"SessionToken": creds.SessionToken,
				"Expiration":   float64(creds.Expires.UnixMilli()) / 1000,
			},
		})
	default:
		amzError(w, &Failure{Status: http.StatusBadRequest, Code: "UnknownOperationException"})
	}
}
