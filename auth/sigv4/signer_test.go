// SPDX-License-Identifier: Apache-2.0

package sigv4_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsv4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/google/go-cmp/cmp"

	"github.com/gocrt/aws-iot-device-sdk-go/auth/credentials"
	"github.com/gocrt/aws-iot-device-sdk-go/auth/sigv4"
)

const emptyHash = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

// keys is a provider that prints its secrets when formatted.
type keys struct {
	ID, Secret, Token string
	Err               error
}

func (k keys) Credentials(context.Context) (sigv4.Credentials, error) {
	return sigv4.Credentials{AccessKeyID: k.ID, SecretAccessKey: k.Secret, SessionToken: k.Token}, k.Err
}

func at(t time.Time) func() time.Time { return func() time.Time { return t } }

func mustNew(t *testing.T, o sigv4.Options) *sigv4.Signer {
	t.Helper()
	s, err := sigv4.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSigner_vectors(t *testing.T) {
	t.Parallel()
	day := time.Date(2023, 1, 1, 0, 0, 0, 0, time.UTC)
	example := keys{ID: "AKIDEXAMPLE", Secret: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"}
	withToken := example
	withToken.Token = "token/with+chars=="
	const exampleURL = "wss://example-ats.iot.us-east-1.amazonaws.com/mqtt?X-Amz-Algorithm=AWS4-HMAC-SHA256" +
		"&X-Amz-Credential=AKIDEXAMPLE%2F20230101%2Fus-east-1%2Fiotdevicegateway%2Faws4_request" +
		"&X-Amz-Date=20230101T000000Z&X-Amz-SignedHeaders=host" +
		"&X-Amz-Signature=7507fe4206defa0e821ff21c804aa2d78d859f70d6eb505254d54290b1176f9f"
	for _, c := range []struct {
		name, endpoint, region string
		keys                   keys
		now                    time.Time
		expires                time.Duration
		want                   string
	}{
		{
			name:     "expires",
			endpoint: "test.iot.world-1.amazonaws.com",
			keys:     keys{ID: "AKAAAAAAAAAAAAAAAAAA", Secret: strings.Repeat("1", 40)},
			now:      time.Unix(0, 0),
			expires:  24 * time.Hour,
			want: "wss://test.iot.world-1.amazonaws.com/mqtt?X-Amz-Algorithm=AWS4-HMAC-SHA256" +
				"&X-Amz-Credential=AKAAAAAAAAAAAAAAAAAA%2F19700101%2Fworld-1%2Fiotdevicegateway%2Faws4_request" +
				"&X-Amz-Date=19700101T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host" +
				"&X-Amz-Signature=4cfbc8acc899f7aac3153cd17c94204d6989f86d8cb1173e46143512270c89c2",
		},
		{name: "no expires", endpoint: "example-ats.iot.us-east-1.amazonaws.com", keys: example, now: day, want: exampleURL},
		{name: "default port", endpoint: "example-ats.iot.us-east-1.amazonaws.com:443", keys: example, now: day, want: exampleURL},
		{name: "as URL", endpoint: "https://example-ats.iot.us-east-1.amazonaws.com/mqtt", keys: example, now: day, want: exampleURL},
		{name: "region given", endpoint: "example-ats.iot.us-east-1.amazonaws.com", region: "us-east-1", keys: example, now: day, want: exampleURL},
		{
			name: "other time zone", endpoint: "example-ats.iot.us-east-1.amazonaws.com", keys: example,
			now: day.In(time.FixedZone("", -8*3600)), want: exampleURL,
		},
		{
			name: "session token", endpoint: "example-ats.iot.us-east-1.amazonaws.com", keys: withToken, now: day,
			want: exampleURL + "&X-Amz-Security-Token=token%2Fwith%2Bchars%3D%3D",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := mustNew(t, sigv4.Options{Credentials: c.keys, Region: c.region, Expires: c.expires, Now: at(c.now)})
			got, err := s.Presign(t.Context(), c.endpoint)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("signed URL (-want +got):\n%s", diff)
			}
		})
	}
}

