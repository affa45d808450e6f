// SPDX-License-Identifier: Apache-2.0

package pkcs11

// cryptoki is what this package uses of a loaded PKCS#11 library. Everything
// that needs cgo is behind it, so that the exported API is the same with and
// without. Errors are of type ReturnCode.
type cryptoki interface {
	Initialize(flags uint) error
	Finalize() error
	// Version returns the version of the standard that the library speaks.
	Version() (major, minor byte, err error)
	// Slots returns the slots that have a token.
	Slots() ([]uint, error)
	Token(slot uint) (TokenInfo, error)
	// CanSign reports whether the token signs with the mechanism.
	CanSign(slot, mechanism uint) (bool, error)
	OpenSession(slot uint) (uint, error)
	CloseSession(session uint) error
	// SessionState returns CKS_*.
	SessionState(session uint) (uint, error)
	Login(session, user uint, pin string) error
	Find(session uint, template []attribute) ([]uint, error)
	// Attribute returns the value of one attribute of an object.
	Attribute(session, object, attribute uint) ([]byte, error)
	SignInit(session uint, m mechanism, key uint) error
	Sign(session uint, data []byte) ([]byte, error)
}

// attribute is a condition on an object. The value is a bool, a uint, a string
// or a []byte.
type attribute struct {
	kind  uint
	value any
}

// mechanism is a way to sign.
type mechanism struct {
	kind uint
	// pss is there for CKM_RSA_PKCS_PSS.
	pss *pssParameters
}

type pssParameters struct{ hash, mgf, salt uint }

// Constants of the standard: PKCS #11 v2.40, header files.
const (
	flagOSLocking = 0x2 // CKF_OS_LOCKING_OK

	// Token flags, CKF_*.
	flagLoginRequired  = 0x00000004
	flagProtectedPath  = 0x00000100
	flagInitialized    = 0x00000400
	flagPINInitialized = 0x00000008
	flagPINCountLow    = 0x00010000
	flagPINFinalTry    = 0x00020000
	flagPINLocked      = 0x00040000

	userNormal          = 1 // CKU_USER
	userContextSpecific = 2 // CKU_CONTEXT_SPECIFIC

	statePublicRO = 0 // CKS_RO_PUBLIC_SESSION
	statePublicRW = 2 // CKS_RW_PUBLIC_SESSION

	classCertificate = 1 // CKO_CERTIFICATE
	classPublicKey   = 2
	classPrivateKey  = 3

	certificateX509 = 0 // CKC_X_509

	keyRSA = 0 // CKK_RSA
	keyEC  = 3 // CKK_EC

	attrClass              = 0x000 // CKA_*
	attrLabel              = 0x003
	attrValue              = 0x011
	attrCertificateType    = 0x080
	attrKeyType            = 0x100
	attrID                 = 0x102
	attrModulus            = 0x120
	attrPublicExponent     = 0x122
	attrECParams           = 0x180
	attrECPoint            = 0x181
	attrAlwaysAuthenticate = 0x202

	mechRSAPKCS1 = 0x0001 // CKM_RSA_PKCS
	mechRSARaw   = 0x0003 // CKM_RSA_X_509
	mechRSAPSS   = 0x000D // CKM_RSA_PKCS_PSS
	mechECDSA    = 0x1041 // CKM_ECDSA

	hashSHA1   = 0x220 // CKM_SHA_1
	hashSHA256 = 0x250
	hashSHA384 = 0x260
	hashSHA512 = 0x270

	mgfSHA1   = 1 // CKG_MGF1_SHA1
	mgfSHA256 = 2
	mgfSHA384 = 3
	mgfSHA512 = 4
)
