// SPDX-License-Identifier: Apache-2.0

package tlsctx

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"fmt"
	"slices"
	"strings"
)

// The types of PEM blocks that are distinguished.
const (
	blockCertificate        = "CERTIFICATE"
	blockTrustedCertificate = "TRUSTED CERTIFICATE"
	blockX509Certificate    = "X509 CERTIFICATE"
	blockRequest            = "CERTIFICATE REQUEST"
	blockPKCS7              = "PKCS7"
	blockCMS                = "CMS"
	blockPKCS8              = "PRIVATE KEY"
	blockEncrypted          = "ENCRYPTED PRIVATE KEY"
	blockOpenSSH            = "OPENSSH PRIVATE KEY"
)

// ParseCertificates returns the certificates of PEM text, in the order in which
// they appear; the certificate of the client itself comes first. Text around
// the blocks and blocks of other kinds are passed over. A block that cannot be
// decoded is an error that names it, of whatever kind it is: nothing is
// dropped. The object names the source in errors, which are of type [*Error].
// There is at least one certificate when the error is nil.
func ParseCertificates(object string, text []byte) ([]*x509.Certificate, error) {
	blocks, err := wholeBlocks(object, text)
	if err != nil {
		return nil, err
	}
	var certs []*x509.Certificate
	for _, b := range blocks {
		switch {
		case isCertificateBlock(b):
			cert, err := x509.ParseCertificate(b.Bytes)
			if err != nil {
				return nil, &Error{Object: object, Err: fmt.Errorf("certificate %d, %s: %w", len(certs)+1, b.where(), err),
					Hint: "the block is damaged or not an X.509 certificate"}
			}
			certs = append(certs, cert)
		case is(blockTrustedCertificate, blockPKCS7, blockCMS)(b) && hasBlock(blocks, isCertificateBlock):
			return nil, &Error{Object: object, Err: fmt.Errorf("%w: %s may hold a part of the chain", ErrUnsupportedBlock, b.where()), Hint: convertHint(b)}
		}
	}
	if len(certs) > 0 {
		return certs, nil
	}
	return nil, noCertificate(object, text, blocks, "it holds a private key: certificate and key may be swapped")
}

// wholeBlocks returns the blocks of a text, or an error if one of them is damaged.
func wholeBlocks(object string, text []byte) ([]pemBlock, error) {
	blocks := pemBlocks(text)
	for _, b := range blocks {
		if b.err != nil {
			return nil, &Error{Object: object, Err: fmt.Errorf("%w: %s: %w", ErrDamagedBlock, b.where(), b.err),
				Hint: "copy the block anew from its source, with its BEGIN and END lines and the base64 between them"}
		}
	}
	return blocks, nil
}

// noCertificate explains a text without any certificate.
func noCertificate(object string, text []byte, blocks []pemBlock, keyHint string) error {
	if err := notPEM(object, text, blocks); err != nil {
		return err
	}
	e := &Error{Object: object, Err: ErrNoCertificate}
	switch {
	case hasBlock(blocks, isKeyBlock):
		e.Hint = keyHint
	case hasBlock(blocks, is(blockRequest, "NEW "+blockRequest)):
		e.Hint = "it holds a signing request (CSR): use the certificate that was issued for it"
	case hasBlock(blocks, is(blockPKCS7, blockCMS, blockTrustedCertificate)):
		for _, b := range blocks {
			if e.Hint == "" {
				e.Hint = convertHint(b)
			}
		}
	case hasBlock(blocks, isPublicBlock):
		e.Hint = "it holds a public key: use the certificate file"
	default:
		e.Hint = "a block that begins with -----BEGIN CERTIFICATE----- is expected"
	}
	return e
}

// convertHint says how to get plain certificates out of a container; "" if the
// block is none.
func convertHint(b pemBlock) string {
	switch b.Type {
	case blockPKCS7, blockCMS:
		return "it holds a PKCS#7 container: convert it with openssl pkcs7 -print_certs -in FILE -out cert.pem"
	case blockTrustedCertificate:
		return "it holds a trusted certificate of OpenSSL: convert it with openssl x509 -in FILE -out cert.pem"
	}
	return ""
}

