// SPDX-License-Identifier: Apache-2.0

package pkcs11

import (
	"bytes"
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/gocrt/aws-iot-device-sdk-go/io/tlsctx"
)

// tokenCertificate is a certificate from a source.
type tokenCertificate struct {
	cert *x509.Certificate
	// label is that of the object on the token.
	label string
}

// source is where the certificate of a key comes from.
type source interface {
	// read returns the certificates that are there. The slice of an earlier
	// call means that nothing has changed.
	read(ctx context.Context) ([]tokenCertificate, error)
	// chain picks the certificate of a key and its intermediate CAs.
	chain(certs []tokenCertificate, key crypto.PublicKey) ([]*x509.Certificate, error)
}

func newSource(t *Token, o KeyOptions) source {
	switch {
	case o.CertificateFile != "":
		return &pemSource{token: t, opts: o, name: o.CertificateFile, contents: func() ([]byte, error) { return os.ReadFile(o.CertificateFile) }}
	case len(o.CertificatePEM) > 0:
		data := bytes.Clone(o.CertificatePEM)
		return &pemSource{token: t, opts: o, name: "CertificatePEM", contents: func() ([]byte, error) { return data, nil }}
	}
	return &tokenSource{token: t, opts: o}
}

// pemSource is a PEM file, or its contents.
type pemSource struct {
	token    *Token
	opts     KeyOptions
	name     string
	contents func() ([]byte, error)

	// Used by one load at a time.
	last  []byte
	certs []tokenCertificate
}

func (p *pemSource) read(context.Context) ([]tokenCertificate, error) {
	data, err := p.contents()
	if err != nil {
		return nil, p.token.failKey("read certificate", p.opts, both(ErrCertificateInvalid, err), "check CertificateFile")
	}
	if p.certs != nil && bytes.Equal(data, p.last) {
		return p.certs, nil
	}
	certs, hint, err := parsePEM(p.name, data)
	if err != nil {
		return nil, p.token.failKey("read certificate", p.opts, both(ErrCertificateInvalid, err), hint)
	}
	p.last, p.certs = data, certs
	return certs, nil
}

func parsePEM(name string, data []byte) (certs []tokenCertificate, hint string, err error) {
	parsed, err := tlsctx.ParseCertificates(name, data)
	if e := (*tlsctx.Error)(nil); errors.As(err, &e) {
		return nil, e.Hint, fmt.Errorf("%s: %w", name, e.Err)
	}
	for _, cert := range parsed {
		certs = append(certs, tokenCertificate{cert: cert})
	}
	return certs, "", err
}

// chain puts the certificate of the key first, whatever the order in the file.
func (p *pemSource) chain(certs []tokenCertificate, key crypto.PublicKey) ([]*x509.Certificate, error) {
	var chain []*x509.Certificate
	found := false
	for _, c := range certs {
		if !found && samePublicKey(key, c.cert.PublicKey) {
			found = true
			chain = append([]*x509.Certificate{c.cert}, chain...)
			continue
		}
		chain = append(chain, c.cert)
	}
	if !found {
		return nil, p.token.failKey("use certificate", p.opts, ErrCertificateMismatch,
			fmt.Sprintf("%s is for %q: give the certificate that was issued for this key, or name the key that it was issued for", p.name, certs[0].cert.Subject))
	}
	return chain, nil
}

// tokenSource is the token of the key.
type tokenSource struct {
	token *Token
	opts  KeyOptions

	// Used by one load at a time.
	certs []tokenCertificate
}

func (ts *tokenSource) read(ctx context.Context) ([]tokenCertificate, error) {
	t := ts.token
	certs, err := do(ctx, t, "read certificates", func(ctx context.Context, s session) (certs []tokenCertificate, err error) {
		err = t.mod.use(ctx, s.epoch, func(api cryptoki) (err error) {
			certs, err = readCertificates(api, s)
			return err
		})
		return certs, err
	})
	if err != nil {
		return nil, err
	}
	if !sameCertificates(certs, ts.certs) {
		ts.certs = certs
	}
	return ts.certs, nil
}

func readCertificates(api cryptoki, s session) (certs []tokenCertificate, err error) {
	objects, err := api.Find(s.handle, []attribute{
		{attrClass, uint(classCertificate)}, {attrCertificateType, uint(certificateX509)},
	})
	if err != nil {
		return nil, err
	}
	for _, object := range objects {
		der, err := optional(api, s, object, attrValue)
		if err != nil {
			return nil, err
		}
		label, err := optional(api, s, object, attrLabel)
		if err != nil {
			return nil, err
		}
		// What cannot be read cannot be ours, and tokens hold all sorts of things.
		if cert, err := x509.ParseCertificate(der); err == nil {
			certs = append(certs, tokenCertificate{cert: cert, label: string(label)})
		}
	}
	return certs, nil
}

func sameCertificates(a, b []tokenCertificate) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i].label != b[i].label || !a[i].cert.Equal(b[i].cert) {
			return false
		}
	}
	return true
}

// chain takes the latest certificate of the key and those on the token that
// lead from it to a root.
func (ts *tokenSource) chain(certs []tokenCertificate, key crypto.PublicKey) ([]*x509.Certificate, error) {
	var leaf *x509.Certificate
	for _, c := range certs {
		if ts.opts.CertificateLabel != "" && c.label != ts.opts.CertificateLabel || !samePublicKey(key, c.cert.PublicKey) {
			continue
		}
		if leaf == nil || c.cert.NotBefore.After(leaf.NotBefore) {
			leaf = c.cert
		}
	}
	if leaf == nil {
		return nil, ts.token.failKey("find certificate", ts.opts, ErrCertificateNotFound, ts.missing(certs))
	}
	chain := []*x509.Certificate{leaf}
	for {
		issuer := issuerOf(chain, certs)
		// A root is known to the server or else worth nothing.
		if issuer == nil || issuedBy(issuer, issuer) {
			return chain, nil
		}
		chain = append(chain, issuer)
	}
}

// issuerOf returns the issuer of the last certificate of a chain if it is not
// in the chain yet.
func issuerOf(chain []*x509.Certificate, certs []tokenCertificate) *x509.Certificate {
	for _, c := range certs {
		if issuedBy(chain[len(chain)-1], c.cert) && !slices.ContainsFunc(chain, c.cert.Equal) {
			return c.cert
		}
	}
	return nil
}

func issuedBy(cert, issuer *x509.Certificate) bool {
	return bytes.Equal(cert.RawIssuer, issuer.RawSubject) && cert.CheckSignatureFrom(issuer) == nil
}

func (ts *tokenSource) missing(certs []tokenCertificate) string {
	if len(certs) == 0 {
		return "the token holds no certificate: give it with CertificateFile or CertificatePEM"
	}
	var names []string
	for _, c := range certs {
		names = append(names, fmt.Sprintf("%q for %q", c.label, c.cert.Subject))
	}
	return "none of the certificates on the token (" + list(names) + ") has the public key: give the certificate with CertificateFile or CertificatePEM"
}

// join makes what TLS wants of a key and its chain.
func join(key *Key, chain []*x509.Certificate) *tls.Certificate {
	c := &tls.Certificate{PrivateKey: key, Leaf: chain[0], SupportedSignatureAlgorithms: key.SupportedSignatureAlgorithms()}
	for _, cert := range chain {
		c.Certificate = append(c.Certificate, cert.Raw)
	}
	return c
}
