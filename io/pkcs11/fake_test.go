// SPDX-License-Identifier: Apache-2.0

package pkcs11

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"encoding/binary"
	"math/big"
	"slices"
	"sync"
	"testing"
)

// fake is a PKCS#11 library in memory, for what a good one does not do on demand.
type fake struct {
	mu           sync.Mutex
	initialized  bool
	major, minor byte
	onInitialize func(flags uint) error
	onLogin      func(user uint, pin string) error
	onOpen       func() error
	onSign       func() error
	onFind       func() error
	calls        map[string]int
	maxAtOnce    int
	atOnce       int
	tokens       []*fakeToken
	nextHandle   uint
	sessions     map[uint]*fakeSession
	blockSign    chan struct{}
	blockSlots   chan struct{}
	signing      chan struct{}
}

type fakeToken struct {
	info        TokenInfo
	pin         string
	loggedIn    bool
	maxSessions int
	mechanisms  []uint
	objects     []*fakeObject
	base        uint
}

type fakeObject struct {
	attributes map[uint][]byte
	private    bool
	key        crypto.Signer
	always     bool
	// der is set for tokens that return ECDSA signatures as sequences.
	der bool
}

type fakeSession struct {
	token         *fakeToken
	signing       *fakeObject
	mechanism     mechanism
	authenticated bool
}

func ulong(v uint) []byte {
	return binary.NativeEndian.AppendUint64(nil, uint64(v))
}

func newFake(tokens ...*fakeToken) *fake {
	return &fake{major: 2, minor: 40, tokens: tokens, sessions: map[uint]*fakeSession{}, calls: map[string]int{}}
}

// fakePIN opens fake tokens.
const fakePIN = "271828"

func newFakeToken(slot uint, label string, objects ...*fakeObject) *fakeToken {
	return &fakeToken{
		info: TokenInfo{SlotID: slot, Label: label, Serial: "0815-" + label, Manufacturer: "Test", Model: "Fake",
			flags: flagInitialized | flagLoginRequired | flagPINInitialized},
		pin:        fakePIN,
		mechanisms: []uint{mechRSAPKCS1, mechRSAPSS, mechRSARaw, mechECDSA},
		objects:    objects,
	}
}

// fakeKey returns the private and the public object of a key.
func fakeKey(label string, id byte, key crypto.Signer) []*fakeObject {
	private := map[uint][]byte{attrClass: ulong(classPrivateKey), attrLabel: []byte(label), attrID: {id}}
	public := map[uint][]byte{attrClass: ulong(classPublicKey), attrLabel: []byte(label), attrID: {id}}
	switch k := key.Public().(type) {
	case *rsa.PublicKey:
		private[attrKeyType] = ulong(keyRSA)
		private[attrModulus] = k.N.Bytes()
		private[attrPublicExponent] = big.NewInt(int64(k.E)).Bytes()
	case *ecdsa.PublicKey:
		private[attrKeyType] = ulong(keyEC)
		for _, c := range curves {
			if c.curve == k.Curve {
				private[attrECParams], _ = asn1.Marshal(c.oid)
			}
		}
		raw, err := k.Bytes()
		if err != nil {
			panic(err)
		}
		public[attrECPoint], _ = asn1.Marshal(raw)
	}
	return []*fakeObject{{attributes: private, private: true, key: key}, {attributes: public}}
}

func fakeCertificate(label string, cert *x509.Certificate) *fakeObject {
	return &fakeObject{attributes: map[uint][]byte{
		attrClass: ulong(classCertificate), attrCertificateType: ulong(certificateX509), attrLabel: []byte(label), attrValue: cert.Raw,
	}}
}

// enter counts a call and checks that the library may be called.
func (f *fake) enter(name string) error {
	f.mu.Lock()
	f.calls[name]++
	f.atOnce++
	f.maxAtOnce = max(f.maxAtOnce, f.atOnce)
	if !f.initialized && name != "Initialize" {
		return rvCryptokiNotInitialized
	}
	return nil
}

func (f *fake) leave() {
	f.atOnce--
	f.mu.Unlock()
}

func (f *fake) count(name string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls[name]
}

func (f *fake) openSessions() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.sessions)
}

// edit changes the fake while it is in use.
func (f *fake) edit(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

// dropSessions closes all sessions of a token, which logs it out.
func (f *fake) dropSessions(t *fakeToken) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for h, s := range f.sessions {
		if s.token == t {
			delete(f.sessions, h)
		}
	}
	t.logout()
}

// logout also changes the handles of all private objects.
func (t *fakeToken) logout() {
	t.loggedIn = false
	t.base += 100
}

// finalizeBehind is C_Finalize by somebody else.
func (f *fake) finalizeBehind() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.finalize()
}

func (f *fake) finalize() {
	f.initialized = false
	clear(f.sessions)
	// Handles are used again, by the next session.
	f.nextHandle = 0
	for _, t := range f.tokens {
		t.logout()
	}
}

