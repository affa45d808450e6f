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
	// WebIdentity verifies the token of AssumeRoleWithWebIdentity; nil refuses all.
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
	call, err := readSTSCall(r)
	var role *Role
	if err == nil {
		role, err = c.authorizeSTS(r, call)
	}
	var k *AccessKey
	if err == nil {
		if k, err = c.issue("sts", tr.raw.id, call.lifetime, role.Policies); err != nil {
			err = stsError(http.StatusInternalServerError, "InternalFailure", err)
		}
	}
	var refusal *stsRefusal
	if errors.As(err, &refusal) {
		c.emit(Event{Type: RequestRefused, Conn: tr.raw.id, Status: refusal.status, Err: refusal.error})
		refusal.write(w)
		return
	}
	session := call.form.Get("RoleSessionName")
	call.answer(w, stsResult{
		Credentials:     stsCredentials{k.AccessKeyID, k.SecretAccessKey, k.SessionToken, k.Expires.UTC().Format(time.RFC3339)},
		AssumedRoleUser: stsUser{role.ARN + "/" + session, "AROA:" + session},
	})
}

// stsRefusal is an error as AWS STS answers it.
type stsRefusal struct {
	error
	status int
	code   string
}

func stsError(status int, code string, err error) error { return &stsRefusal{err, status, code} }

func (e *stsRefusal) write(w http.ResponseWriter) {
	type detail struct{ Type, Code, Message string }
	writeXML(w, e.status, struct {
		XMLName   xml.Name `xml:"https://sts.amazonaws.com/doc/2011-06-15/ ErrorResponse"`
		Error     detail
		RequestId string
	}{Error: detail{"Sender", e.code, e.Error()}, RequestId: uuid()})
}

// stsCall is a request to AWS STS.
type stsCall struct {
	body     []byte
	form     url.Values
	lifetime time.Duration
}

func readSTSCall(r *http.Request) (*stsCall, error) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 64<<10))
	if err != nil {
		return nil, stsError(http.StatusBadRequest, "InvalidAction", err)
	}
	form, err := url.ParseQuery(string(body))
	if err != nil || r.Method != http.MethodPost || form.Get("Version") != "2011-06-15" {
		return nil, stsError(http.StatusBadRequest, "InvalidAction", errors.New("iottest: not a request for AWS STS"))
	}
	call := &stsCall{body: body, form: form, lifetime: time.Hour}
	if s := form.Get("DurationSeconds"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 900 || n > 43200 {
			return nil, stsError(http.StatusBadRequest, "ValidationError", errors.New("iottest: DurationSeconds must be 900 to 43200"))
		}
		call.lifetime = time.Duration(n) * time.Second
	}
	if form.Get("RoleSessionName") == "" {
		return nil, stsError(http.StatusBadRequest, "ValidationError", errors.New("iottest: RoleSessionName is missing"))
	}
	return call, nil
}

// authorizeSTS returns the role that the caller may assume.
func (c *Core) authorizeSTS(r *http.Request, call *stsCall) (*Role, error) {
	denied := func(action string) error {
		return stsError(http.StatusForbidden, "AccessDenied", errors.New("iottest: not authorized to perform sts:"+action))
	}
	c.mu.Lock()
	role := c.roles[call.form.Get("RoleArn")]
	c.mu.Unlock()
	switch action := call.form.Get("Action"); action {
	case "AssumeRole":
		if _, err := c.verifySignature(r, "sts", hexSHA256(call.body)); err != nil {
			return nil, stsError(http.StatusForbidden, "SignatureDoesNotMatch", err)
		}
		if role == nil || role.ExternalID != "" && role.ExternalID != call.form.Get("ExternalId") {
			return nil, denied(action + " on the role")
		}
	case "AssumeRoleWithWebIdentity":
		if role == nil || role.WebIdentity == nil {
			return nil, denied(action)
		}
		if err := role.WebIdentity(call.form.Get("WebIdentityToken")); err != nil {
			return nil, stsError(http.StatusBadRequest, "InvalidIdentityToken", err)
		}
	default:
		return nil, stsError(http.StatusBadRequest, "InvalidAction", errors.New("iottest: unknown action"))
	}
	return role, nil
}

type stsResult struct {
	Credentials     stsCredentials
	AssumedRoleUser stsUser
}

func (s *stsCall) answer(w http.ResponseWriter, res stsResult) {
	type meta struct{ RequestId string }
	const space = "https://sts.amazonaws.com/doc/2011-06-15/"
	if s.form.Get("Action") == "AssumeRole" {
		writeXML(w, http.StatusOK, struct {
			XMLName          xml.Name
			AssumeRoleResult stsResult
			ResponseMetadata meta
		}{xml.Name{Space: space, Local: "AssumeRoleResponse"}, res, meta{uuid()}})
		return
	}
	writeXML(w, http.StatusOK, struct {
		XMLName                         xml.Name
		AssumeRoleWithWebIdentityResult stsResult
		ResponseMetadata                meta
	}{xml.Name{Space: space, Local: "AssumeRoleWithWebIdentityResponse"}, res, meta{uuid()}})
}

func writeXML(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "text/xml")
	w.WriteHeader(status)
	_ = xml.NewEncoder(w).Encode(v)
}