func TestSigner_agreesWithSDK(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(1, 2))
	text := func(alphabet string, low, high int) string {
		b := make([]byte, low+rnd.IntN(high-low+1))
		for i := range b {
			b[i] = alphabet[rnd.IntN(len(alphabet))]
		}
		return string(b)
	}
	const (
		lower    = "abcdefghijklmnopqrstuvwxyz0123456789"
		base64   = lower + "ABCDEFGHIJKLMNOPQRSTUVWXYZ+/="
		anything = base64 + " !\"#$%&'()*,-.:;<>?@[\\]^_`{|}~\x00\x7f\xc3\xa9\xff"
	)
	reference := awsv4.NewSigner()
	for i := range 2000 {
		k := keys{ID: text(base64[:62], 16, 24), Secret: text(base64, 1, 60)}
		if i%2 == 0 {
			k.Token = text(base64, 1, 400)
		}
		region := text(lower, 1, 8) + "-" + text(lower, 1, 8)
		now := time.Unix(rnd.Int64N(1<<32), rnd.Int64N(1e9))
		host := text(lower, 1, 14) + "-ats.iot." + region + ".amazonaws.com"
		if i%5 == 0 {
			host += fmt.Sprint(":", 1024+rnd.IntN(60000))
		}
		u := url.URL{Scheme: "https", Host: host, Path: "/mqtt"}
		if i%7 == 0 {
			u.Path = "/" + text(anything, 0, 20)
		}
		query := url.Values{}
		if i%3 == 0 {
			for range rnd.IntN(6) {
				query.Add(text(anything, 1, 8), text(anything, 0, 12))
			}
		}
		u.RawQuery = query.Encode()
		o := sigv4.Options{Credentials: k, Now: at(now), Service: sigv4.Service}
		sdkURL := u
		if i%4 == 0 {
			o.Expires = time.Duration(1+rnd.IntN(3600)) * time.Second
			q := u.Query()
			q.Set("X-Amz-Expires", fmt.Sprint(int(o.Expires/time.Second)))
			sdkURL.RawQuery = q.Encode()
		}

		got, err := mustNew(t, o).Presign(t.Context(), u.String())
		if err != nil {
			t.Fatalf("input %d: %v", i, err)
		}
		r, err := http.NewRequest(http.MethodGet, sdkURL.String(), nil)
		if err != nil {
			t.Fatal(err)
		}
		want, _, err := reference.PresignHTTP(t.Context(), aws.Credentials{AccessKeyID: k.ID, SecretAccessKey: k.Secret},
			r, emptyHash, sigv4.Service, region, now)
		if err != nil {
			t.Fatal(err)
		}
		want = strings.Replace(want, "https://", "wss://", 1)
		if k.Token != "" {
			want += "&X-Amz-Security-Token=" + url.QueryEscape(k.Token)
		}
		if got != want {
			t.Fatalf("input %d %s:\ngot  %s\nwant %s", i, u.String(), got, want)
		}
	}
}

