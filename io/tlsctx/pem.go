// SPDX-License-Identifier: Apache-2.0

package tlsctx

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"strings"
)

// The types of PEM blocks that are told apart.
const (
	blockCertificate        = "CERTIFICATE"
	blockTrustedCertificate = "TRUSTED CERTIFICATE"
	blockX509Certificate    = "X509 CERTIFICATE"
	blockRequest            = "CERTIFICATE REQUEST"
	blockPKCS7              = "PKCS7"
	blockPKCS8              = "PRIVATE KEY"
	blockEncrypted          = "ENCRYPTED PRIVATE KEY"
	blockOpenSSH            = "OPENSSH PRIVATE KEY"
)

// ParseCertificates returns the certificates of PEM text, in the order in which they appear; the certificate of the
// client itself comes first. Text around the blocks and blocks of other kinds are passed over. The object names the
// source in errors, which are of type [*Error]. There is at least one certificate when the error is nil.
func ParseCertificates(object string, text []byte) ([]*x509.Certificate, error) {
	blocks := pemBlocks(text)
	var certs []*x509.Certificate
	for _, b := range blocks {
		if b.Type != blockCertificate && b.Type != blockX509Certificate {
			continue
		}
		cert, err := x509.ParseCertificate(b.Bytes)
		if err != nil {
			return nil, &Error{Object: object, Err: fmt.Errorf("certificate %d: %w", len(certs)+1, err),
				Hint: "the block is damaged or not an X.509 certificate"}
		}
		certs = append(certs, cert)
	}
	if len(certs) > 0 {
		return certs, nil
	}
	if err := notPEM(object, text, blocks); err != nil {
		return nil, err
	}
	e := &Error{Object: object, Err: ErrNoCertificate}
	switch {
	case hasBlock(blocks, isKeyBlock):
		e.Hint = "it holds a private key: certificate and key may be swapped"
	case hasBlock(blocks, is(blockRequest, "NEW "+blockRequest)):
		e.Hint = "it holds a signing request (CSR): use the certificate that was issued for it"
	case hasBlock(blocks, is(blockPKCS7, "CMS")):
		e.Hint = "it holds a PKCS#7 container: convert it with openssl pkcs7 -print_certs -in FILE -out cert.pem"
	case hasBlock(blocks, is(blockTrustedCertificate)):
		e.Hint = "it holds a trusted certificate of OpenSSL: convert it with openssl x509 -in FILE -out cert.pem"
	case hasBlock(blocks, isPublicBlock):
		e.Hint = "it holds a public key: use the certificate file"
	default:
		e.Hint = "a block that begins with -----BEGIN CERTIFICATE----- is expected"
	}
	return nil, e
}

// ParsePrivateKey returns the first private key of PEM text, in PKCS#8, PKCS#1 or SEC1 form. Text around the block and
// blocks of other kinds are passed over. The object names the source in errors, which are of type [*Error] and never
// contain any part of the text.
func ParsePrivateKey(object string, text []byte) (crypto.Signer, error) {
	blocks := pemBlocks(text)
	for _, b := range blocks {
		if isKeyBlock(b) {
			return parseKeyBlock(object, b)
		}
	}
	if err := notPEM(object, text, blocks); err != nil {
		return nil, err
	}
	e := &Error{Object: object, Err: ErrNoKey}
	switch {
	case hasBlock(blocks, isPublicBlock):
		e.Hint = "it holds the public key: use the private key that was made together with it"
	case hasBlock(blocks, is(blockCertificate, blockX509Certificate)):
		e.Hint = "it holds a certificate: certificate and key may be swapped"
	default:
		e.Hint = "a block that begins with -----BEGIN PRIVATE KEY----- (or RSA or EC PRIVATE KEY) is expected"
	}
	return nil, e
}

func parseKeyBlock(object string, b *pem.Block) (crypto.Signer, error) {
	if b.Type == blockEncrypted || b.Headers["DEK-Info"] != "" || strings.Contains(b.Headers["Proc-Type"], "ENCRYPTED") {
		return nil, &Error{Object: object, Err: ErrEncryptedKey,
			Hint: "remove the passphrase with openssl pkey -in FILE -out plain.pem, or keep the key in a PKCS#12 bundle or in hardware"}
	}
	if b.Type == blockOpenSSH {
		return nil, &Error{Object: object, Err: fmt.Errorf("%w: it is in OpenSSH form", ErrUnsupportedKey),
			Hint: "convert it with ssh-keygen -p -m PKCS8 -f FILE"}
	}
	key, err := parseKeyDER(b.Bytes)
	if err != nil {
		return nil, &Error{Object: object, Err: fmt.Errorf("%w: %s block: %w", ErrUnsupportedKey, b.Type, err),
			Hint: "RSA, ECDSA (P-256, P-384, P-521) and Ed25519 keys in PKCS#8, PKCS#1 or SEC1 form are supported"}
	}
	signer, err := checkKey(key)
	if err != nil {
		return nil, &Error{Object: object, Err: err}
	}
	return signer, nil
}

