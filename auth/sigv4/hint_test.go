// SPDX-License-Identifier: Apache-2.0

package sigv4_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/auth/sigv4"
)

func TestHint(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 2, 3, 4, 5, 6, 0, time.UTC)
	date := func(d time.Duration) string { return now.Add(d).Format(http.TimeFormat) }
	forbidden := []byte(`{"message":"Forbidden","traceId":"1"}`)
	const host = "a-ats.iot.eu-west-1.amazonaws.com"
	temporary := sigv4.Identity{Temporary: true, SessionToken: true, Expires: now.Add(time.Hour)}
	for _, c := range []struct {
		name    string
		refusal sigv4.Refusal
		want    []string // none: no hint
	}{
		{"clock ahead", sigv4.Refusal{Status: 403, Date: date(-17 * time.Minute), Now: now}, []string{"17m0s ahead of", "NTP"}},
		{"clock behind", sigv4.Refusal{Status: 403, Date: date(3 * time.Hour), Now: now, Body: forbidden}, []string{"3h0m0s behind"}},
		{"clock before all else", sigv4.Refusal{Status: 403, Date: date(time.Hour), Now: now, Host: host, Region: "us-east-1"}, []string{"clock"}},
		{"clock, 426", sigv4.Refusal{Status: 426, Date: date(time.Hour), Now: now}, []string{"1h0m0s behind"}},
		{"clock, 400", sigv4.Refusal{Status: 400, Date: date(time.Hour), Now: now}, []string{"1h0m0s behind"}},
		{"stale, 426", sigv4.Refusal{Status: 426, Date: date(0), Now: now}, []string{"stale", "proxy"}},
		{"wrong region", sigv4.Refusal{Status: 403, Host: host, Region: "us-east-1"}, []string{"us-east-1", "eu-west-1", "set the region"}},
		{"region in body", sigv4.Refusal{Status: 403, Region: "x-1", Body: []byte("Credential should be scoped to a valid region")}, []string{`"x-1"`}},
		{"wrong endpoint", sigv4.Refusal{Status: 404}, []string{"describe-endpoint", "/mqtt"}},
		{"missing token", sigv4.Refusal{Status: 403, Identity: sigv4.Identity{Temporary: true}}, []string{"no session token was sent"}},
		{"expired", sigv4.Refusal{Status: 403, Now: now, Identity: sigv4.Identity{SessionToken: true, Expires: now.Add(-time.Minute)}}, []string{"expired at", "1m0s ago"}},
		{"expired, says the body", sigv4.Refusal{Status: 403, Identity: temporary, Body: []byte("The security token included in the request is expired: token has expired")}, []string{"session token has expired"}},
		{"invalid token", sigv4.Refusal{Status: 403, Identity: temporary, Body: []byte("The security token included in the request is invalid")}, []string{"not valid"}},
		{"token wanted", sigv4.Refusal{Status: 403, Body: []byte("security token")}, []string{"does not know the access key", "lacks the session token"}},
		{"unknown long-term key", sigv4.Refusal{Status: 403, Identity: sigv4.IdentityOf(sigv4.Credentials{AccessKeyID: "AKIAEXAMPLE"}),
			Body: []byte("The security token included in the request is invalid")}, []string{"does not know the access key", "deleted or made inactive"}},
		{"anonymous", sigv4.Refusal{Status: 401, Identity: sigv4.Identity{Anonymous: true}}, []string{"not signed"}},
		{"signature", sigv4.Refusal{Status: 403, Body: []byte("The request signature we calculated does not match")}, []string{"secret key"}},
		{"old signature", sigv4.Refusal{Status: 403, Body: []byte("Signature expired")}, []string{"too old"}},
		{"policy", sigv4.Refusal{Status: 403, Body: []byte("not authorized to perform: iot:Connect")}, []string{"iot:Connect", "client/"}},
		{"all fits", sigv4.Refusal{Status: 403, Date: date(time.Minute), Now: now, Host: host, Region: "eu-west-1", Identity: temporary, Body: forbidden},
			[]string{"iot:Connect", "endpoint", "secret key", "session token may have expired"}},
		{"nothing known", sigv4.Refusal{Status: 403}, []string{"iot:Connect", "without their session token"}},
		{"bad date", sigv4.Refusal{Status: 403, Date: "yesterday", Now: now}, []string{"iot:Connect"}},
		{"not a refusal", sigv4.Refusal{Status: 503, Date: date(time.Hour), Now: now}, nil},
		{"400 with a good clock", sigv4.Refusal{Status: 400, Date: date(0), Now: now}, nil},
		{"switching protocols", sigv4.Refusal{Status: 101}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got := sigv4.Hint(c.refusal)
			if (got == "") != (c.want == nil) {
				t.Fatalf("hint %q", got)
			}
			for _, want := range c.want {
				if !strings.Contains(got, want) {
					t.Errorf("hint %q does not contain %q", got, want)
				}
			}
		})
	}
}