func TestSigner_transform(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 2, 3, 4, 5, 6, 0, time.UTC)
	var asked int
	s := mustNew(t, sigv4.Options{
		Credentials: sigv4.CredentialsFunc(func(context.Context) (sigv4.Credentials, error) {
			asked++
			return sigv4.Credentials{AccessKeyID: "AKID", SecretAccessKey: "secret", SessionToken: fmt.Sprint("token-", asked)}, nil
		}),
		Now: func() time.Time { return now },
	})
	transform := s.Transform()

	r, err := http.NewRequest(http.MethodGet, "https://abc-ats.iot.eu-west-1.amazonaws.com:443", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Sec-WebSocket-Protocol", "mqtt")
	r.Header.Set("X-Amz-Meta", "not hoisted")
	header := r.Header.Clone()
	for attempt := 1; attempt <= 3; attempt++ {
		now = now.Add(time.Hour)
		if err := transform(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		fresh := mustNew(t, sigv4.Options{Credentials: keys{"AKID", "secret", fmt.Sprint("token-", attempt), nil}, Now: at(now)})
		want, err := fresh.Presign(t.Context(), "https://abc-ats.iot.eu-west-1.amazonaws.com/mqtt")
		if err != nil {
			t.Fatal(err)
		}
		if got := "wss://" + r.Host + r.URL.RequestURI(); got != want {
			t.Errorf("attempt %d:\ngot  %s\nwant %s", attempt, got, want)
		}
		if diff := cmp.Diff(header, r.Header); diff != "" {
			t.Errorf("headers changed (-want +got):\n%s", diff)
		}
	}
}

func TestSigner_transformHost(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ url, host, want string }{
		{"wss://h.iot.r-1.amazonaws.com/mqtt", "", "h.iot.r-1.amazonaws.com"},
		{"wss://h.iot.r-1.amazonaws.com:443/mqtt", "", "h.iot.r-1.amazonaws.com"},
		{"ws://h.iot.r-1.amazonaws.com:80/mqtt", "", "h.iot.r-1.amazonaws.com"},
		{"ws://h.iot.r-1.amazonaws.com:443/mqtt", "", "h.iot.r-1.amazonaws.com:443"},
		{"https://h.iot.r-1.amazonaws.com:8443/mqtt", "", "h.iot.r-1.amazonaws.com:8443"},
		{"wss://127.0.0.1:9/mqtt", "h.iot.r-1.amazonaws.com", "h.iot.r-1.amazonaws.com"},
		{"wss://[::1]:443/mqtt", "", "[::1]"},
	} {
		s := mustNew(t, sigv4.Options{Credentials: keys{ID: "a", Secret: "b"}, Region: "r-1"})
		r, err := http.NewRequest(http.MethodGet, c.url, nil)
		if err != nil {
			t.Fatal(err)
		}
		if c.host != "" {
			r.Host = c.host
		}
		if err := s.Transform()(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		if r.Host != c.want {
			t.Errorf("%s: host %q, want %q", c.url, r.Host, c.want)
		}
	}
}

func TestSigner_anonymous(t *testing.T) {
	t.Parallel()
	own := sigv4.CredentialsFunc(func(context.Context) (sigv4.Credentials, error) { return sigv4.Credentials{Anonymous: true}, nil })
	of := func(p aws.CredentialsProvider) sigv4.CredentialsProvider {
		provider, err := credentials.FromProvider(p)
		if err != nil {
			t.Fatal(err)
		}
		return provider
	}
	for _, p := range []sigv4.CredentialsProvider{
		own,
		credentials.NewAnonymous(),
		of(aws.AnonymousCredentials{}),
		of(&aws.AnonymousCredentials{}),
		of(aws.NewCredentialsCache(aws.AnonymousCredentials{})),
	} {
		s := mustNew(t, sigv4.Options{Credentials: p})
		got, err := s.Presign(t.Context(), "wss://custom.example/mqtt?a=b")
		if err != nil {
			t.Fatal(err)
		}
		if want := "wss://custom.example/mqtt?a=b"; got != want {
			t.Errorf("%T: got %q, want %q", p, got, want)
		}
		if h := s.Hint(sigv4.Refusal{Status: 403}); !strings.Contains(h, "anonymous") {
			t.Errorf("hint %q does not mention anonymous credentials", h)
		}
	}
}

func TestSigner_region(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ endpoint, region, want string }{
		{"custom.example", "eu-north-1", "eu-north-1"},
		{"abc-ats.iot.eu-west-3.amazonaws.com", "", "eu-west-3"},
		{"abc-ats.iot.eu-west-3.amazonaws.com", "sa-east-1", "sa-east-1"},
	} {
		s := mustNew(t, sigv4.Options{Credentials: keys{ID: "AKID", Secret: "s"}, Region: c.region})
		got, err := s.Presign(t.Context(), c.endpoint)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(got, "%2F"+c.want+"%2Fiotdevicegateway%2F") {
			t.Errorf("%+v: got %s", c, got)
		}
	}
}

