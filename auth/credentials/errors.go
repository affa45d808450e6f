// SPDX-License-Identifier: Apache-2.0

package credentials

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
	"unicode"

	"github.com/aws/smithy-go"
)

var (
	// ErrNotConfigured means that a source does not apply here: its environment
	// variables are not set, its profile does not exist or names no credentials.
	ErrNotConfigured = errors.New("not configured")

	// ErrNoCredentials means that no provider of a chain gave credentials. The
	// errors of all of them are in the same tree.
	ErrNoCredentials = errors.New("no provider of the chain gave credentials")

	// ErrExpired means that the source gave credentials that have expired
	// already. Either the source is at fault, or the clock of this device.
	ErrExpired = errors.New("the source gave credentials that have expired")

	// ErrIdentity means that a Cognito identity id is not one, most often because
	// it is the id of an identity pool.
	ErrIdentity = errors.New("not a Cognito identity id")

	// ErrHost means that a container endpoint with plain http is on a host that
	// credentials must not be sent to.
	ErrHost = errors.New("host is not a container endpoint")

	// ErrReplyTooLarge means that a reply was longer than 64 KiB.
	ErrReplyTooLarge = errors.New("reply is longer than 64 KiB")
)

// Error is the error of a provider. Its text contains no secrets.
type Error struct {
	// Provider names the source, as [Provider.String] does.
	Provider string

	// StatusCode is the HTTP status of the reply that refused; 0 if there was none.
	StatusCode int

	// Err is the cause.
	Err error
}

// maxErrorText bounds what a server can put into our logs.
const maxErrorText = 2048

// Error implements error.
func (e *Error) Error() string {
	text := "credentials: " + e.Provider + ": " + e.Err.Error()
	if len(text) > maxErrorText {
		text = strings.ToValidUTF8(text[:maxErrorText], "") + "…"
	}
	// A server's message must not forge lines of a log.
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, strings.ReplaceAll(text, "\n", "; "))
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Stage is "credentials", as package iot names the stage that failed.
func (e *Error) Stage() string { return "credentials" }

// Advice says what to check.
func (e *Error) Advice() string {
	switch {
	case errors.Is(e, ErrNoCredentials):
		return "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or a profile, or give the constructor another provider"
	case errors.Is(e, ErrIdentity):
		return "an identity pool is not an identity: give the pool as IdentityPoolID"
	case errors.Is(e, ErrExpired):
		return "make the source give fresh credentials, and check the clock"
	case e.StatusCode == http.StatusBadRequest, e.StatusCode == http.StatusNotFound:
		return "check the names and ids that the provider asks with, the account and the region"
	case e.StatusCode == http.StatusUnauthorized, e.StatusCode == http.StatusForbidden:
		return "check that the service lets this device have credentials: its certificate is active, its policy allows iot:AssumeRoleWithCertificate on the role alias, the role trusts the service"
	}
	return "the credentials provider failed: it is asked at every attempt to connect"
}

func newError(provider string, err error) error {
	// A cache passes on the error of its source, which says it all.
	if e, ok := err.(*Error); ok { // only the outermost counts
		return e
	}
	e := &Error{Provider: provider, Err: err}
	var status interface{ HTTPStatusCode() int }
	if errors.As(err, &status) {
		e.StatusCode = status.HTTPStatusCode()
	}
	if malformed(err) {
		e.Err = &replyError{err}
	}
	return e
}

// malformed recognizes errors about the contents of a reply. Those of the AWS SDK
// and the standard library quote what they could not read, which may be a key.
func malformed(err error) bool {
	var deserialization *smithy.DeserializationError
	var kind *json.UnmarshalTypeError
	var syntax *json.SyntaxError
	var date *time.ParseError
	return errors.As(err, &deserialization) || errors.As(err, &kind) || errors.As(err, &syntax) || errors.As(err, &date)
}

// replyError stands for an error about the contents of a reply, without
// repeating any of them. The cause is not in the error tree on purpose.
type replyError struct{ err error }

func (e *replyError) Error() string {
	var kind *json.UnmarshalTypeError
	var syntax *json.SyntaxError
	switch {
	case errors.Is(e.err, ErrReplyTooLarge):
		return ErrReplyTooLarge.Error()
	case errors.Is(e.err, errNoCredentials):
		return "malformed reply: credentials are missing or incomplete"
	case errors.As(e.err, &kind):
		return "malformed reply: a field has the wrong type"
	case errors.As(e.err, &syntax):
		return fmt.Sprintf("malformed reply: not JSON at byte %d", syntax.Offset)
	}
	return "malformed reply"
}

// Is finds the sentinels in the hidden cause.
func (e *replyError) Is(target error) bool { return errors.Is(e.err, target) }