// parseKeyDER ignores the label of the block, as some programs write the wrong one.
func parseKeyDER(der []byte) (any, error) {
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err == nil {
		return key, nil
	}
	if key, err := x509.ParsePKCS1PrivateKey(der); err == nil {
		return key, nil
	}
	if key, err := x509.ParseECPrivateKey(der); err == nil {
		return key, nil
	}
	return nil, err
}

// checkKey accepts the keys that TLS 1.2 and 1.3 can sign with.
func checkKey(key any) (crypto.Signer, error) {
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("%w: %T cannot sign", ErrUnsupportedKey, key)
	}
	return signer, checkPublicKey(signer.Public())
}

func checkPublicKey(pub crypto.PublicKey) error {
	switch pub := pub.(type) {
	case *rsa.PublicKey, ed25519.PublicKey:
		return nil
	case *ecdsa.PublicKey:
		switch pub.Curve {
		case elliptic.P256(), elliptic.P384(), elliptic.P521():
			return nil
		}
		return fmt.Errorf("%w: the curve is not P-256, P-384 or P-521", ErrUnsupportedKey)
	case nil:
		return fmt.Errorf("%w: the signer has no public key", ErrUnsupportedKey)
	}
	return fmt.Errorf("%w: public key of type %T", ErrUnsupportedKey, pub)
}

// pemBlocks returns all blocks of a text.
func pemBlocks(text []byte) []*pem.Block {
	// A byte order mark, as editors on Windows write it, would hide the first line from the decoder.
	text = bytes.TrimPrefix(text, []byte("\xef\xbb\xbf"))
	var blocks []*pem.Block
	for {
		var b *pem.Block
		if b, text = pem.Decode(text); b == nil {
			return blocks
		}
		blocks = append(blocks, b)
	}
}

// notPEM explains a text in which no block was found. It returns nil if there are blocks.
func notPEM(object string, text []byte, blocks []*pem.Block) error {
	if len(blocks) > 0 {
		return nil
	}
	e := &Error{Object: object, Err: ErrNotPEM}
	switch {
	case len(bytes.TrimSpace(text)) == 0:
		e.Err = fmt.Errorf("%w: it is empty", ErrNotPEM)
	case bytes.HasPrefix(text, []byte("\xff\xfe")) || bytes.HasPrefix(text, []byte("\xfe\xff")):
		e.Hint = "it is UTF-16 text: save it as plain ASCII or UTF-8"
	case bytes.Contains(text, []byte(`\n`)) && bytes.Contains(text, []byte("-----BEGIN ")):
		e.Hint = `it holds a backslash and the letter n where line breaks belong: replace them by real line breaks`
	case bytes.Contains(text, []byte("-----BEGIN ")):
		e.Hint = "the block is damaged: its BEGIN and END lines must stand alone on their lines and carry the same name, with base64 between them"
	case isDER(text):
		e.Hint, e.Err = explainDER(text)
	default:
		e.Hint = "a text with a block that begins with -----BEGIN is expected"
	}
	return e
}

// isDER tells whether data begins like an ASN.1 sequence that fills it, or one of indefinite length.
func isDER(data []byte) bool {
	return len(data) > 2 && data[0] == 0x30 && (data[1] >= 0x80 || len(data) == 2+int(data[1]))
}

// explainDER tells what a file in binary form holds, and how to convert it.
func explainDER(der []byte) (hint string, err error) {
	if _, err := x509.ParseCertificates(der); err == nil {
		return "convert it with openssl x509 -inform der -in FILE -out cert.pem", fmt.Errorf("%w: it is a certificate in DER form", ErrNotPEM)
	}
	if _, err := parseKeyDER(der); err == nil {
		return "convert it with openssl pkey -inform der -in FILE -out key.pem", fmt.Errorf("%w: it is a private key in DER form", ErrNotPEM)
	}
	if isPKCS12(der) {
		return "use FromPKCS12", fmt.Errorf("%w: it is a PKCS#12 bundle", ErrNotPEM)
	}
	return "convert it to PEM with openssl", fmt.Errorf("%w: it is in DER or another binary form", ErrNotPEM)
}

// isPKCS12 looks for the version number 3 at the head of the outer sequence.
func isPKCS12(der []byte) bool {
	head := der[:min(len(der), 12)]
	return bytes.Contains(head, []byte{0x02, 0x01, 0x03, 0x30})
}

func hasBlock(blocks []*pem.Block, match func(*pem.Block) bool) bool {
	for _, b := range blocks {
		if match(b) {
			return true
		}
	}
	return false
}

func is(types ...string) func(*pem.Block) bool {
	return func(b *pem.Block) bool {
		for _, t := range types {
			if b.Type == t {
				return true
			}
		}
		return false
	}
}

func isKeyBlock(b *pem.Block) bool { return strings.HasSuffix(b.Type, blockPKCS8) }

func isPublicBlock(b *pem.Block) bool { return strings.HasSuffix(b.Type, "PUBLIC KEY") }
