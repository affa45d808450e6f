// SPDX-License-Identifier: Apache-2.0

package iottest

import (
	"encoding/xml"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// Role is a role of AWS Identity and Access Management that AWS STS lets others
// assume. The endpoints are sts.<region>.amazonaws.com and sts.amazonaws.com.
type Role struct {
	// ARN names the role.
	ARN string
	// ExternalID, when not empty, must be given by AssumeRole.
	ExternalID string
	// WebIdentity judges the token of AssumeRoleWithWebIdentity; nil refuses all.
	WebIdentity func(token string) error
	// Policies are the AWS IoT policies of the credentials, as JSON documents;
	// without any they allow everything.
	Policies []string
}

// AddRole lets everybody with a valid signature assume a role, and everybody
// whose token Role.WebIdentity accepts.
func (c *Core) AddRole(r Role) error {
	if r.ARN == "" {
		return errors.New("iottest: a role needs an ARN")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.roles[r.ARN] = &r
	return nil
}

type stsCredentials struct {
	AccessKeyId, SecretAccessKey, SessionToken, Expiration string
}

type stsUser struct{ Arn, AssumedRoleId string }

func (c *Core) serveSTS(w http.ResponseWriter, r *http.Request, tr *transport) {
	fail := func(status int, code string, err error) {
		c.emit(Event{Type: RequestRefused, Conn: tr.raw.id, Status: status, Err: err})
		type detail struct{ Type, Code, Message string }
		writeXML(w, status, struct {
			XMLName   xml.Name `xml:"https://sts.amazonaws.com/doc/2011-06-15/ ErrorResponse"`
			Error     detail
			RequestId string
		}{Error: detail{"Sender", code, err.Error()}, RequestId: uuid()})
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, 64<<10))
	if err != nil {
		return
	}
	form, err := url.ParseQuery(string(body))
	if err != nil || r.Method != http.MethodPost || form.Get("Version") != "2011-06-15" {
		fail(http.StatusBadRequest, "InvalidAction", errors.New("iottest: not a request for AWS STS"))
		return
	}
	c.mu.Lock()
	role := c.roles[form.Get("RoleArn")]
	c.mu.Unlock()
	action := form.Get("Action")
	lifetime := time.Hour
	if s := form.Get("DurationSeconds"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 900 || n > 43200 {
			fail(http.StatusBadRequest, "ValidationError", errors.New("iottest: DurationSeconds must be 900 to 43200"))
			return
		}
		lifetime = time.Duration(n) * time.Second
	}
	if form.Get("RoleSessionName") == "" {
		fail(http.StatusBadRequest, "ValidationError", errors.New("iottest: RoleSessionName is missing"))
		return
	}
	switch action {
	case "AssumeRole":
		if _, err := c.verifySignature(r, "sts", hexSHA256(body)); err != nil {
			fail(http.StatusForbidden, "SignatureDoesNotMatch", err)
			return
		}
		if role == nil || role.ExternalID != "" && role.ExternalID != form.Get("ExternalId") {
			fail(http.StatusForbidden, "AccessDenied", errors.New("iottest: not authorized to perform sts:AssumeRole on the role"))
			return
		}
	case "AssumeRoleWithWebIdentity":
		if role == nil || role.WebIdentity == nil {
			fail(http.StatusForbidden, "AccessDenied", errors.New("iottest: not authorized to perform sts:AssumeRoleWithWebIdentity"))
			return
		}
		if err := role.WebIdentity(form.Get("WebIdentityToken")); err != nil {
			fail(http.StatusBadRequest, "InvalidIdentityToken", err)
			return
		}
	default:
		fail(http.StatusBadRequest, "InvalidAction", errors.New("iottest: unknown action"))
		return
	}
	k, err := c.issue("sts", tr.raw.id, lifetime, role.Policies)
	if err != nil {
		fail(http.StatusInternalServerError, "InternalFailure", err)
		return
	}
	type result struct {
		Credentials     stsCredentials
		AssumedRoleUser stsUser
	}
	res := result{
		Credentials:     stsCredentials{k.AccessKeyID, k.SecretAccessKey, k.SessionToken, k.Expires.UTC().Format(time.RFC3339)},
		AssumedRoleUser: stsUser{role.ARN + "/" + form.Get("RoleSessionName"), "AROA:" + form.Get("RoleSessionName")},
	}
	type meta struct{ RequestId string }
	const space = "https://sts.amazonaws.com/doc/2011-06-15/"
	if action == "AssumeRole" {
		writeXML(w, http.StatusOK, struct {
			XMLName          xml.Name
			AssumeRoleResult result
			ResponseMetadata meta
		}{xml.Name{Space: space, Local: "AssumeRoleResponse"}, res, meta{uuid()}})
		return
	}
	writeXML(w, http.StatusOK, struct {
		XMLName                         xml.Name
		AssumeRoleWithWebIdentityResult result
		ResponseMetadata                meta
	}{xml.Name{Space: space, Local: "AssumeRoleWithWebIdentityResponse"}, res, meta{uuid()}})
}

func writeXML(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "text/xml")
	w.WriteHeader(status)
	_ = xml.NewEncoder(w).Encode(v)
}
