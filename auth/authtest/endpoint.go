// SPDX-License-Identifier: Apache-2.0

package authtest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// Options are the knobs that all handlers have. The zero value issues numbered
// credentials that live for one hour.
type Options struct {
	// Issue gives the credentials for the n-th call that succeeds, counted from
	// 1. Default: [Credentials], expiring Lifetime from Now.
	Issue func(n int) aws.Credentials

	// Lifetime of the default credentials. Default: 1 hour.
	Lifetime time.Duration

	// Now is the clock. Default: [time.Now].
	Now func() time.Time

	// Fail decides about the n-th call, counted from 1; nil lets it succeed.
	// Default: all succeed. It may be called concurrently.
	Fail func(n int) *Failure

	// Delay is waited before each answer.
	Delay time.Duration
}

// Failure is how a call fails.
type Failure struct {
	// Status of the reply. Default: 500.
	Status int
	// Code and Message are put in the error document of the protocol.
	Code, Message string
	// Body, if set, is sent as it is in place of an error document; with Status
	// 200 it makes a malformed reply.
	Body []byte
	// Hang keeps the call unanswered until the client gives up.
	Hang bool
	// Drop closes the connection without an answer.
	Drop bool
}

// Credentials returns the n-th of a series of made-up temporary credentials.
func Credentials(n int, expires time.Time) aws.Credentials {
	return aws.Credentials{
		AccessKeyID:     fmt.Sprintf("ASIAEXAMPLE%05d", n),
		SecretAccessKey: fmt.Sprintf("secret/key+%d", n),
		SessionToken:    fmt.Sprintf("session/token+%d==", n),
		CanExpire:       true,
		Expires:         expires.Truncate(time.Second).UTC(),
	}
}

// Request is a recorded call.
type Request struct {
	Method string
	Host   string
	URI    string
	Header http.Header
	Body   []byte
}

// Endpoint is what all handlers have in common: it counts and records calls.
type Endpoint struct {
	o Options

	mu       sync.Mutex
	requests []Request
	issued   int
}

func (e *Endpoint) init(o Options) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Lifetime == 0 {
		o.Lifetime = time.Hour
	}
	if o.Issue == nil {
		o.Issue = func(n int) aws.Credentials { return Credentials(n, o.Now().Add(o.Lifetime)) }
	}
	if o.Fail == nil {
		o.Fail = func(int) *Failure { return nil }
	}
	e.o = o
}

// Calls returns how many calls came, failed ones included.
func (e *Endpoint) Calls() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.requests)
}

// Issued returns how many credentials were given out.
func (e *Endpoint) Issued() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.issued
}

// Requests returns all calls, in order of arrival.
func (e *Endpoint) Requests() []Request {
	e.mu.Lock()
	defer e.mu.Unlock()
	return append([]Request(nil), e.requests...)
}

func (e *Endpoint) issue() aws.Credentials {
	e.mu.Lock()
	e.issued++
	n := e.issued
	e.mu.Unlock()
	return e.o.Issue(n)
}

// begin records the call and fails it where that is wanted; fail writes the
// error document of the protocol. It returns false if the call was answered.
func (e *Endpoint) begin(w http.ResponseWriter, r *http.Request, fail func(http.ResponseWriter, *Failure)) ([]byte, bool) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
	if err != nil {
		http.Error(w, "request body", http.StatusBadRequest)
		return nil, false
	}
	e.mu.Lock()
	e.requests = append(e.requests, Request{
		Method: r.Method, Host: r.Host, URI: r.URL.RequestURI(), Header: r.Header.Clone(), Body: bytes.Clone(body),
	})
	n := len(e.requests)
	e.mu.Unlock()

	f := e.o.Fail(n)
	if f != nil && f.Hang {
		<-r.Context().Done()
		return nil, false
	}
	if e.o.Delay > 0 {
		timer := time.NewTimer(e.o.Delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-r.Context().Done():
			return nil, false
		}
	}
	switch {
	case f == nil:
		return body, true
	case f.Drop:
		panic(http.ErrAbortHandler)
	}
	failure := *f
	if failure.Status == 0 {
		failure.Status = http.StatusInternalServerError
	}
	if failure.Body != nil {
		w.WriteHeader(failure.Status)
		_, _ = w.Write(failure.Body)
		return nil, false
	}
	fail(w, &failure)
	return nil, false
}

func writeJSON(w http.ResponseWriter, contentType string, status int, v any) {
	w.Header().Set("Content-Type", contentType)
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}
