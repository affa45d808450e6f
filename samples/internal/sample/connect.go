// SPDX-License-Identifier: Apache-2.0

package sample

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"

	"github.com/gocrt/aws-iot-device-sdk-go/auth/credentials"
	"github.com/gocrt/aws-iot-device-sdk-go/auth/sigv4"
	"github.com/gocrt/aws-iot-device-sdk-go/io/pkcs11"
	"github.com/gocrt/aws-iot-device-sdk-go/io/tlsctx"
	"github.com/gocrt/aws-iot-device-sdk-go/iot"
	"github.com/gocrt/aws-iot-device-sdk-go/iot/iottest"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
	"github.com/gocrt/aws-iot-device-sdk-go/samples/internal/softhsm"
)

// Methods are the ways to connect that ConnectFlags knows.
var Methods = []string{
	"certificate", "pkcs12", "pkcs11", "signer", "windows-store", "sigv4", "cognito", "role-alias", "custom-auth", "websocket-custom-auth", "plain",
}

// ConnectFlags are the flags of samples that know every way to connect.
type ConnectFlags struct {
	app    *App
	Method string

	Certificate *CertFlags
	bundle      string
	password    string
	region      string
	profile     string
	store       string
	cognito     credentials.CognitoOptions
	alias       credentials.X509Options
	authorizer  iot.CustomAuthorizer
	PKCS11      *PKCS11Flags
}

// ConnectFlags defines -method and the flags of all methods.
func (a *App) ConnectFlags() *ConnectFlags {
	c := &ConnectFlags{app: a, Certificate: a.CertFlags(), PKCS11: a.PKCS11Flags(false)}
	flag.StringVar(&c.Method, "method", "certificate", "`way` to connect: "+strings.Join(Methods, ", "))
	flag.StringVar(&c.bundle, "p12", "", "PKCS#12 `file` with certificate and key (method pkcs12)")
	flag.StringVar(&c.password, "password", "", "`password` of the PKCS#12 file, or for the custom authorizer")
	flag.StringVar(&c.region, "region", "", "AWS `region` (methods sigv4, cognito and role-alias; default: the one in the name of the endpoint)")
	flag.StringVar(&c.profile, "profile", "", "`name` of a profile in ~/.aws (method sigv4; default: the usual chain)")
	flag.StringVar(&c.store, "store", "", "`path` of a certificate in a Windows store, CurrentUser\\MY\\<thumbprint> (method windows-store)")
	flag.StringVar(&c.cognito.IdentityID, "identity-id", "", "`id` of a Cognito identity (method cognito)")
	flag.StringVar(&c.cognito.IdentityPoolID, "identity-pool-id", "", "`id` of a Cognito identity pool, to be a new guest of it (method cognito)")
	flag.StringVar(&c.alias.Endpoint, "credentials-endpoint", "", "host `name` of the credentials endpoint (method role-alias)")
	flag.StringVar(&c.alias.RoleAlias, "role-alias", "", "`name` of the role alias (method role-alias)")
	flag.StringVar(&c.alias.ThingName, "thing", "", "`name` of the thing of the certificate (method role-alias)")
	flag.StringVar(&c.authorizer.Name, "authorizer", "", "`name` of the custom authorizer")
	flag.StringVar(&c.authorizer.Username, "username", "", "user `name` for the custom authorizer")
	flag.StringVar(&c.authorizer.TokenKeyName, "token-key-name", "", "`name` of the token parameter of a custom authorizer with signing")
	flag.StringVar(&c.authorizer.TokenValue, "token", "", "`token` for a custom authorizer with signing")
	flag.StringVar(&c.authorizer.Signature, "signature", "", "`signature` of the token, in base64")
	a.Allow("method")
	return c
}

// Way is the method of the flags, with the options that it needs.
func (c *ConnectFlags) Way() (m iot.Method, options []iot.Option, err error) {
	a := c.app
	switch c.Method {
	case "certificate":
		err = c.Certificate.Files()
		return iot.MTLSFromPath(*c.Certificate.Cert, *c.Certificate.Key), nil, err
	case "pkcs12":
		if a.Local() {
			c.bundle, c.password, err = a.DeviceBundle()
		} else {
			err = a.Require("p12")
		}
		return iot.MTLSWithPKCS12(c.bundle, c.password), nil, err
	case "pkcs11":
		o, err := c.PKCS11.Options(*c.Certificate.Cert)
		if err != nil {
			return m, nil, err
		}
		identity, err := pkcs11.New(o)
		if err != nil {
			return m, nil, err
		}
		return iot.MTLSWithIdentity(identity), nil, nil
	case "signer":
		if err := c.Certificate.Files(); err != nil {
			return m, nil, err
		}
		cert, key, err := c.Certificate.Signer()
		if err != nil {
			return m, nil, err
		}
		return iot.MTLSWithSigner(cert, key), nil, nil
	case "windows-store":
		if a.Local() {
			return m, nil, errors.New("-endpoint is missing: a certificate in a store is for a server that knows it")
		}
		return iot.MTLSWithWindowsCertStore(c.store), nil, nil
	case "sigv4", "cognito", "role-alias":
		provider, err := c.provider()
		if err != nil {
			return m, nil, err
		}
		if c.region != "" {
			options = append(options, iot.WithRegion(c.region))
		}
		return iot.WebsocketWithSigV4(provider), options, nil
	case "custom-auth", "websocket-custom-auth":
		if c.password != "" {
			c.authorizer.Password = []byte(c.password)
		}
		if a.Local() {
			if c.authorizer, err = a.LocalAuthorizer(true); err != nil {
				return m, nil, err
			}
		}
		if c.Method == "custom-auth" {
			return iot.DirectWithCustomAuthorizer(c.authorizer), nil, nil
		}
		return iot.WebsocketWithCustomAuthorizer(c.authorizer), nil, nil
	case "plain":
		options = append(options, iot.WithPlaintext())
		if c.authorizer.Username != "" {
			options = append(options, iot.WithUsername(c.authorizer.Username), iot.WithPassword([]byte(c.password)))
		}
		return iot.ForBroker(), options, nil
	}
	return m, nil, fmt.Errorf("unknown -method %q: it is one of %s", c.Method, strings.Join(Methods, ", "))
}

