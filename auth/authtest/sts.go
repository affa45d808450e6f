// SPDX-License-Identifier: Apache-2.0

package authtest

import (
	"encoding/xml"
	"errors"
	"net/http"
	"net/url"
	"time"
)

// STS speaks the query protocol of the AWS Security Token Service: AssumeRole
// and AssumeRoleWithWebIdentity.
type STS struct {
	Endpoint
	verifier *Verifier
}

// NewSTS returns a handler. With a verifier, AssumeRole is refused unless the
// request is signed for the service "sts"; without one, any signature will do.
func NewSTS(o Options, v *Verifier) *STS {
	s := &STS{verifier: v}
	s.init(o)
	return s
}

func stsError(w http.ResponseWriter, f *Failure) {
	type detail struct{ Type, Code, Message string }
	writeXML(w, f.Status, struct {
		XMLName   xml.Name `xml:"https://sts.amazonaws.com/doc/2011-06-15/ ErrorResponse"`
		Error     detail
		RequestID string `xml:"RequestId"`
	}{Error: detail{"Sender", f.Code, f.Message}, RequestID: "1"})
}

func writeXML(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "text/xml")
	w.WriteHeader(status)
	_ = xml.NewEncoder(w).Encode(v)
}

type stsCredentials struct {
	AccessKeyID     string `xml:"AccessKeyId"`
	SecretAccessKey string
	SessionToken    string
	Expiration      string
}

type stsResult struct {
	Credentials     stsCredentials
	AssumedRoleUser struct{ Arn, AssumedRoleId string }
}

// ServeHTTP implements http.Handler.
func (s *STS) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, ok := s.begin(w, r, stsError)
	if !ok {
		return
	}
	form, err := url.ParseQuery(string(body))
	if r.Method != http.MethodPost || err != nil || form.Get("Version") != "2011-06-15" {
		stsError(w, &Failure{Status: http.StatusBadRequest, Code: "MalformedInput"})
		return
	}
	action := form.Get("Action")
	switch action {
	case "AssumeRole":
		if err := s.verify(r, body); err != nil {
			stsError(w, &Failure{Status: http.StatusForbidden, Code: "SignatureDoesNotMatch", Message: err.Error()})
			return
		}
	case "AssumeRoleWithWebIdentity":
		if form.Get("WebIdentityToken") == "" {
			stsError(w, &Failure{Status: http.StatusBadRequest, Code: "InvalidIdentityToken"})
			return
		}
	default:
		stsError(w, &Failure{Status: http.StatusBadRequest, Code: "InvalidAction"})
		return
	}
	if form.Get("RoleArn") == "" || form.Get("RoleSessionName") == "" {
		stsError(w, &Failure{Status: http.StatusBadRequest, Code: "ValidationError"})
		return
	}
	creds := s.issue()
	result := stsResult{Credentials: stsCredentials{
		AccessKeyID: creds.AccessKeyID, SecretAccessKey: creds.SecretAccessKey, SessionToken: creds.SessionToken,
		Expiration: creds.Expires.UTC().Format(time.RFC3339),
	}}
	result.AssumedRoleUser.Arn = "arn:aws:sts::123456789012:assumed-role/example/" + form.Get("RoleSessionName")
	result.AssumedRoleUser.AssumedRoleId = "AROAEXAMPLE:" + form.Get("RoleSessionName")
	if action == "AssumeRole" {
		writeXML(w, http.StatusOK, struct {
			XMLName xml.Name  `xml:"https://sts.amazonaws.com/doc/2011-06-15/ AssumeRoleResponse"`
			Result  stsResult `xml:"AssumeRoleResult"`
		}{Result: result})
		return
	}
	writeXML(w, http.StatusOK, struct {
		XMLName xml.Name  `xml:"https://sts.amazonaws.com/doc/2011-06-15/ AssumeRoleWithWebIdentityResponse"`
		Result  stsResult `xml:"AssumeRoleWithWebIdentityResult"`
	}{Result: result})
}

func (s *STS) verify(r *http.Request, body []byte) error {
	if s.verifier != nil {
		return s.verifier.Verify(r, body)
	}
	if r.Header.Get("Authorization") == "" {
		return errors.New("the request is not signed")
	}
	return nil
}
