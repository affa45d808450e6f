// SPDX-License-Identifier: Apache-2.0

package connect

import (
	"crypto/rand"
	"encoding/hex"
	"os"
	"slices"
	"strings"

	"github.com/gocrt/aws-iot-device-sdk-go/auth/credentials"
	"github.com/gocrt/aws-iot-device-sdk-go/cmd/internal/cli"
	"github.com/gocrt/aws-iot-device-sdk-go/http/proxy"
	"github.com/gocrt/aws-iot-device-sdk-go/io/pkcs11"
	"github.com/gocrt/aws-iot-device-sdk-go/io/tlsctx"
	"github.com/gocrt/aws-iot-device-sdk-go/iot"
)

// Target is where to connect to, and how.
type Target struct {
	Endpoint string
	Method   iot.Method
	Options  []iot.Option
}

// Target makes one of the flags, the environment and the profile.
func (f *Flags) Target() (*Target, error) {
	if err := f.complete(); err != nil {
		return nil, err
	}
	if f.Endpoint == "" {
		return nil, cli.Usagef("-endpoint is missing (or %s): the host name that `aws iot describe-endpoint --endpoint-type iot:Data-ATS` prints", Variable("endpoint"))
	}
	if f.Method == "" {
		f.Method = f.infer()
	}
	if f.Method == "" {
		return nil, cli.Usagef("nothing says how to authenticate: give -cert and -key, or another -method (%s)", strings.Join(Methods, ", "))
	}
	if !slices.Contains(Methods, f.Method) {
		return nil, cli.Usagef("unknown -method %q: it is one of %s", f.Method, strings.Join(Methods, ", "))
	}
	if err := f.withoutEffect(); err != nil {
		return nil, err
	}
	f.named = f.ClientID != ""
	if !f.named {
		var b [6]byte
		_, _ = rand.Read(b[:])
		f.ClientID = "awsiot-" + hex.EncodeToString(b[:])
	}
	m, err := f.method()
	if err != nil {
		return nil, err
	}
	options := f.options()
	if f.region != "" && (f.Method == "sigv4" || f.Method == "cognito" || f.Method == "role-alias") {
		options = append(options, iot.WithRegion(f.region))
	}
	if f.Method == "broker" {
		if f.username != "" {
			options = append(options, iot.WithUsername(f.username))
		}
		if f.password != "" {
			options = append(options, iot.WithPassword([]byte(f.password)))
		}
		if f.cert != "" && !f.withoutIdentity() {
			options = append(options, iot.WithIdentity(tlsctx.FromPath(f.cert, f.key)))
		}
	}
	if f.customAuth() && f.set.Given("cert") { // a domain may require both
		options = append(options, iot.WithIdentity(tlsctx.FromPath(f.cert, f.key)))
	}
	return &Target{Endpoint: f.Endpoint, Method: m, Options: options}, nil
}

// withoutIdentity reports whether -plaintext was typed and the certificate comes
// from the environment or a profile, which are then for other connections.
func (f *Flags) withoutIdentity() bool { return f.set.Given("plaintext") && !f.set.Given("cert") }

// customAuth reports whether a custom authorizer authenticates.
func (f *Flags) customAuth() bool {
	return f.Method == "custom-auth" || f.Method == "websocket-custom-auth"
}

// methodsOf are the methods that take a flag. Flags that are not here go with all.
var methodsOf = map[string][]string{
	"cert":                 {"certificate", "pkcs11", "role-alias", "custom-auth", "websocket-custom-auth", "broker"},
	"key":                  {"certificate", "role-alias", "custom-auth", "websocket-custom-auth", "broker"},
	"p12":                  {"pkcs12"},
	"library":              {"pkcs11"},
	"token-label":          {"pkcs11"},
	"slot":                 {"pkcs11"},
	"key-label":            {"pkcs11"},
	"pin-env":              {"pkcs11"},
	"store":                {"windows-store"},
	"region":               {"sigv4", "cognito", "role-alias"},
	"aws-profile":          {"sigv4"},
	"identity-id":          {"cognito"},
	"identity-pool-id":     {"cognito"},
	"credentials-endpoint": {"role-alias"},
	"role-alias":           {"role-alias"},
	"authorizer":           {"custom-auth", "websocket-custom-auth"},
	"token-key-name":       {"custom-auth", "websocket-custom-auth"},
	"token":                {"custom-auth", "websocket-custom-auth"},
	"signature":            {"custom-auth", "websocket-custom-auth"},
	"username":             {"custom-auth", "websocket-custom-auth", "broker"},
	"password":             {"custom-auth", "websocket-custom-auth", "broker", "pkcs12"},
}

// withoutEffect finds flags on the command line that the method does not take.
func (f *Flags) withoutEffect() error {
	for _, name := range f.names() {
		methods := methodsOf[name]
		if methods != nil && f.set.Given(name) && !slices.Contains(methods, f.Method) {
			return cli.Usagef("-%s has no effect with -method %s, but with %s; leave one of them out", name, f.Method, strings.Join(methods, ", "))
		}
	}
	return nil
}

