// SPDX-License-Identifier: Apache-2.0

package sample

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"flag"
	"os"
	"path/filepath"

	"software.sslmate.com/src/go-pkcs12"

	"github.com/gocrt/aws-iot-device-sdk-go/auth/credentials"
	"github.com/gocrt/aws-iot-device-sdk-go/io/tlsctx"
	"github.com/gocrt/aws-iot-device-sdk-go/iot"
	"github.com/gocrt/aws-iot-device-sdk-go/iot/iottest"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
)

// CertFlags are the flags of samples that connect with a certificate in files.
type CertFlags struct {
	app       *App
	Cert, Key *string
}

// CertFlags defines -cert and -key.
func (a *App) CertFlags() *CertFlags {
	return &CertFlags{
		app:  a,
		Cert: flag.String("cert", "", "PEM `file` with the certificate of the device"),
		Key:  flag.String("key", "", "PEM `file` with its private key"),
	}
}

// Files fills in Cert and Key: a new device of the embedded core, or what the
// user gave.
func (c *CertFlags) Files() (err error) {
	switch {
	case *c.Cert != "" && *c.Key != "":
	case c.app.Local():
		*c.Cert, *c.Key, err = c.app.DeviceFiles()
	default:
		err = c.app.Require("cert", "key")
	}
	return err
}

// Client makes a client with the certificate.
func (c *CertFlags) Client(options ...iot.Option) (*mqtt5.Client, error) {
	if err := c.Files(); err != nil {
		return nil, err
	}
	return iot.NewMTLSFromPath(c.app.Endpoint, *c.Cert, *c.Key, options...)
}

// TLS makes a TLS context that trusts the CA of the server.
func (a *App) TLS(o tlsctx.Options) (*tlsctx.Context, error) {
	o.CAFile = a.CA
	if a.Local() {
		o.CAPEM = a.Core.CAPEM()
	}
	return tlsctx.New(o)
}

// Signer is the certificate and its key, which stands for the hardware.
func (c *CertFlags) Signer() (certPEM []byte, key crypto.Signer, err error) {
	if certPEM, err = os.ReadFile(*c.Cert); err != nil {
		return nil, nil, err
	}
	keyPEM, err := os.ReadFile(*c.Key)
	if err != nil {
		return nil, nil, err
	}
	key, err = tlsctx.ParsePrivateKey(*c.Key, keyPEM)
	return certPEM, key, err
}

// HTTP is how credentials are fetched: from the embedded core, or from AWS.
func (a *App) HTTP(identity tlsctx.Identity) (credentials.HTTPOptions, error) {
	o := tlsctx.Options{Identity: identity}
	var h credentials.HTTPOptions
	if a.Local() {
		o.CAPEM = a.Core.CAPEM()
		h.Dial = a.Core.DialContext
	} else if a.CA != "" {
		o.CAFile, o.AddSystemCAs = a.CA, true // AWS serves credentials from another endpoint
	}
	ctx, err := tlsctx.New(o)
	if err != nil {
		return h, err
	}
	h.TLS = ctx.Config
	return h, nil
}

// LocalCredentials are credentials that the embedded core accepts.
func (a *App) LocalCredentials() (*credentials.Provider, error) {
	key, err := a.Core.CreateAccessKey(iottest.AccessKeyOptions{})
	if err != nil {
		return nil, err
	}
	a.Printf("Made AWS credentials there.")
	return credentials.NewStatic(credentials.StaticOptions{
		AccessKeyID: key.AccessKeyID, SecretAccessKey: key.SecretAccessKey, SessionToken: key.SessionToken,
	})
}

// LocalAuthorizer registers a custom authorizer with the embedded core and
// returns what it accepts.
func (a *App) LocalAuthorizer(signing bool) (iot.CustomAuthorizer, error) {
	c, authorizer, err := NewAuthorizer(signing)
	if err != nil {
		return c, err
	}
	a.Printf("Registered the custom authorizer %q there.", c.Name)
	return c, a.Core.AddAuthorizer(authorizer)
}

// NewAuthorizer makes a custom authorizer for an embedded core, and what it
// accepts: a password, or a signed token.
func NewAuthorizer(signing bool) (iot.CustomAuthorizer, iottest.Authorizer, error) {
	allow := &iottest.AuthorizerResponse{IsAuthenticated: true, PrincipalID: "sampleUser", Policies: []string{iottest.AllowAllPolicy}}
	if !signing {
		c := iot.CustomAuthorizer{Name: "sample-authorizer", Username: "sample-user", Password: []byte("sample-password")}
		return c, iottest.Authorizer{
			Name: c.Name, SigningDisabled: true,
			Handler: func(_ context.Context, r *iottest.AuthorizerRequest) (*iottest.AuthorizerResponse, error) {
				if string(r.Password) != string(c.Password) {
					return &iottest.AuthorizerResponse{}, nil
				}
				return allow, nil
			},
		}, nil
	}
	c := iot.CustomAuthorizer{Name: "sample-signing-authorizer", Username: "sample-user", TokenKeyName: "sample-token", TokenValue: "token 1"}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return c, iottest.Authorizer{}, err
	}
	sum := sha256.Sum256([]byte(c.TokenValue))
	signature, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
	if err != nil {
		return c, iottest.Authorizer{}, err
	}
	c.Signature = base64.StdEncoding.EncodeToString(signature)
	return c, iottest.Authorizer{
		Name: c.Name, TokenKeyName: c.TokenKeyName, PublicKey: &key.PublicKey,
		Handler: func(context.Context, *iottest.AuthorizerRequest) (*iottest.AuthorizerResponse, error) {
			return allow, nil
		},
	}, nil
}

// DeviceBundle registers a device with the embedded core and writes its
// certificate and key to a PKCS#12 file.
func (a *App) DeviceBundle() (file, password string, err error) {
	device, err := a.Device()
	if err != nil {
		return "", "", err
	}
	dir, err := a.TempDir()
	if err != nil {
		return "", "", err
	}
	file, password = filepath.Join(dir, "device.p12"), "sample-password"
	a.Printf("Registered a device there; certificate and key are in device.p12.")
	return file, password, WriteBundle(device, file, password)
}

// WriteBundle writes certificate and key of a device to a PKCS#12 file.
func WriteBundle(device *iottest.Device, file, password string) error {
	data, err := pkcs12.Modern.Encode(device.PrivateKey(), device.X509(), nil, password)
	if err != nil {
		return err
	}
	return os.WriteFile(file, data, 0o600)
}
