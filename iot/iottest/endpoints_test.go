// SPDX-License-Identifier: Apache-2.0

package iottest_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/iot/iottest"
)

// webClient reaches the core by the names it stands for.
func webClient(c *iottest.Core, d *iottest.Device, alpn ...string) *http.Client {
	cfg := &tls.Config{RootCAs: c.CAPool(), NextProtos: alpn}
	if d != nil {
		cfg.Certificates = []tls.Certificate{d.TLSCertificate()}
	}
	return &http.Client{Transport: &http.Transport{DialContext: c.DialContext, TLSClientConfig: cfg, DisableKeepAlives: true}}
}

func do(t *testing.T, client *http.Client, method, target, body string, header ...string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, target, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// connects reports whether a signature with these credentials opens a WebSocket.
func connects(t *testing.T, c *iottest.Core, id, secret, token string) bool {
	t.Helper()
	s := signFor(c, &iottest.AccessKey{AccessKeyID: id, SecretAccessKey: secret, SessionToken: token})
	resp, _ := upgrade(t, c, upgradeOptions{query: s.query()})
	return resp.StatusCode == 101
}

func TestRoleAlias(t *testing.T) {
	c := iottest.Start(t)
	if err := c.AddRoleAlias(iottest.RoleAlias{Name: "alias"}); err != nil {
		t.Fatal(err)
	}
	d := c.Device(t, "thing")
	base := "https://" + c.CredentialsEndpoint() + "/role-aliases/"
	status, body := do(t, webClient(c, d), "GET", base+"alias/credentials", "", "x-amzn-iot-thingname", "thing")
	var got struct {
		Credentials struct{ AccessKeyID, SecretAccessKey, SessionToken, Expiration string }
	}
	if err := json.Unmarshal([]byte(body), &got); err != nil || status != 200 {
		t.Fatalf("%d %s %v", status, body, err)
	}
	k := got.Credentials
	if exp, err := time.Parse(time.RFC3339, k.Expiration); err != nil || exp.Sub(c.Now()) > time.Hour || exp.Sub(c.Now()) < 50*time.Minute {
		t.Errorf("expiration %q", k.Expiration)
	}
	if !connects(t, c, k.AccessKeyID, k.SecretAccessKey, k.SessionToken) {
		t.Error("the credentials are not accepted")
	}
	if status, body := do(t, webClient(c, d), "GET", base+"alias/credentials", "", "x-amzn-iot-thingname", "other"); status != 403 {
		t.Errorf("other thing: %d %s", status, body)
	}
	if status, body := do(t, webClient(c, d), "GET", base+"nothing/credentials", ""); status != 404 {
		t.Errorf("unknown alias: %d %s", status, body)
	}
	if status, body := do(t, webClient(c, nil), "GET", base+"alias/credentials", ""); status != 0 {
		t.Errorf("without certificate: %d %s", status, body)
	}
	d.SetStatus(iottest.Inactive)
	if status, body := do(t, webClient(c, d), "GET", base+"alias/credentials", ""); status != 403 {
		t.Errorf("inactive: %d %s", status, body)
	}
	denied := c.Device(t, "denied", iottest.WithPolicy(iottest.DenyAllPolicy))
	if status, body := do(t, webClient(c, denied), "GET", base+"alias/credentials", ""); status != 403 {
		t.Errorf("denied: %d %s", status, body)
	}
}

func TestCognito(t *testing.T) {
	c := iottest.Start(t)
	pool := c.AddIdentityPool(iottest.IdentityPool{Authenticate: func(logins map[string]string) error {
		if logins["idp"] != "token" {
			return errors.New("no")
		}
		return nil
	}})
	post := func(target, body string) (int, string) {
		t.Helper()
		return do(t, webClient(c, nil), "POST", "https://cognito-identity."+c.Region()+".amazonaws.com/", body,
			"Content-Type", "application/x-amz-json-1.1", "X-Amz-Target", "AWSCognitoIdentityService."+target)
	}
	status, body := post("GetId", `{"IdentityPoolId":"`+pool+`","Logins":{"idp":"token"}}`)
	var id struct{ IdentityID string }
	if err := json.Unmarshal([]byte(body), &id); err != nil || status != 200 {
		t.Fatalf("GetId: %d %s %v", status, body, err)
	}
	status, body = post("GetCredentialsForIdentity", `{"IdentityId":"`+id.IdentityID+`","Logins":{"idp":"token"}}`)
	var got struct {
		Credentials struct {
			AccessKeyID, SecretKey, SessionToken string
			Expiration                           float64
		}
	}
	if err := json.Unmarshal([]byte(body), &got); err != nil || status != 200 {
		t.Fatalf("GetCredentialsForIdentity: %d %s %v", status, body, err)
	}
	k := got.Credentials
	if !connects(t, c, k.AccessKeyID, k.SecretKey, k.SessionToken) || k.Expiration < float64(c.Now().Unix()) {
		t.Error("the credentials are not accepted")
	}
	for _, tc := range [][3]string{
		{"GetId", `{"IdentityPoolId":"us-east-1:no"}`, "ResourceNotFoundException"},
		{"GetId", `{"IdentityPoolId":"` + pool + `"}`, "NotAuthorizedException"},
		{"GetCredentialsForIdentity", `{"IdentityId":"` + pool + `"}`, "ResourceNotFoundException"},
		{"GetCredentialsForIdentity", `{"IdentityId":"` + id.IdentityID + `"}`, "NotAuthorizedException"},
		{"GetId", `{`, "SerializationException"},
		{"Other", `{}`, "UnknownOperationException"},
	} {
		if status, body := post(tc[0], tc[1]); status != 400 || !strings.Contains(body, tc[2]) {
			t.Errorf("%s %s: %d %s", tc[0], tc[1], status, body)
		}
	}
}

func TestSTS(t *testing.T) {
	c := iottest.Start(t)
	k := accessKey(t, c, iottest.AccessKeyOptions{Lifetime: time.Hour})
	const role = "arn:aws:iam::123456789012:role/r"
	if err := c.AddRole(iottest.Role{ARN: role, ExternalID: "x", WebIdentity: func(token string) error {
		if token != "token" {
			return errors.New("bad token")
		}
		return nil
	}}); err != nil {
		t.Fatal(err)
	}
	host := "sts." + c.Region() + ".amazonaws.com"
	post := func(secret string, form url.Values) (int, string) {
		t.Helper()
		form.Set("Version", "2011-06-15")
		form.Set("RoleArn", role)
		form.Set("RoleSessionName", "s")
		body := form.Encode()
		header := []string{"Content-Type", "application/x-www-form-urlencoded"}
		if secret != "" {
			h := func(b string) string { x := sha256.Sum256([]byte(b)); return hex.EncodeToString(x[:]) }
			date := c.Now().UTC().Format("20060102T150405Z")
			scope := date[:8] + "/" + c.Region() + "/sts/aws4_request"
			canonical := fmt.Sprintf("POST\n/\n\nhost:%s\nx-amz-date:%s\nx-amz-security-token:%s\n\nhost;x-amz-date;x-amz-security-token\n%s",
				host, date, k.SessionToken, h(body))
			toSign := "AWS4-HMAC-SHA256\n" + date + "\n" + scope + "\n" + h(canonical)
			key := []byte("AWS4" + secret)
			for _, part := range []string{date[:8], c.Region(), "sts", "aws4_request", toSign} {
				m := hmac.New(sha256.New, key)
				m.Write([]byte(part))
				key = m.Sum(nil)
			}
			header = append(header, "X-Amz-Date", date, "X-Amz-Security-Token", k.SessionToken, "Authorization",
				"AWS4-HMAC-SHA256 Credential="+k.AccessKeyID+"/"+scope+", SignedHeaders=host;x-amz-date;x-amz-security-token, Signature="+hex.EncodeToString(key))
		}
		return do(t, webClient(c, nil), "POST", "https://"+host+"/", body, header...)
	}
	between := func(s, tag string) string {
		_, s, _ = strings.Cut(s, "<"+tag+">")
		s, _, _ = strings.Cut(s, "</"+tag+">")
		return strings.NewReplacer("&#43;", "+", "&#34;", `"`).Replace(s)
	}
	for name, call := range map[string]func() (int, string){
		"AssumeRole": func() (int, string) {
			return post(k.SecretAccessKey, url.Values{"Action": {"AssumeRole"}, "ExternalId": {"x"}, "DurationSeconds": {"900"}})
		},
		"AssumeRoleWithWebIdentity": func() (int, string) {
			return post("", url.Values{"Action": {"AssumeRoleWithWebIdentity"}, "WebIdentityToken": {"token"}})
		},
	} {
		status, body := call()
		if status != 200 || !connects(t, c, between(body, "AccessKeyId"), between(body, "SecretAccessKey"), between(body, "SessionToken")) {
			t.Errorf("%s: %d %s", name, status, body)
		}
	}
	for _, tc := range []struct {
		secret string
		form   url.Values
		status int
		code   string
	}{
		{"wrong", url.Values{"Action": {"AssumeRole"}, "ExternalId": {"x"}}, 403, "SignatureDoesNotMatch"},
		{"", url.Values{"Action": {"AssumeRole"}, "ExternalId": {"x"}}, 403, "SignatureDoesNotMatch"},
		{k.SecretAccessKey, url.Values{"Action": {"AssumeRole"}}, 403, "AccessDenied"},
		{k.SecretAccessKey, url.Values{"Action": {"AssumeRole"}, "DurationSeconds": {"899"}}, 400, "ValidationError"},
		{"", url.Values{"Action": {"AssumeRoleWithWebIdentity"}, "WebIdentityToken": {"no"}}, 400, "InvalidIdentityToken"},
		{"", url.Values{"Action": {"Dance"}}, 400, "InvalidAction"},
	} {
		if status, body := post(tc.secret, tc.form); status != tc.status || !strings.Contains(body, tc.code) {
			t.Errorf("%v: %d %s", tc.form, status, body)
		}
	}
}

func TestMetadata(t *testing.T) {
	c := iottest.Start(t)
	m, err := c.StartMetadata(iottest.MetadataOptions{})
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	const path = "/latest/meta-data/iam/security-credentials/"
	if status, _ := do(t, client, "GET", m.Endpoint+path, ""); status != 401 {
		t.Errorf("without token: %d", status)
	}
	status, token := do(t, client, "PUT", m.Endpoint+"/latest/api/token", "", "X-aws-ec2-metadata-token-ttl-seconds", "60")
	if status != 200 {
		t.Fatalf("token: %d %s", status, token)
	}
	_, role := do(t, client, "GET", m.Endpoint+path, "", "X-aws-ec2-metadata-token", token)
	_, imds := do(t, client, "GET", m.Endpoint+path+role, "", "X-aws-ec2-metadata-token", token)
	_, container := do(t, client, "GET", m.ContainerURL, "", "Authorization", m.AuthorizationToken)
	for _, body := range []string{imds, container} {
		var k struct{ AccessKeyID, SecretAccessKey, Token string }
		if err := json.Unmarshal([]byte(body), &k); err != nil || !connects(t, c, k.AccessKeyID, k.SecretAccessKey, k.Token) {
			t.Errorf("%s: %v", body, err)
		}
	}
	if status, _ := do(t, client, "GET", m.ContainerURL, "", "Authorization", "no"); status != 403 {
		t.Errorf("wrong authorization: %d", status)
	}
	m.DropTokens()
	if status, _ := do(t, client, "GET", m.Endpoint+path, "", "X-aws-ec2-metadata-token", token); status != 401 {
		t.Errorf("dropped token: %d", status)
	}
	_, token = do(t, client, "PUT", m.Endpoint+"/latest/api/token", "", "X-aws-ec2-metadata-token-ttl-seconds", "60")
	c.Advance(61 * time.Second)
	if status, _ := do(t, client, "GET", m.Endpoint+path, "", "X-aws-ec2-metadata-token", token); status != 401 {
		t.Errorf("expired token: %d", status)
	}
}

func TestPublishByHTTPS(t *testing.T) {
	c := iottest.Start(t, plain)
	d := c.Device(t, "thing", iottest.WithPolicy(statement("Allow", "iot:*", "topic/ok")))
	cl := dialPlain(t, c)
	cl.mustConnect(connectOptions{id: "a"})
	cl.subscribe("ok")
	client := webClient(c, d, iottest.ALPNHTTPCA)
	if status, body := do(t, client, "POST", "https://"+c.Endpoint()+"/topics/ok?qos=1", "p"); status != 200 {
		t.Errorf("%d %s", status, body)
	}
	cl.expectMessage("ok", "p")
	if status, body := do(t, client, "POST", "https://"+c.Endpoint()+"/topics/no?qos=1", "p"); status != 403 {
		t.Errorf("%d %s", status, body)
	}
	if status, body := do(t, webClient(c, nil), "POST", "https://"+c.Endpoint()+"/topics/ok", "p"); status != 403 {
		t.Errorf("unsigned: %d %s", status, body)
	}
}

func TestSSO(t *testing.T) {
	c := iottest.Start(t)
	for _, bad := range []iottest.SSORole{{RoleName: "r"}, {AccessToken: "t"}} {
		if err := c.AddSSORole(bad); err == nil {
			t.Errorf("%v was accepted", bad.RoleName)
		}
	}
	for _, r := range []iottest.SSORole{{AccountID: "1", RoleName: "reader", AccessToken: "token"}, {AccountID: "2", RoleName: "reader", AccessToken: "other"}} {
		if err := c.AddSSORole(r); err != nil {
			t.Fatal(err)
		}
	}
	get := func(query, token string) (int, string) {
		t.Helper()
		return do(t, webClient(c, nil), "GET", "https://portal.sso."+c.Region()+".amazonaws.com/federation/credentials?"+query, "",
			"x-amz-sso_bearer_token", token)
	}
	status, body := get("account_id=1&role_name=reader", "token")
	var got struct {
		RoleCredentials struct {
			AccessKeyID, SecretAccessKey, SessionToken string
			Expiration                                 int64
		}
	}
	if err := json.Unmarshal([]byte(body), &got); err != nil || status != 200 {
		t.Fatalf("%d %s %v", status, body, err)
	}
	k := got.RoleCredentials
	if !connects(t, c, k.AccessKeyID, k.SecretAccessKey, k.SessionToken) || k.Expiration < c.Now().UnixMilli() {
		t.Error("the credentials are not accepted")
	}
	for _, tc := range []struct {
		query, token string
		status       int
	}{
		{"account_id=1&role_name=reader", "wrong", 401},
		{"account_id=1&role_name=reader", "other", 403},
		{"account_id=1&role_name=writer", "token", 403},
		{"account_id=1", "token", 400},
	} {
		if status, body := get(tc.query, tc.token); status != tc.status {
			t.Errorf("%s with %s: %d %s", tc.query, tc.token, status, body)
		}
	}
}