// inferred are the flags that imply a method, in the order in which they do. A
// certificate comes last among those on the command line, because other methods
// have a use for it, too, and first among those of the environment, which may
// describe several.
var inferred = []struct{ flag, method string }{
	{"cert", "certificate"},
	{"role-alias", "role-alias"},
	{"identity-id", "cognito"},
	{"identity-pool-id", "cognito"},
	{"authorizer", "custom-auth"},
	{"token", "custom-auth"},
	{"library", "pkcs11"},
	{"p12", "pkcs12"},
	{"store", "windows-store"},
	{"plaintext", "broker"},
	{"aws-profile", "sigv4"},
	{"cert", "certificate"},
	{"key", "certificate"},
}

// infer says which method the other flags mean.
func (f *Flags) infer() string {
	for _, i := range inferred[1:] {
		if f.set.Given(i.flag) {
			return i.method
		}
	}
	for _, i := range inferred {
		if v := f.set.Lookup(i.flag).Value.String(); v != "" && v != "false" {
			return i.method
		}
	}
	return ""
}

// method makes the method.
func (f *Flags) method() (m iot.Method, err error) {
	switch f.Method {
	case "certificate":
		return iot.MTLSFromPath(f.cert, f.key), f.missing("cert", "key")
	case "pkcs12":
		return iot.MTLSWithPKCS12(f.bundle, f.password), f.missing("p12")
	case "pkcs11":
		if err := f.missing("library"); err != nil {
			return m, err
		}
		return f.hardware()
	case "windows-store":
		return iot.MTLSWithWindowsCertStore(f.store), f.missing("store")
	case "custom-auth", "websocket-custom-auth":
		f.authorizer.Username = f.username
		if f.password != "" {
			f.authorizer.Password = []byte(f.password)
		}
		if f.Method == "custom-auth" {
			return iot.DirectWithCustomAuthorizer(f.authorizer), nil
		}
		return iot.WebsocketWithCustomAuthorizer(f.authorizer), nil
	case "broker":
		return iot.ForBroker(), nil
	}
	provider, err := f.provider()
	if err != nil {
		return m, err
	}
	return iot.WebsocketWithSigV4(provider), nil
}

// hardware is the method of a key in a PKCS#11 token.
func (f *Flags) hardware() (iot.Method, error) {
	o := pkcs11.Options{
		LibraryPath: f.library,
		Token:       pkcs11.TokenOptions{Label: f.token, PIN: pkcs11.PIN(os.Getenv(f.pinEnv))},
		Key:         pkcs11.KeyOptions{Label: f.keyLabel, CertificateFile: f.cert},
	}
	if f.slot >= 0 {
		slot := uint(f.slot)
		o.Token.SlotID = &slot
	}
	identity, err := pkcs11.New(o)
	if err != nil {
		return iot.Method{}, err
	}
	f.closers = append(f.closers, func() { _ = identity.Close() })
	return iot.MTLSWithIdentity(identity), nil
}

// provider is the source of AWS credentials.
func (f *Flags) provider() (*credentials.Provider, error) {
	switch f.Method {
	case "cognito":
		if f.cognito.IdentityID == "" && f.cognito.IdentityPoolID == "" {
			return nil, cli.Usagef("-method cognito needs -identity-id or -identity-pool-id")
		}
		h, err := f.http(nil)
		if err != nil {
			return nil, err
		}
		f.cognito.HTTP = h
		return credentials.NewCognito(f.cognito)
	case "role-alias":
		if err := f.missing("credentials-endpoint", "role-alias", "cert", "key"); err != nil {
			return nil, err
		}
		h, err := f.http(tlsctx.FromPath(f.cert, f.key))
		if err != nil {
			return nil, err
		}
		f.alias.HTTP = h
		return credentials.NewX509(f.alias)
	}
	viaProxy, err := f.viaProxy()
	if err != nil {
		return nil, err
	}
	if f.awsProfile != "" {
		return credentials.NewProfile(credentials.ProfileOptions{Name: f.awsProfile, HTTP: viaProxy})
	}
	return credentials.NewDefault(credentials.DefaultOptions{HTTP: viaProxy})
}

// http is how credentials are fetched. A private CA is added to those of the
// system, because AWS serves credentials from another endpoint.
func (f *Flags) http(identity tlsctx.Identity) (credentials.HTTPOptions, error) {
	o := tlsctx.Options{Identity: identity}
	if f.ca != "" {
		o.CAFile, o.AddSystemCAs = f.ca, true
	}
	ctx, err := tlsctx.New(o)
	if err != nil {
		return credentials.HTTPOptions{}, err
	}
	h, err := f.viaProxy()
	h.TLS = ctx.Config
	return h, err
}

// viaProxy reaches the sources of credentials as -proxy says.
func (f *Flags) viaProxy() (h credentials.HTTPOptions, err error) {
	var d *proxy.Dialer
	switch f.proxy {
	case "":
		return h, nil
	case "env":
		d, err = proxy.FromEnvironment(proxy.Options{})
	default:
		d, err = proxy.New(proxy.Options{URL: f.proxy})
	}
	if err != nil {
		return h, err
	}
	h.Dial = d.DialContext
	return h, nil
}
