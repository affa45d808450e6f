// SPDX-License-Identifier: Apache-2.0

package credentials_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/auth/authtest"
	"github.com/gocrt/aws-iot-device-sdk-go/auth/credentials"
)

const loginSession = "arn:aws:iam::123456789012:user/me"

// signIn is the token endpoint of AWS sign-in: POST /v1/token with a refresh
// token and a proof of possession of the key of the session (RFC 9449).
type signIn struct {
	host string
	key  *ecdsa.PublicKey
	// refuse, if set, is the error code of the answer.
	refuse string

	mu      sync.Mutex
	refresh string // the one that is good for the next renewal
	renewed int
	proofs  map[string]bool
	wrong   error
}

func (s *signIn) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.check(r); err != nil {
		s.wrong = err
		http.Error(w, `{"error":"INVALID_REQUEST","message":"no"}`, http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if s.refuse != "" {
		w.Header().Set("X-Amzn-Errortype", "AccessDeniedException")
		w.WriteHeader(http.StatusForbidden)
		_, _ = fmt.Fprintf(w, `{"error":%q,"message":"no"}`, s.refuse)
		return
	}
	s.renewed++
	s.refresh = fmt.Sprintf("SECRET-REFRESH-%d", s.renewed)
	c := authtest.Credentials(s.renewed, time.Now())
	_ = json.NewEncoder(w).Encode(map[string]any{
		"accessToken":  map[string]any{"accessKeyId": c.AccessKeyID, "secretAccessKey": c.SecretAccessKey, "sessionToken": c.SessionToken},
		"tokenType":    "aws_sigv4",
		"expiresIn":    900,
		"refreshToken": s.refresh,
		"idToken":      "eyJ.x.y",
	})
}

// check returns the fault of a request, or "".
func (s *signIn) check(r *http.Request) error {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	var in struct{ ClientID, GrantType, RefreshToken string }
	if err := json.Unmarshal(body, &in); err != nil {
		return err
	}
	if r.Method != http.MethodPost || r.URL.Path != "/v1/token" || r.Host != s.host {
		return fmt.Errorf("%s %s at %s", r.Method, r.URL, r.Host)
	}
	if in.ClientID != "arn:aws:signin:::devtools/same-device" || in.GrantType != "refresh_token" || in.RefreshToken != s.refresh {
		return fmt.Errorf("body %s", body)
	}
	return s.checkProof(r.Header.Values("DPoP"))
}

func (s *signIn) checkProof(headers []string) error {
	if len(headers) != 1 {
		return fmt.Errorf("%d DPoP headers", len(headers))
	}
	parts := strings.Split(headers[0], ".")
	if len(parts) != 3 {
		return fmt.Errorf("the proof has %d parts", len(parts))
	}
	var decoded [3][]byte
	for i, p := range parts {
		var err error
		if decoded[i], err = base64.RawURLEncoding.DecodeString(p); err != nil {
			return err
		}
	}
	var head struct {
		Typ, Alg string
		JWK      struct{ Kty, Crv, X, Y string }
	}
	var claims struct {
		JTI, HTM, HTU string
		IAT           int64
	}
	if err := json.Unmarshal(decoded[0], &head); err != nil {
		return err
	}
	if err := json.Unmarshal(decoded[1], &claims); err != nil {
		return err
	}
	sum := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	sig := decoded[2]
	if len(sig) != 64 || !ecdsa.Verify(s.key, sum[:], new(big.Int).SetBytes(sig[:32]), new(big.Int).SetBytes(sig[32:])) {
		return fmt.Errorf("the signature of the proof is not of the key")
	}
	point, err := s.key.Bytes()
	if err != nil {
		return err
	}
	x, y := base64.RawURLEncoding.EncodeToString(point[1:33]), base64.RawURLEncoding.EncodeToString(point[33:])
	if head.Typ != "dpop+jwt" || head.Alg != "ES256" || head.JWK.Kty != "EC" || head.JWK.Crv != "P-256" || head.JWK.X != x || head.JWK.Y != y {
		return fmt.Errorf("header %+v", head)
	}
	if claims.HTM != http.MethodPost || claims.HTU != "https://"+s.host+"/v1/token" || claims.IAT != time.Now().Unix() || claims.JTI == "" || s.proofs[claims.JTI] {
		return fmt.Errorf("claims %+v", claims)
	}
	s.proofs[claims.JTI] = true
	return nil
}

// loginKey returns a key whose coordinates have no leading zeros: package
// logincreds leaves those out, RFC 7518 does not.
func loginKey(t *testing.T) (*ecdsa.PrivateKey, string) {
	t.Helper()
	for {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		if point, err := key.PublicKey.Bytes(); err != nil || point[1] == 0 || point[33] == 0 {
			continue
		}
		der, err := x509.MarshalECPrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		return key, string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}))
	}
}

