// SPDX-License-Identifier: Apache-2.0

package tlsctx

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"go.uber.org/zap"
)

// roots are the authorities that a context trusts.
type roots struct {
	opts *Options
	log  *zap.Logger
	file *fileCache[authorities]
	dir  *fileCache[authorities]
	pem  authorities

	mu       sync.Mutex
	versions [2]uint64 // of file and dir, as the pool was made
	text     []byte    // of CAFunc, as the pool was made
	pool     *x509.CertPool
	passed   []passedOver // what the sources of the pool hold and the pool does not
}

// newRoots returns nil when the system decides.
func newRoots(o *Options, log *zap.Logger) (*roots, error) {
	if !o.hasRoots() {
		return nil, nil
	}
	r := &roots{opts: o, log: log}
	if o.CAFile != "" {
		r.file = &fileCache[authorities]{
			list: fixedFiles(o.CAFile),
			parse: func(names []string, contents [][]byte) (authorities, error) {
				return parseAuthorities(names[0], contents[0])
			},
		}
	}
	if o.CADir != "" {
		r.dir = &fileCache[authorities]{list: filesIn(o.CADir), parse: r.parseDir, lenient: true}
	}
	if len(o.CAPEM) > 0 {
		var err error
		if r.pem, err = parseAuthorities("CA given as bytes", o.CAPEM); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// parseDir passes over files without certificates that can be used: the
// directories of systems hold other files too.
func (r *roots) parseDir(names []string, contents [][]byte) (authorities, error) {
	var all authorities
	for i, text := range contents {
		found, err := parseAuthorities(names[i], text)
		if errors.Is(err, ErrDamagedBlock) {
			return authorities{}, err
		}
		all.certs = append(all.certs, found.certs...)
		all.passed = append(all.passed, found.passed...)
	}
	if len(all.certs) == 0 {
		return authorities{}, &Error{Object: r.opts.CADir, Err: ErrNoCertificate,
			Hint: "a directory with PEM files that hold CA certificates is expected"}
	}
	return all, nil
}

// load returns the pool of the moment: the same pointer as before when nothing
// has changed.
func (r *roots) load(ctx context.Context) (*x509.CertPool, error) {
	var text []byte
	var called authorities
	if r.opts.CAFunc != nil {
		const object = "CA from the callback"
		var err error
		if text, err = r.call(ctx); err != nil {
			return nil, asError(object, err)
		}
		if called, err = parseAuthorities(object, text); err != nil {
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
func (r *roots) build(text []byte, called authorities) (*x509.CertPool, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var versions [2]uint64
	sources := []authorities{r.pem, called}
	for i, cache := range []*fileCache[authorities]{r.file, r.dir} {
		if cache == nil {
			continue
		}
		found, version, err := cache.load()
		if err != nil {
			return nil, err
		}
		versions[i] = version
		sources = append(sources, found)
	}
	if r.pool != nil && versions == r.versions && bytes.Equal(text, r.text) {
		return r.pool, nil
	}
	pool, err := r.base()
	if err != nil {
		return nil, err
	}
	known := r.passed
	r.passed = nil
	for _, source := range sources {
		for _, c := range source.certs {
			pool.AddCert(c)
		}
		r.passed = append(r.passed, source.passed...)
	}
	for _, p := range r.passed {
		// A file that was merely touched is no news.
		if slices.ContainsFunc(known, func(k passedOver) bool { return k.String() == p.String() }) {
			continue
		}
		r.log.Warn("CA certificate passed over", zap.String("object", p.object), zap.Int("block", p.block.number), zap.Int("line", p.block.line), zap.Error(p.err))
	}
	// The same authorities again, from a file that was merely touched, must not
	// end session resumption.
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

// missing explains that the pool lacks what the sources hold: the authority
// with this name, if it was passed over, or else whatever was. It returns "" if
// nothing was.
func (r *roots) missing(issuer []byte) string {
	if r == nil {
		return ""
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range r.passed {
		if bytes.Contains(p.block.Bytes, issuer) {
			return "the CA of that name is there, and was passed over because it cannot be used: " + p.String()
		}
	}
	if len(r.passed) > 0 {
		return fmt.Sprintf("%d CA certificates were passed over because they cannot be used, such as %s", len(r.passed), r.passed[0])
	}
	return ""
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