func TestSigner_hintKnowsTheLastSignature(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 2, 3, 4, 5, 6, 0, time.UTC)
	creds := sigv4.Credentials{AccessKeyID: "AKIA1", SecretAccessKey: "s"}
	s := mustNew(t, sigv4.Options{
		Region: "us-east-1",
		Now:    func() time.Time { return now },
		Credentials: sigv4.CredentialsFunc(func(context.Context) (sigv4.Credentials, error) {
			return creds, nil
		}),
	})
	hintAfterSigning := func(host string) string {
		if _, err := s.Presign(t.Context(), host); err != nil {
			t.Fatal(err)
		}
		return s.Hint(sigv4.Refusal{Status: 403})
	}
	if got := s.Hint(sigv4.Refusal{Status: 403}); !strings.Contains(got, "iot:Connect") {
		t.Errorf("before the first signature: %q", got)
	}
	if got := hintAfterSigning("a-ats.iot.eu-west-1.amazonaws.com"); !strings.Contains(got, "set the region to eu-west-1") {
		t.Errorf("region: %q", got)
	}
	creds.AccessKeyID = "ASIA1"
	if got := hintAfterSigning("a-ats.iot.us-east-1.amazonaws.com"); !strings.Contains(got, "no session token was sent") {
		t.Errorf("token: %q", got)
	}
	creds.SessionToken, creds.Expires = "t", now.Add(-time.Second)
	if got := hintAfterSigning("a-ats.iot.us-east-1.amazonaws.com"); !strings.Contains(got, "expired") {
		t.Errorf("expiry: %q", got)
	}
	now = now.Add(-time.Hour)
	if got := s.Hint(sigv4.Refusal{Status: 403, Date: now.Add(time.Hour).Format(http.TimeFormat)}); !strings.Contains(got, "behind") {
		t.Errorf("clock: %q", got)
	}
}

// Keys that were copied with what stood around them are named, part by part,
// and never shown.
func TestIdentityOf_damaged(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		c    sigv4.Credentials
		want string
	}{
		{sigv4.Credentials{AccessKeyID: "AKIDZEBRA", SecretAccessKey: "se/cr+et="}, ""},
		{sigv4.Credentials{AccessKeyID: "AKIDZEBRA\n", SecretAccessKey: "secret"}, "in the access key id:"},
		{sigv4.Credentials{AccessKeyID: "AKIDZEBRA", SecretAccessKey: " secret"}, "in the secret key:"},
		{sigv4.Credentials{AccessKeyID: "AKIDZEBRA", SecretAccessKey: "\"secret\""}, "in the secret key:"},
		{sigv4.Credentials{AccessKeyID: "'AKIDZEBRA'", SecretAccessKey: "secret\r", SessionToken: "to ken"}, "in the access key id and secret key and session token:"},
		{sigv4.Credentials{AccessKeyID: "\ufeffAKIDZEBRA", SecretAccessKey: "s"}, "in the access key id:"},
		{sigv4.Credentials{AccessKeyID: "AKIDZEBRA", SecretAccessKey: "s\u00a0"}, "in the secret key:"},
	} {
		got := sigv4.Hint(sigv4.Refusal{Status: 403, Identity: sigv4.IdentityOf(tt.c), Body: []byte("The security token included in the request is invalid")})
		if strings.Contains(got, "white space or quotes") != (tt.want != "") || !strings.Contains(got, tt.want) || strings.Contains(got, "ZEBRA") {
			t.Errorf("%q: %s", tt.c.AccessKeyID, got)
		}
	}
}