func TestSigner_errors(t *testing.T) {
	t.Parallel()
	boom := errors.New("boom")
	ok := keys{ID: "AKID", Secret: "very-secret"}
	for _, c := range []struct {
		name, endpoint string
		provider       keys
		is             error
		contains       string
	}{
		{name: "region", endpoint: "iot.example.com", provider: ok, is: sigv4.ErrRegion, contains: "custom domain"},
		{name: "no keys", endpoint: "a.iot.b-1.amazonaws.com", is: sigv4.ErrCredentials},
		{name: "no secret", endpoint: "a.iot.b-1.amazonaws.com", provider: keys{ID: "AKID"}, is: sigv4.ErrCredentials},
		{name: "provider", endpoint: "a.iot.b-1.amazonaws.com", provider: keys{Err: boom}, is: boom},
		{name: "empty", endpoint: "", provider: ok, contains: "no host"},
		{name: "scheme", endpoint: "mqtt://a.iot.b-1.amazonaws.com", provider: ok, contains: "scheme"},
		{name: "bad URL", endpoint: "wss://a.iot.b-1.amazonaws.com:x/?token=very-secret", provider: ok, contains: "endpoint"},
		{name: "bad query", endpoint: "wss://a.iot.b-1.amazonaws.com/mqtt?very-secret=%zz", provider: ok, contains: "query"},
		{name: "user", endpoint: "wss://me:very-secret@a.iot.b-1.amazonaws.com", provider: ok, contains: "user information"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, err := mustNew(t, sigv4.Options{Credentials: c.provider}).Presign(t.Context(), c.endpoint)
			if err == nil {
				t.Fatal("no error")
			}
			if c.is != nil && !errors.Is(err, c.is) {
				t.Errorf("error %v is not %v", err, c.is)
			}
			if !strings.Contains(err.Error(), c.contains) || !strings.HasPrefix(err.Error(), "sigv4: ") {
				t.Errorf("error %q", err)
			}
			if strings.Contains(err.Error(), "very-secret") {
				t.Errorf("error %q contains a secret", err)
			}
		})
	}
}

func TestSigner_transformLeavesRequestOnError(t *testing.T) {
	t.Parallel()
	s := mustNew(t, sigv4.Options{Credentials: keys{Err: errors.New("boom")}})
	r, err := http.NewRequest(http.MethodGet, "wss://a.iot.b-1.amazonaws.com:443?x=y", nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Transform()(t.Context(), r); err == nil {
		t.Error("no error")
	}
	if got := r.Host + "|" + r.URL.String(); got != "a.iot.b-1.amazonaws.com:443|wss://a.iot.b-1.amazonaws.com:443?x=y" {
		t.Errorf("request changed: %s", got)
	}
	for _, r := range []*http.Request{nil, {}, {URL: &url.URL{}}} {
		if err := s.Transform()(t.Context(), r); err == nil {
			t.Error("a request without a host passes")
		}
	}
}

func TestNew_validates(t *testing.T) {
	t.Parallel()
	_, err := sigv4.New(sigv4.Options{Region: "a/b", Service: "c d", Expires: 1500 * time.Millisecond})
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{"Credentials", "Region", "Service", "Expires"} {
		if !strings.Contains(err.Error(), "Options."+want) {
			t.Errorf("error does not name %s: %v", want, err)
		}
	}
	if _, err := sigv4.New(sigv4.Options{Credentials: keys{}, Expires: 8 * 24 * time.Hour}); err == nil {
		t.Error("Expires of 8 days passes")
	}
}

func TestSecrets(t *testing.T) {
	t.Parallel()
	k := keys{ID: "AKIDSECRET", Secret: "SECRETKEY", Token: "SECRETTOKEN"}
	o := sigv4.Options{Credentials: k}
	s := mustNew(t, o)
	if _, err := s.Presign(t.Context(), "a.iot.b-1.amazonaws.com"); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	for _, v := range []any{s, o, &o, (*sigv4.Signer)(nil), struct{ S *sigv4.Signer }{s}, struct{ s *sigv4.Signer }{s}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d", "%x", "%X"} {
			fmt.Fprintf(&out, verb, v)
		}
	}
	if b, err := json.Marshal([]any{s}); err == nil {
		out.Write(b)
	}
	out.WriteString(s.Hint(sigv4.Refusal{Status: 403}))
	for _, secret := range []string{"SECRET", fmt.Sprintf("%x", "SECRET"), fmt.Sprintf("%X", "SECRET")} {
		if strings.Contains(out.String(), secret) {
			t.Errorf("output contains %s:\n%s", secret, out.String())
		}
	}
}