// ParsePrivateKey returns the private key of PEM text, in PKCS#8, PKCS#1 or
// SEC1 form. Text around the block and blocks of other kinds are passed over;
// two different keys are an error, and so is any block that cannot be decoded.
// The object names the source in errors, which are of type [*Error] and never
// contain any part of the text.
func ParsePrivateKey(object string, text []byte) (crypto.Signer, error) {
	blocks, err := wholeBlocks(object, text)
	if err != nil {
		return nil, err
	}
	var keys []pemBlock
	for _, b := range blocks {
		if isKeyBlock(b) && (len(keys) == 0 || !sameKeyBlock(b, keys[0])) {
			keys = append(keys, b)
		}
	}
	switch {
	case len(keys) == 1:
		return parseKeyBlock(object, keys[0])
	case len(keys) > 1:
		return nil, &Error{Object: object, Err: fmt.Errorf("%w: %s and %s", ErrSeveralKeys, keys[0].where(), keys[1].where()),
			Hint: "leave the key of the certificate alone in the file"}
	}
	if err := notPEM(object, text, blocks); err != nil {
		return nil, err
	}
	e := &Error{Object: object, Err: ErrNoKey}
	switch {
	case hasBlock(blocks, isPublicBlock):
		e.Hint = "it holds the public key: use the private key that was made together with it"
	case hasBlock(blocks, isCertificateBlock):
		e.Hint = "it holds a certificate: certificate and key may be swapped"
	default:
		e.Hint = "a block that begins with -----BEGIN PRIVATE KEY----- (or RSA or EC PRIVATE KEY) is expected"
	}
	return nil, e
}

func parseKeyBlock(object string, b pemBlock) (crypto.Signer, error) {
	if b.Type == blockEncrypted || b.Headers["DEK-Info"] != "" || strings.Contains(b.Headers["Proc-Type"], "ENCRYPTED") {
		return nil, &Error{Object: object, Err: ErrEncryptedKey,
			Hint: "remove the passphrase with openssl pkey -in FILE -out plain.pem, or keep the key in a PKCS#12 bundle or in hardware"}
	}
	if b.Type == blockOpenSSH {
		return nil, &Error{Object: object, Err: fmt.Errorf("%w: it is in OpenSSH form", ErrUnsupportedKey),
			Hint: "convert it with ssh-keygen -p -m PKCS8 -f FILE"}
	}
	key, err := parseKeyDER(b.Bytes)
	if err == errKeySize {
		return nil, &Error{Object: object, Err: fmt.Errorf("%w: %w", ErrUnsupportedKey, err)}
	}
	if err != nil {
		if cause, hint := explainKey(b.Bytes); cause != "" {
			return nil, &Error{Object: object, Err: fmt.Errorf("%w: %s", ErrUnsupportedKey, cause), Hint: hint}
		}
		return nil, &Error{Object: object, Err: fmt.Errorf("%w: %s block: %w", ErrUnsupportedKey, b.Type, err),
			Hint: "RSA, ECDSA (P-256, P-384, P-521) and Ed25519 keys in PKCS#8, PKCS#1 or SEC1 form are supported"}
	}
	signer, err := checkKey(key)
	if err != nil {
		return nil, &Error{Object: object, Err: err}
	}
	return signer, nil
}

// notPEM explains a text in which no block was found. It returns nil if there are blocks.
func notPEM(object string, text []byte, blocks []pemBlock) error {
	if len(blocks) > 0 {
		return nil
	}
	e := &Error{Object: object, Err: ErrNotPEM}
	switch {
	case len(bytes.TrimSpace(text)) == 0:
		e.Err = fmt.Errorf("%w: it is empty", ErrNotPEM)
	case bytes.HasPrefix(text, []byte("\xff\xfe")) || bytes.HasPrefix(text, []byte("\xfe\xff")):
		e.Hint = "it is UTF-16 text: save it as plain ASCII or UTF-8"
	case isDER(text):
		e.Hint, e.Err = explainDER(text)
	default:
		e.Hint = "a text with a block that begins with -----BEGIN is expected"
	}
	return e
}

// isDER reports whether data begins like an ASN.1 sequence that fills it, or
// one of indefinite length.
func isDER(data []byte) bool {
	return len(data) > 2 && data[0] == 0x30 && (data[1] >= 0x80 || len(data) == 2+int(data[1]))
}

// explainDER says what a file in binary form holds, and how to convert it.
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

func hasBlock(blocks []pemBlock, match func(pemBlock) bool) bool {
	return slices.ContainsFunc(blocks, match)
}

func is(types ...string) func(pemBlock) bool {
	return func(b pemBlock) bool { return slices.Contains(types, b.Type) }
}

func isCertificateBlock(b pemBlock) bool {
	return b.Type == blockCertificate || b.Type == blockX509Certificate
}

func isKeyBlock(b pemBlock) bool { return strings.HasSuffix(b.Type, blockPKCS8) }

func isPublicBlock(b pemBlock) bool { return strings.HasSuffix(b.Type, "PUBLIC KEY") }
