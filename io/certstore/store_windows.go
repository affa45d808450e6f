// SPDX-License-Identifier: Apache-2.0

package certstore

import (
	"crypto/x509"
	"errors"
	"fmt"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/windows"
)

// What golang.org/x/sys/windows lacks.
const (
	cacheOnlyURLRetrieval = 0x4  // CERT_CHAIN_CACHE_ONLY_URL_RETRIEVAL
	silent                = 0x40 // NCRYPT_SILENT_FLAG
)

var (
	ncrypt           = windows.NewLazySystemDLL("ncrypt.dll")
	ncryptSignHash   = ncrypt.NewProc("NCryptSignHash")
	ncryptFreeObject = ncrypt.NewProc("NCryptFreeObject")
)

// find opens the store and takes from it the certificate, its chain and its key.
func find(p Path) (*entry, error) {
	name, err := windows.UTF16PtrFromString(p.Store)
	if err != nil {
		return nil, err
	}
	store, err := windows.CertOpenStore(windows.CERT_STORE_PROV_SYSTEM_W, 0, 0,
		uint32(p.Location)|windows.CERT_STORE_READONLY_FLAG|windows.CERT_STORE_OPEN_EXISTING_FLAG, uintptr(unsafe.Pointer(name)))
	runtime.KeepAlive(name)
	if err != nil {
		return nil, &Error{Path: p.String(), Err: fmt.Errorf("opening the store: %w", status(err)),
			Hint: "check the location and the name of the store, which is normally MY"}
	}
	defer windows.CertCloseStore(store, 0)

	hash := windows.CryptHashBlob{Size: uint32(len(p.Thumbprint)), Data: &p.Thumbprint[0]}
	found, err := windows.CertFindCertificateInStore(store, windows.X509_ASN_ENCODING|windows.PKCS_7_ASN_ENCODING, 0,
		windows.CERT_FIND_SHA1_HASH, unsafe.Pointer(&hash), nil)
	if err != nil {
		if s := status(err); s != error(statusNotFound) {
			return nil, fmt.Errorf("finding the certificate: %w", s)
		}
		return nil, &Error{Path: p.String(), Err: fmt.Errorf("%w: no certificate with this thumbprint in the store", ErrNotFound),
			Hint: "list the certificates with: certutil -user -store MY (without -user for LocalMachine)"}
	}
	defer windows.CertFreeCertificateContext(found)

	e := &entry{}
	if e.chain, err = chain(store, found); err != nil {
		return nil, err
	}
	if e.key, err = acquire(found); err != nil {
		return nil, err
	}
	return e, nil
}

// chain returns the certificate and the intermediate CAs above it, without
// asking the network.
func chain(store windows.Handle, leaf *windows.CertContext) ([]*x509.Certificate, error) {
	first, err := parse(leaf)
	if err != nil {
		return nil, err
	}
	certs := []*x509.Certificate{first}
	para := windows.CertChainPara{Size: uint32(unsafe.Sizeof(windows.CertChainPara{}))}
	var ctx *windows.CertChainContext
	if err := windows.CertGetCertificateChain(0, leaf, nil, store, &para, cacheOnlyURLRetrieval, 0, &ctx); err != nil {
		// Without its chain the certificate may still do: servers that know it
		// need no CA.
		return certs, nil
	}
	defer windows.CertFreeCertificateChain(ctx)
	if ctx.ChainCount == 0 {
		return certs, nil
	}
	simple := unsafe.Slice(ctx.Chains, ctx.ChainCount)[0]
	for i, element := range unsafe.Slice(simple.Elements, simple.NumElements) {
		if i == 0 {
			continue // the certificate itself
		}
		c, err := parse(element.CertContext)
		if err != nil || selfSigned(c) {
			break // a server has its own copy of a root
		}
		certs = append(certs, c)
	}
	return certs, nil
}

func parse(c *windows.CertContext) (*x509.Certificate, error) {
	der := unsafe.Slice(c.EncodedCert, c.Length)
	return x509.ParseCertificate(append([]byte(nil), der...))
}

func selfSigned(c *x509.Certificate) bool { return c.CheckSignatureFrom(c) == nil }

// acquire gets the private key of a certificate.
func acquire(cert *windows.CertContext) (hashKey, error) {
	var handle windows.Handle
	var spec uint32
	var free bool
	err := windows.CryptAcquireCertificatePrivateKey(cert,
		windows.CRYPT_ACQUIRE_ONLY_NCRYPT_KEY_FLAG|windows.CRYPT_ACQUIRE_SILENT_FLAG|windows.CRYPT_ACQUIRE_COMPARE_KEY_FLAG,
		nil, &handle, &spec, &free)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoKey, status(err))
	}
	return &ncryptKey{handle: handle, free: free}, nil
}

// ncryptKey is a key handle.
type ncryptKey struct {
	handle windows.Handle
	free   bool
}

func (k *ncryptKey) signHash(p padding, digest []byte) ([]byte, error) {
	if err := ncryptSignHash.Find(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnsupported, err)
	}
	var info unsafe.Pointer
	var name *uint16
	switch p.kind {
	case paddingPKCS1, paddingPSS:
		var err error
		if name, err = windows.UTF16PtrFromString(p.hash); err != nil {
			return nil, err
		}
		// BCRYPT_PSS_PADDING_INFO; BCRYPT_PKCS1_PADDING_INFO is its first field.
		info = unsafe.Pointer(&struct {
			hash *uint16
			salt uint32
		}{name, uint32(p.salt)})
	}
	call := func(sig []byte) (int, error) {
		var size uint32
		var data *byte
		if len(sig) > 0 {
			data = &sig[0]
		}
		r, _, _ := syscall.SyscallN(ncryptSignHash.Addr(), uintptr(k.handle), uintptr(info),
			uintptr(unsafe.Pointer(&digest[0])), uintptr(len(digest)), uintptr(unsafe.Pointer(data)), uintptr(len(sig)),
			uintptr(unsafe.Pointer(&size)), uintptr(p.kind)|silent)
		if s := Status(r); s != 0 {
			return 0, s
		}
		return int(size), nil
	}
	size, err := call(nil)
	if err != nil {
		return nil, err
	}
	sig := make([]byte, size)
	if size, err = call(sig); err != nil {
		return nil, err
	}
	return sig[:size], nil
}

func (k *ncryptKey) close() {
	if k.free && ncryptFreeObject.Find() == nil {
		syscall.SyscallN(ncryptFreeObject.Addr(), uintptr(k.handle))
	}
}

// status gives the error of a Windows call its name, where it has one here.
func status(err error) error {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		if _, ok := statusNames[Status(errno)]; ok {
			return Status(errno)
		}
	}
	return err
}
