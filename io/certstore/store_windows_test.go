// SPDX-License-Identifier: Apache-2.0

package certstore

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"math/big"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/windows"
)

const (
	softwareProvider = "Microsoft Software Key Storage Provider"
	overwriteKey     = 0x80 // NCRYPT_OVERWRITE_KEY_FLAG
	keyProvInfo      = 2    // CERT_KEY_PROV_INFO_PROP_ID
)

var setCertificateProperty = windows.NewLazySystemDLL("crypt32.dll").NewProc("CertSetCertificateContextProperty")

func utf16(t testing.TB, s string) unsafe.Pointer {
	t.Helper()
	p, err := windows.UTF16PtrFromString(s)
	if err != nil {
		t.Fatal(err)
	}
	return unsafe.Pointer(p)
}

// call calls a function of ncrypt.dll.
func call(name string, args ...uintptr) error {
	proc := ncrypt.NewProc(name)
	if err := proc.Find(); err != nil {
		return err
	}
	if r, _, _ := syscall.SyscallN(proc.Addr(), args...); r != 0 {
		return Status(r)
	}
	return nil
}

func mustCall(t testing.TB, name string, args ...uintptr) {
	t.Helper()
	if err := call(name, args...); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

// newKey makes a key that the software provider keeps until the test ends.
func newKey(t testing.TB, algorithm, container string) (windows.Handle, crypto.PublicKey) {
	t.Helper()
	var provider, key windows.Handle
	mustCall(t, "NCryptOpenStorageProvider", uintptr(unsafe.Pointer(&provider)), uintptr(utf16(t, softwareProvider)), 0)
	t.Cleanup(func() { call("NCryptFreeObject", uintptr(provider)) })
	var name unsafe.Pointer
	if container != "" {
		name = utf16(t, container)
	}
	mustCall(t, "NCryptCreatePersistedKey", uintptr(provider), uintptr(unsafe.Pointer(&key)), uintptr(utf16(t, algorithm)), uintptr(name), 0, overwriteKey)
	if algorithm == "RSA" {
		bits := uint32(2048)
		mustCall(t, "NCryptSetProperty", uintptr(key), uintptr(utf16(t, "Length")), uintptr(unsafe.Pointer(&bits)), 4, 0)
	}
	mustCall(t, "NCryptFinalizeKey", uintptr(key), silent)
	t.Cleanup(func() { call("NCryptDeleteKey", uintptr(key), silent) })
	return key, publicKey(t, key, algorithm)
}

func publicKey(t testing.TB, key windows.Handle, algorithm string) crypto.PublicKey {
	t.Helper()
	kind := "ECCPUBLICBLOB"
	if algorithm == "RSA" {
		kind = "RSAPUBLICBLOB"
	}
	blob := make([]byte, 4096)
	var size uint32
	mustCall(t, "NCryptExportKey", uintptr(key), 0, uintptr(utf16(t, kind)), 0, uintptr(unsafe.Pointer(&blob[0])), uintptr(len(blob)), uintptr(unsafe.Pointer(&size)), 0)
	word := func(i int) int { return int(binary.LittleEndian.Uint32(blob[4*i:])) }
	if algorithm == "RSA" {
		exponent, modulus := word(2), word(3)
		return &rsa.PublicKey{
			E: int(new(big.Int).SetBytes(blob[24 : 24+exponent]).Int64()),
			N: new(big.Int).SetBytes(blob[24+exponent : 24+exponent+modulus]),
		}
	}
	n := word(1)
	curve := map[string]elliptic.Curve{"ECDSA_P256": elliptic.P256(), "ECDSA_P384": elliptic.P384(), "ECDSA_P521": elliptic.P521()}[algorithm]
	pub, err := ecdsa.ParseUncompressedPublicKey(curve, append([]byte{4}, blob[8:8+2*n]...))
	if err != nil {
		t.Fatal(err)
	}
	return pub
}

// install puts a certificate into CurrentUser\MY until the test ends, and
// points it to a key if one is named.
func install(t testing.TB, cert *x509.Certificate, container string) string {
	t.Helper()
	ctx, err := windows.CertCreateCertificateContext(windows.X509_ASN_ENCODING, &cert.Raw[0], uint32(len(cert.Raw)))
	if err != nil {
		t.Fatal(err)
	}
	defer windows.CertFreeCertificateContext(ctx)
	if container != "" {
		info := struct { // CRYPT_KEY_PROV_INFO
			container, provider       unsafe.Pointer
			providerType, flags, many uint32
			params                    uintptr
			spec                      uint32
		}{container: utf16(t, container), provider: utf16(t, softwareProvider)}
		if r, _, err := setCertificateProperty.Call(uintptr(unsafe.Pointer(ctx)), keyProvInfo, 0, uintptr(unsafe.Pointer(&info))); r == 0 {
			t.Fatal(err)
		}
	}
	store := openMY(t)
	err = windows.CertAddCertificateContextToStore(store, ctx, windows.CERT_STORE_ADD_REPLACE_EXISTING, nil)
	// Some systems write a store only when it is closed.
	if err := errors.Join(err, windows.CertCloseStore(store, 0)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		store := openMY(t)
		defer windows.CertCloseStore(store, 0)
		if err := windows.CertDeleteCertificateFromStore(findIn(t, store, cert)); err != nil { // frees it too
			t.Error(err)
		}
	})
	hash := sha1.Sum(cert.Raw)
	return `CurrentUser\MY\` + hex.EncodeToString(hash[:])
}

func openMY(t testing.TB) windows.Handle {
	t.Helper()
	store, err := windows.CertOpenStore(windows.CERT_STORE_PROV_SYSTEM_W, 0, 0, windows.CERT_SYSTEM_STORE_CURRENT_USER, uintptr(utf16(t, "MY")))
	if err != nil {
		t.Fatal(err)
	}
	return store
}

func findIn(t testing.TB, store windows.Handle, cert *x509.Certificate) *windows.CertContext {
	t.Helper()
	hash := sha1.Sum(cert.Raw)
	ctx, err := windows.CertFindCertificateInStore(store, windows.X509_ASN_ENCODING, 0, windows.CERT_FIND_SHA1_HASH,
		unsafe.Pointer(&windows.CryptHashBlob{Size: uint32(len(hash)), Data: &hash[0]}), nil)
	if err != nil {
		t.Fatal(err)
	}
	return ctx
}

// onWine reports whether this is Wine, whose software provider has RSA keys
// only and whose stores do not lead to them.
func onWine() bool {
	return windows.NewLazySystemDLL("ntdll.dll").NewProc("wine_get_version").Find() == nil
}

func algorithms() []string {
	if onWine() {
		return []string{"RSA"}
	}
	return []string{"RSA", "ECDSA_P256", "ECDSA_P384", "ECDSA_P521"}
}

// Keys of the provider, certificates in the store, handshakes with both.
func TestOpen_endToEnd(t *testing.T) {
	for _, algorithm := range algorithms() {
		t.Run(algorithm, func(t *testing.T) {
			container := "certstore test " + algorithm
			handle, pub := newKey(t, algorithm, container)
			cert := selfSignedCert(t, &signer{pub: pub, key: &ncryptKey{handle: handle}})
			path := install(t, cert, container)
			id, err := Open(path)
			if onWine() {
				if !errors.Is(err, ErrNoKey) {
					t.Errorf("got %v", err)
				}
				// The rest of the way is the same.
				p, perr := ParsePath(path)
				if perr != nil {
					t.Fatal(perr)
				}
				id, err = newIdentity(p, &entry{chain: []*x509.Certificate{cert}, key: &ncryptKey{handle: handle}})
			}
			if err != nil {
				t.Fatal(err)
			}
			defer id.Close()
			for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
				if got, err := handshake(t, id, version); err != nil || got != version {
					t.Errorf("%s, %v", tls.VersionName(got), err)
				}
			}
		})
	}
}

func TestSigner_keysOfTheProvider(t *testing.T) {
	for _, algorithm := range algorithms() {
		t.Run(algorithm, func(t *testing.T) {
			for _, hash := range []crypto.Hash{crypto.SHA256, crypto.SHA384, crypto.SHA512} {
				// Wine ties a key to the hash of its first PSS signature.
				handle, pub := newKey(t, algorithm, "")
				s := &signer{pub: pub, key: &ncryptKey{handle: handle}}
				h := hash.New()
				h.Write([]byte("message"))
				digest := h.Sum(nil)
				sig, err := s.Sign(nil, digest, hash)
				if err != nil {
					t.Fatal(err)
				}
				switch pub := pub.(type) {
				case *ecdsa.PublicKey:
					if !ecdsa.VerifyASN1(pub, digest, sig) {
						t.Errorf("%v: wrong signature", hash)
					}
				case *rsa.PublicKey:
					if err := rsa.VerifyPKCS1v15(pub, hash, digest, sig); err != nil {
						t.Errorf("%v: %v", hash, err)
					}
					opts := &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: hash}
					if sig, err = s.Sign(nil, digest, opts); err == nil {
						err = rsa.VerifyPSS(pub, hash, digest, sig, opts)
					}
					if err != nil {
						t.Errorf("%v with PSS: %v", hash, err)
					}
				}
			}
		})
	}
}

func TestOpen_withoutKey(t *testing.T) {
	path := install(t, selfSignedCert(t, ecKey(t, elliptic.P256())), "")
	_, err := Open(path)
	if !errors.Is(err, ErrNoKey) || !strings.Contains(err.Error(), "import the certificate") {
		t.Errorf("got %v", err)
	}
}

func TestOpen_noSuchStore(t *testing.T) {
	_, err := Open(`CurrentUser\no such store\` + thumbprint)
	if err == nil || !strings.Contains(err.Error(), "normally MY") {
		t.Errorf("got %v", err)
	}
}

// Intermediate CAs are taken from the stores, the root is left out.
func TestFind_chain(t *testing.T) {
	keys := []*ecdsa.PrivateKey{ecKey(t, elliptic.P256()), ecKey(t, elliptic.P256()), ecKey(t, elliptic.P256())}
	var certs []*x509.Certificate // root, intermediate, device
	for i, name := range []string{"root", "intermediate", "device"} {
		template := &x509.Certificate{
			SerialNumber: big.NewInt(int64(i + 1)), Subject: pkix.Name{CommonName: "certstore test " + name},
			NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: i < 2, BasicConstraintsValid: true,
		}
		parent, parentKey := template, keys[i]
		if i > 0 {
			parent, parentKey = certs[i-1], keys[i-1]
		}
		der, err := x509.CreateCertificate(rand.Reader, template, parent, keys[i].Public(), parentKey)
		if err != nil {
			t.Fatal(err)
		}
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		certs = append(certs, cert)
		install(t, cert, "")
	}
	store := openMY(t)
	defer windows.CertCloseStore(store, 0)
	ctx := findIn(t, store, certs[2])
	defer windows.CertFreeCertificateContext(ctx)
	got, err := chain(store, ctx)
	if err != nil || len(got) != 2 || !got[0].Equal(certs[2]) || !got[1].Equal(certs[1]) {
		t.Errorf("%d certificates, %v", len(got), err)
	}
}