func (f *fake) Initialize(flags uint) error {
	defer f.leave()
	_ = f.enter("Initialize")
	if f.onInitialize != nil {
		if err := f.onInitialize(flags); err != nil {
			return err
		}
	}
	if f.initialized {
		return rvCryptokiAlreadyInitialized
	}
	f.initialized = true
	return nil
}

func (f *fake) Finalize() error {
	defer f.leave()
	if err := f.enter("Finalize"); err != nil {
		return err
	}
	f.finalize()
	return nil
}

func (f *fake) Version() (major, minor byte, err error) {
	defer f.leave()
	err = f.enter("Version")
	return f.major, f.minor, err
}

func (f *fake) Slots() (slots []uint, err error) {
	err = f.enter("Slots")
	block := f.blockSlots
	f.leave()
	if err != nil {
		return nil, err
	}
	if block != nil {
		<-block
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, t := range f.tokens {
		slots = append(slots, t.info.SlotID)
	}
	return slots, nil
}

func (f *fake) find(slot uint) *fakeToken {
	for _, t := range f.tokens {
		if t.info.SlotID == slot {
			return t
		}
	}
	return nil
}

func (f *fake) Token(slot uint) (TokenInfo, error) {
	defer f.leave()
	if err := f.enter("Token"); err != nil {
		return TokenInfo{}, err
	}
	t := f.find(slot)
	if t == nil {
		return TokenInfo{}, rvSlotIDInvalid
	}
	return t.info, nil
}

func (f *fake) CanSign(slot, mechanism uint) (bool, error) {
	defer f.leave()
	if err := f.enter("CanSign"); err != nil {
		return false, err
	}
	t := f.find(slot)
	if t == nil {
		return false, rvSlotIDInvalid
	}
	if !slices.Contains(t.mechanisms, mechanism) {
		return false, rvMechanismInvalid
	}
	return true, nil
}

func (f *fake) OpenSession(slot uint) (uint, error) {
	defer f.leave()
	if err := f.enter("OpenSession"); err != nil {
		return 0, err
	}
	t := f.find(slot)
	if t == nil {
		return 0, rvSlotIDInvalid
	}
	if f.onOpen != nil {
		if err := f.onOpen(); err != nil {
			return 0, err
		}
	}
	if t.maxSessions > 0 && len(f.sessions) >= t.maxSessions {
		return 0, rvSessionCount
	}
	f.nextHandle++
	f.sessions[f.nextHandle] = &fakeSession{token: t}
	return f.nextHandle, nil
}

// session returns a session whose token is still there.
func (f *fake) session(handle uint) (*fakeSession, error) {
	s := f.sessions[handle]
	if s == nil {
		return nil, rvSessionHandleInvalid
	}
	if !slices.Contains(f.tokens, s.token) {
		return nil, rvDeviceRemoved
	}
	return s, nil
}

func (f *fake) CloseSession(handle uint) error {
	defer f.leave()
	if err := f.enter("CloseSession"); err != nil {
		return err
	}
	s := f.sessions[handle]
	if s == nil {
		return rvSessionHandleInvalid
	}
	delete(f.sessions, handle)
	for _, other := range f.sessions {
		if other.token == s.token {
			return nil
		}
	}
	s.token.logout()
	return nil
}

func (f *fake) SessionState(handle uint) (uint, error) {
	defer f.leave()
	if err := f.enter("SessionState"); err != nil {
		return 0, err
	}
	s, err := f.session(handle)
	if err != nil {
		return 0, err
	}
	if s.token.loggedIn {
		return 1, nil
	}
	return statePublicRO, nil
}

func (f *fake) Login(handle, user uint, pin string) error {
	defer f.leave()
	if err := f.enter("Login"); err != nil {
		return err
	}
	s, err := f.session(handle)
	if err != nil {
		return err
	}
	if f.onLogin != nil {
		if err := f.onLogin(user, pin); err != nil {
			return err
		}
	}
	switch {
	case user == userNormal && s.token.loggedIn:
		return rvUserAlreadyLoggedIn
	case s.token.info.PINLocked():
		return rvPINLocked
	case pin != s.token.pin && !(pin == "" && s.token.info.ProtectedAuthenticationPath()):
		return rvPINIncorrect
	case user == userContextSpecific:
		if s.signing == nil {
			return rvOperationNotInitialized
		}
		s.authenticated = true
		return nil
	}
	s.token.loggedIn = true
	return nil
}

func (f *fake) Find(handle uint, template []attribute) (found []uint, err error) {
	defer f.leave()
	if err := f.enter("Find"); err != nil {
		return nil, err
	}
	s, err := f.session(handle)
	if err != nil {
		return nil, err
	}
	if f.onFind != nil {
		if err := f.onFind(); err != nil {
			return nil, err
		}
	}
	for i, o := range s.token.objects {
		if o.private && !s.token.loggedIn && s.token.info.flags&flagLoginRequired != 0 {
			continue
		}
		matches := true
		for _, a := range template {
			var want []byte
			switch v := a.value.(type) {
			case uint:
				want = ulong(v)
			case string:
				want = []byte(v)
			case []byte:
				want = v
			}
			matches = matches && bytes.Equal(want, o.attributes[a.kind])
		}
		if matches {
			found = append(found, s.token.base+uint(i)+1)
		}
	}
	return found, nil
}

func (f *fake) object(s *fakeSession, handle uint) *fakeObject {
	i := int(handle) - int(s.token.base) - 1
	if i < 0 || i >= len(s.token.objects) {
		return nil
	}
	return s.token.objects[i]
}

func (f *fake) Attribute(handle, object, kind uint) ([]byte, error) {
	defer f.leave()
	if err := f.enter("Attribute"); err != nil {
		return nil, err
	}
	s, err := f.session(handle)
	if err != nil {
		return nil, err
	}
	o := f.object(s, object)
	if o == nil {
		return nil, rvObjectHandleInvalid
	}
	if kind == attrAlwaysAuthenticate && o.always {
		return []byte{1}, nil
	}
	v, ok := o.attributes[kind]
	if !ok {
		return nil, rvAttributeTypeInvalid
	}
	return v, nil
}

func (f *fake) SignInit(handle uint, m mechanism, key uint) error {
	defer f.leave()
	if err := f.enter("SignInit"); err != nil {
		return err
	}
	s, err := f.session(handle)
	if err != nil {
		return err
	}
	o := f.object(s, key)
	switch {
	case o == nil || o.key == nil:
		return rvKeyHandleInvalid
	case !s.token.loggedIn && s.token.info.flags&flagLoginRequired != 0:
		return rvUserNotLoggedIn
	case !slices.Contains(s.token.mechanisms, m.kind):
		return rvMechanismInvalid
	case s.signing != nil:
		return rvOperationActive
	}
	s.signing, s.mechanism, s.authenticated = o, m, false
	return nil
}

func (f *fake) Sign(handle uint, data []byte) ([]byte, error) {
	err := f.enter("Sign")
	block, signing := f.blockSign, f.signing
	f.leave()
	if err != nil {
		return nil, err
	}
	if signing != nil {
		signing <- struct{}{}
	}
	if block != nil {
		<-block
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	s, err := f.session(handle)
	if err != nil {
		return nil, err
	}
	o, m := s.signing, s.mechanism
	if o == nil {
		return nil, rvOperationNotInitialized
	}
	if f.onSign != nil {
		if err := f.onSign(); err != nil {
			return nil, err
		}
	}
	s.signing = nil
	if o.always && !s.authenticated {
		return nil, rvUserNotLoggedIn
	}
	switch key := o.key.(type) {
	case *ecdsa.PrivateKey:
		der, err := key.Sign(rand.Reader, data, crypto.Hash(0))
		if err != nil || o.der {
			return der, err
		}
		var p struct{ R, S *big.Int }
		if _, err := asn1.Unmarshal(der, &p); err != nil {
			return nil, err
		}
		size := (key.Curve.Params().N.BitLen() + 7) / 8
		return append(p.R.FillBytes(make([]byte, size)), p.S.FillBytes(make([]byte, size))...), nil
	case *rsa.PrivateKey:
		switch m.kind {
		case mechRSAPKCS1:
			return rsa.SignPKCS1v15(nil, key, 0, data)
		case mechRSARaw:
			if len(data) != key.Size() {
				return nil, ReturnCode(0x21)
			}
			return new(big.Int).Exp(new(big.Int).SetBytes(data), key.D, key.N).Bytes(), nil
		case mechRSAPSS:
			for hash, p := range pssHashes {
				if p.hash == m.pss.hash {
					return rsa.SignPSS(rand.Reader, key, hash, data, &rsa.PSSOptions{SaltLength: int(m.pss.salt)})
				}
			}
			return nil, rvMechanismParamInvalid
		}
	}
	return nil, rvMechanismInvalid
}

// library opens the fake in a registry of its own.
func (f *fake) library(t testing.TB, behavior InitBehavior) *Library {
	t.Helper()
	lib, err := f.registry().library("/fake/library.so", behavior)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = lib.Close() })
	return lib
}

func (f *fake) registry() *registry {
	return &registry{load: func(string) (cryptoki, error) { return f, nil }}
}

// token opens a token of the fake, and checks at the end that it leaves no
// session behind.
func (f *fake) token(t testing.TB, o TokenOptions) *Token {
	t.Helper()
	if o.PIN == "" && o.PINFunc == nil {
		o.PIN = fakePIN
	}
	tok, err := f.library(t, InitDefault).Token(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = tok.Close()
		if s := tok.Stats(); s.Open != 0 || s.InUse != 0 || s.Waiting != 0 {
			t.Errorf("after Close: %+v", s)
		}
		if n := f.openSessions(); n != 0 {
			t.Errorf("%d sessions are still open", n)
		}
	})
	return tok
}

func mustKey(t testing.TB, tok *Token, o KeyOptions) *Key {
	t.Helper()
	k, err := tok.Key(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	return k
}
