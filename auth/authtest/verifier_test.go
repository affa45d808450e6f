// SPDX-License-Identifier: Apache-2.0

package authtest_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/gocrt/aws-iot-device-sdk-go/auth/authtest"
	"github.com/gocrt/aws-iot-device-sdk-go/auth/credentials"
	"github.com/gocrt/aws-iot-device-sdk-go/auth/sigv4"
)

// TestVerifier_refusals checks the verifier with requests of package sigv4, and
// the hints of that package with the refusals of the verifier.
func TestVerifier_refusals(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 2, 3, 4, 5, 6, 0, time.UTC)
	good := authtest.Credentials(1, now.Add(time.Hour))
	const host = "a-ats.iot.eu-west-1.amazonaws.com"
	for _, c := range []struct {
		name   string
		change func(o *sigv4.Options, creds *aws.Credentials)
		query  string
		late   time.Duration
		want   error
	}{
		{name: "good"},
		{name: "more parameters", query: "?b=2&a=x%2Fy"},
		{name: "expires", change: func(o *sigv4.Options, _ *aws.Credentials) { o.Expires = time.Hour }},
		{name: "wrong secret", change: func(_ *sigv4.Options, c *aws.Credentials) { c.SecretAccessKey += "x" }, want: authtest.ErrSignature},
		{name: "unknown key", change: func(_ *sigv4.Options, c *aws.Credentials) { c.AccessKeyID = "AKIDNOBODY" }, want: authtest.ErrUnknownKey},
		{name: "no token", change: func(_ *sigv4.Options, c *aws.Credentials) { c.SessionToken = "" }, want: authtest.ErrToken},
		{name: "wrong token", change: func(_ *sigv4.Options, c *aws.Credentials) { c.SessionToken = "x" }, want: authtest.ErrToken},
		{name: "wrong region", change: func(o *sigv4.Options, _ *aws.Credentials) { o.Region = "us-east-1" }, want: authtest.ErrScope},
		{name: "wrong service", change: func(o *sigv4.Options, _ *aws.Credentials) { o.Service = "iotdata" }, want: authtest.ErrScope},
		{name: "skewed clock", change: func(o *sigv4.Options, _ *aws.Credentials) {
			o.Now = func() time.Time { return now.Add(-6 * time.Minute) }
		}, want: authtest.ErrSkew},
		{name: "stale", late: 10 * time.Minute, want: authtest.ErrSkew},
		{name: "expired", late: time.Hour, change: func(o *sigv4.Options, _ *aws.Credentials) {
			o.Now = func() time.Time { return now.Add(time.Hour) }
		}, want: authtest.ErrToken},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			creds := good
			o := sigv4.Options{Now: func() time.Time { return now }}
			if c.change != nil {
				c.change(&o, &creds)
			}
			provider, err := credentials.FromProvider(aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) { return creds, nil }))
			if err != nil {
				t.Fatal(err)
			}
			o.Credentials = provider
			s, err := sigv4.New(o)
			if err != nil {
				t.Fatal(err)
			}
			signed, err := s.Presign(t.Context(), "wss://"+host+"/mqtt"+c.query)
			if err != nil {
				t.Fatal(err)
			}
			u, err := url.Parse(signed)
			if err != nil {
				t.Fatal(err)
			}
			v := authtest.Verifier{
				Region: "eu-west-1", Service: sigv4.Service, Now: func() time.Time { return now.Add(c.late) },
				Lookup: func(id string) (aws.Credentials, bool) { return good, id == good.AccessKeyID },
			}
			r := httptest.NewRequest(http.MethodGet, u.RequestURI(), nil)
			r.Host = u.Host
			got := v.Verify(r, nil)
			if !errors.Is(got, c.want) {
				t.Errorf("got %v, want %v", got, c.want)
			}
			if got == nil {
				return
			}
			if hint := s.Hint(sigv4.Refusal{Status: 403, Body: []byte(got.Error()), Date: now.Add(c.late).Format(http.TimeFormat)}); hint == "" {
				t.Error("no hint")
			}
		})
	}
	v := authtest.Verifier{Region: "eu-west-1", Service: sigv4.Service}
	for _, target := range []string{"/mqtt", "/mqtt?X-Amz-Signature=1", "/mqtt?X-Amz-Signature=1&X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=a/b"} {
		if err := v.Verify(httptest.NewRequest(http.MethodGet, target, nil), nil); !errors.Is(err, authtest.ErrUnsigned) {
			t.Errorf("%s: %v", target, err)
		}
	}
}

func ExampleNewContainer() {
	handler := authtest.NewContainer(authtest.Options{}, nil)
	server := httptest.NewServer(handler)
	defer server.Close()

	provider, err := credentials.NewContainer(credentials.ContainerOptions{FullURI: server.URL + "/credentials"})
	if err != nil {
		fmt.Println(err)
		return
	}
	creds, err := provider.Retrieve(context.Background())
	fmt.Println(creds.AccessKeyID, err, handler.Calls())
	// Output: ASIAEXAMPLE00001 <nil> 1
}

func ExampleNetwork() {
	var network authtest.Network
	defer network.Close()
	network.Handle("169.254.169.254:80", authtest.NewIMDS(authtest.Options{}, "role", false), nil)

	provider, err := credentials.NewIMDS(credentials.IMDSOptions{
		HTTP: credentials.HTTPOptions{Dial: network.Dial},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	creds, err := provider.Retrieve(context.Background())
	fmt.Println(creds.AccessKeyID, err)
	// Output: ASIAEXAMPLE00001 <nil>
}
