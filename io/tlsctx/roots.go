// SPDX-License-Identifier: Apache-2.0

package tlsctx

import (
	"bytes"
	"context"
	"crypto/x509"
	"strings"
	"sync"
)

// roots are the authorities that a context trusts.
type roots struct {
	opts *Options
	file *fileCache[[]*x509.Certificate]
	dir  *fileCache[[]*x509.Certificate]
	pem  []*x509.Certificate

	mu       sync.Mutex
	versions [2]uint64 // of file and dir, as the pool was made
	text     []byte    // of CAFunc, as the pool was made
	pool     *x509.CertPool
}

// newRoots returns nil when the system decides.
func newRoots(o *Options) (*roots, error) {
	if !o.hasRoots() {
		return nil, nil
	}
	r := &roots{opts: o}
	if o.CAFile != "" {
		r.file = &fileCache[[]*x509.Certificate]{
			list: fixedFiles(o.CAFile),
			parse: func(contents [][]byte) ([]*x509.Certificate, error) {
				return ParseCertificates(o.CAFile, contents[0])
			},
		}
	}
	if o.CADir != "" {
		r.dir = &fileCache[[]*x509.Certificate]{list: filesIn(o.CADir), parse: r.parseDir, lenient: true}
	}
	if len(o.CAPEM) > 0 {
		var err error
		if r.pem, err = ParseCertificates("CA given as bytes", o.CAPEM); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// parseDir passes over what cannot be used: the directories of systems hold other files too.
func (r *roots) parseDir(contents [][]byte) ([]*x509.Certificate, error) {
	var all []*x509.Certificate
	for _, text := range contents {
		for _, b := range pemBlocks(text) {
			if b.Type != blockCertificate && b.Type != blockX509Certificate {
				continue
			}
			if cert, err := x509.ParseCertificate(b.Bytes); err == nil {
				all = append(all, cert)
			}
		}
	}
	if len(all) == 0 {
		return nil, &Error{Object: r.opts.CADir, Err: ErrNoCertificate,
			Hint: "a directory with PEM files that hold CA certificates is expected"}
	}
	return all, nil
}

// load returns the pool of the moment: the same pointer as before when nothing has changed.
func (r *roots) load(ctx context.Context) (*x509.CertPool, error) {
	var text []byte
	var called []*x509.Certificate
	if r.opts.CAFunc != nil {
		const object = "CA from the callback"
		var err error
		if text, err = r.call(ctx); err != nil {
			return nil, asError(object, err)
		}
		if called, err = ParseCertificates(object, text); err != nil {
			return nil, err
		}
	}
	return r.build(text, called)
}

func (r *roots) call(ctx context.Context) (text []byte, err error) {
	defer recovered("Options.CAFunc", &err)
	return r.opts.CAFunc(ctx)
}

// build joins all sources; called are the parsed certificates of the text.
func (r *roots) build(text []byte, called []*x509.Certificate) (*x509.CertPool, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var versions [2]uint64
	var certs []*x509.Certificate
	for i, cache := range []*fileCache[[]*x509.Certificate]{r.file, r.dir} {
		if cache == nil {
			continue
		}
		found, version, err := cache.load()
		if err != nil {
			return nil, err
		}
		versions[i] = version
		certs = append(certs, found...)
	}
	if r.pool != nil && versions == r.versions && bytes.Equal(text, r.text) {
		return r.pool, nil
	}
	pool, err := r.base()
	if err != nil {
		return nil, err
	}
	for _, list := range [][]*x509.Certificate{certs, r.pem, called} {
		for _, c := range list {
			pool.AddCert(c)
		}
	}
	// The same authorities again, from a file that was merely touched, must not end session resumption.
	if r.pool == nil || !r.pool.Equal(pool) {
		r.pool = pool
	}
	r.versions, r.text = versions, bytes.Clone(text)
	return r.pool, nil
}

// base is what the given authorities are added to.
func (r *roots) base() (*x509.CertPool, error) {
	if !r.opts.AddSystemCAs {
		if r.opts.RootCAs != nil {
			return r.opts.RootCAs.Clone(), nil
		}
		return x509.NewCertPool(), nil
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		return nil, &Error{Object: "system CAs", Err: err, Hint: "give the CA with CAFile or CAPEM and leave AddSystemCAs off"}
	}
	return pool, nil
}

// describe names the sources for a person.
func (r *roots) describe() string {
	if r == nil {
		return "the system's CAs"
	}
	var names []string
	if r.opts.CAFile != "" {
		names = append(names, r.opts.CAFile)
	}
	if r.opts.CADir != "" {
		names = append(names, r.opts.CADir)
	}
	if len(r.opts.CAPEM) > 0 {
		names = append(names, "the CA given as bytes")
	}
	if r.opts.CAFunc != nil {
		names = append(names, "the CA from the callback")
	}
	if r.opts.RootCAs != nil {
		names = append(names, "the given pool of CAs")
	}
	if r.opts.AddSystemCAs {
		names = append(names, "the system's CAs")
	}
	return strings.Join(names, " and ")
}