// Client makes a client by the method of the flags.
func (c *ConnectFlags) Client(options ...iot.Option) (*mqtt5.Client, error) {
	m, more, err := c.Way()
	if err != nil {
		return nil, err
	}
	return iot.NewClient(c.app.Endpoint, m, append(options, more...)...)
}

// provider gives the credentials to sign with.
func (c *ConnectFlags) provider() (sigv4.CredentialsProvider, error) {
	a := c.app
	var p *credentials.Provider
	var err error
	switch {
	case c.Method == "cognito":
		if c.cognito.HTTP, err = a.HTTP(nil); err != nil {
			return nil, err
		}
		if a.Local() {
			c.cognito.IdentityPoolID = a.Core.AddIdentityPool(iottest.IdentityPool{})
			a.Printf("Made the identity pool %s there.", c.cognito.IdentityPoolID)
		}
		p, err = credentials.NewCognito(c.cognito)
	case c.Method == "role-alias":
		if a.Local() {
			c.alias.Endpoint, c.alias.RoleAlias = a.Core.CredentialsEndpoint(), "sample-alias"
			err = a.Core.AddRoleAlias(iottest.RoleAlias{Name: c.alias.RoleAlias})
		} else {
			err = a.Require("credentials-endpoint", "role-alias")
		}
		if err = errors.Join(err, c.Certificate.Files()); err != nil {
			return nil, err
		}
		if c.alias.HTTP, err = a.HTTP(tlsctx.FromPath(*c.Certificate.Cert, *c.Certificate.Key)); err != nil {
			return nil, err
		}
		p, err = credentials.NewX509(c.alias)
	case a.Local():
		p, err = a.LocalCredentials()
	case c.profile != "":
		p, err = credentials.NewProfile(credentials.ProfileOptions{Name: c.profile})
	default:
		p, err = credentials.NewDefault(credentials.DefaultOptions{})
	}
	if err != nil {
		return nil, err
	}
	return p, nil
}

// PKCS11Flags are the flags of samples that connect with a key in a token.
type PKCS11Flags struct {
	app                             *App
	library, token, keyLabel, pinOf string
	slot                            int
}

// PKCS11Flags defines -library and what goes with it.
func (a *App) PKCS11Flags(own bool) *PKCS11Flags {
	p := &PKCS11Flags{app: a}
	note := ""
	if !own {
		note = " (method pkcs11)"
	}
	flag.StringVar(&p.library, "library", "", "PKCS#11 `file` of the maker of the token, a .so or .dll"+note)
	flag.StringVar(&p.token, "token-label", "", "`label` of the token (default: the only one)"+note)
	flag.IntVar(&p.slot, "slot", -1, "`number` of the slot of the token"+note)
	flag.StringVar(&p.keyLabel, "key-label", "", "`label` of the private key (default: the only one)"+note)
	flag.StringVar(&p.pinOf, "pin-env", "PKCS11_PIN", "`variable` of the environment that holds the PIN"+note)
	return p
}

// Options says which key is meant. Without an -endpoint it is one in a new
// token of SoftHSM.
func (p *PKCS11Flags) Options(certFile string) (pkcs11.Options, error) {
	a := p.app
	if a.Local() {
		device, err := a.Device()
		if err != nil {
			return pkcs11.Options{}, err
		}
		dir, err := a.TempDir()
		if err != nil {
			return pkcs11.Options{}, err
		}
		library, err := softhsm.Setup(dir, device.KeyPKCS8PEM())
		if err != nil {
			return pkcs11.Options{}, err
		}
		a.Printf("Registered a device there and put its private key into a token of SoftHSM.")
		return pkcs11.Options{
			LibraryPath: library,
			Token:       pkcs11.TokenOptions{Label: softhsm.TokenLabel, PIN: softhsm.PIN},
			Key:         pkcs11.KeyOptions{Label: softhsm.KeyLabel, CertificatePEM: device.CertPEM()},
		}, nil
	}
	if p.library == "" {
		return pkcs11.Options{}, errors.New("-library is missing: the PKCS#11 library of the token, such as /usr/lib/softhsm/libsofthsm2.so")
	}
	o := pkcs11.Options{
		LibraryPath: p.library,
		Token:       pkcs11.TokenOptions{Label: p.token, PIN: pkcs11.PIN(os.Getenv(p.pinOf))},
		Key:         pkcs11.KeyOptions{Label: p.keyLabel, CertificateFile: certFile},
	}
	if p.slot >= 0 {
		slot := uint(p.slot)
		o.Token.SlotID = &slot
	}
	return o, nil
}