// login is a world in which somebody has logged in.
func login(t *testing.T) (w *world, s *signIn, p *credentials.Provider, file string) {
	t.Helper()
	w = newWorld(t)
	t.Setenv("AWS_LOGIN_CACHE_DIRECTORY", w.dir)
	t.Setenv("AWS_CONFIG_FILE", w.file(t, "config", "[profile me]\nregion = eu-west-1\nlogin_session = "+loginSession+"\n"))
	key, text := loginKey(t)
	s = &signIn{host: "eu-west-1.signin.aws.amazon.com", key: &key.PublicKey, refresh: "SECRET-REFRESH-0", proofs: map[string]bool{}}
	w.net.Handle(s.host+":443", s, w.pki.server(s.host))
	sum := sha256.Sum256([]byte(loginSession))
	token, err := json.Marshal(map[string]any{
		"accessToken": map[string]any{"accessKeyId": "ASIALOGIN", "secretAccessKey": "SECRET-LOGIN", "sessionToken": "SECRET-SESSION",
			"accountId": "123456789012", "expiresAt": time.Now().Add(10 * time.Minute)},
		"tokenType": "aws_sigv4", "refreshToken": s.refresh, "clientId": "arn:aws:signin:::devtools/same-device", "dpopKey": text,
	})
	if err != nil {
		t.Fatal(err)
	}
	file = w.file(t, hex.EncodeToString(sum[:])+".json", string(token))
	p = must(t)(credentials.NewProfile(credentials.ProfileOptions{Name: "me", HTTP: w.http, Cache: w.cache}))
	return w, s, p, file
}

// The credentials of a login are used while they last, and renewed with a proof
// of possession of its key.
func TestProfile_loginSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, s, p, file := login(t)
		defer settle(w)
		if c := mustRetrieve(t, p); c.AccessKeyID != "ASIALOGIN" || c.AccountID != "123456789012" || !c.CanExpire {
			t.Errorf("got %s of %s", c.AccessKeyID, c.AccountID)
		}
		if s.renewed != 0 {
			t.Error("renewed although it had not expired")
		}
		for n := 1; n <= 3; n++ {
			time.Sleep(16 * time.Minute)
			c, err := p.Retrieve(t.Context())
			if s.wrong != nil {
				t.Fatalf("the service refuses: %v", s.wrong)
			}
			if err != nil {
				t.Fatal(err)
			}
			if want := authtest.Credentials(n, time.Now()); c.AccessKeyID != want.AccessKeyID || c.SessionToken != want.SessionToken ||
				!c.Expires.Equal(time.Now().Add(15*time.Minute)) {
				t.Errorf("renewal %d: got %s until %v", n, c.AccessKeyID, c.Expires)
			}
		}
		// The next program finds what was renewed.
		data, err := os.ReadFile(file)
		if err != nil || !strings.Contains(string(data), s.refresh) || !strings.Contains(string(data), "ASIAEXAMPLE00003") {
			t.Errorf("the token was not stored: %v", err)
		}
		other := must(t)(credentials.NewProfile(credentials.ProfileOptions{Name: "me", HTTP: w.http, Cache: w.cache}))
		if c := mustRetrieve(t, other); c.AccessKeyID != "ASIAEXAMPLE00003" || s.renewed != 3 {
			t.Errorf("another provider got %s after %d renewals", c.AccessKeyID, s.renewed)
		}
	})
}

func TestProfile_loginSessionOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, s, p, _ := login(t)
		defer settle(w)
		s.refuse = "TOKEN_EXPIRED"
		time.Sleep(16 * time.Minute)
		_, err := p.Retrieve(t.Context())
		wantError(t, err, nil, "login session has expired, please reauthenticate")
	})
}

func TestProfile_loginSessionDamaged(t *testing.T) {
	_, _, p, file := login(t)
	good, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ text, want string }{
		"nothing":        {"", "is damaged"},
		"null":           {"null", "is damaged"},
		"cut off":        {string(good[:len(good)/2]), "is damaged"},
		"key of no kind": {strings.Replace(string(good), "-----BEGIN EC", "-----BEGIN", 1), "dpopKey"},
		"no PEM":         {strings.ReplaceAll(string(good), "-----BEGIN", ""), "not in PEM form"},
		"key cut off":    {strings.Replace(string(good), `PRIVATE KEY-----\n`, `PRIVATE KEY-----\nAAAA`, 1), "dpopKey"},
	} {
		t.Run(name, func(t *testing.T) {
			if err := os.WriteFile(file, []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := p.Retrieve(t.Context())
			wantError(t, err, nil, c.want, filepath.Base(file), "log in again with `aws login`", loginSession)
		})
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	_, err = p.Retrieve(t.Context())
	wantError(t, err, os.ErrNotExist, "log in again with `aws login`")
}
