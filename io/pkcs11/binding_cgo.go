// SPDX-License-Identifier: Apache-2.0

//go:build cgo

package pkcs11

import (
	"errors"
	"strings"

	binding "github.com/miekg/pkcs11"
)

// load opens a PKCS#11 library.
func load(path string) (cryptoki, error) {
	ctx := binding.New(path)
	if ctx == nil {
		return nil, ErrLibraryLoad
	}
	return loaded{ctx}, nil
}

// loaded is a library behind the cgo binding.
type loaded struct{ ctx *binding.Ctx }

// code turns errors of the binding into ours.
func code(err error) error {
	var e binding.Error
	if errors.As(err, &e) {
		return ReturnCode(e)
	}
	return err
}

func (l loaded) Initialize(flags uint) error {
	return code(l.ctx.Initialize(binding.InitializeWithFlags(flags)))
}

func (l loaded) Finalize() error { return code(l.ctx.Finalize()) }

func (l loaded) Version() (major, minor byte, err error) {
	info, err := l.ctx.GetInfo()
	return info.CryptokiVersion.Major, info.CryptokiVersion.Minor, code(err)
}

func (l loaded) Slots() ([]uint, error) {
	slots, err := l.ctx.GetSlotList(true)
	return slots, code(err)
}

func (l loaded) Token(slot uint) (TokenInfo, error) {
	info, err := l.ctx.GetTokenInfo(slot)
	return TokenInfo{
		SlotID:       slot,
		Label:        unpad(info.Label),
		Serial:       unpad(info.SerialNumber),
		Manufacturer: unpad(info.ManufacturerID),
		Model:        unpad(info.Model),
		flags:        info.Flags,
	}, code(err)
}

// unpad removes the padding of fixed-size text: blanks by the standard, zero
// bytes in practice.
func unpad(s string) string { return strings.TrimRight(s, " \x00") }

func (l loaded) CanSign(slot, mechanism uint) (bool, error) {
	info, err := l.ctx.GetMechanismInfo(slot, []*binding.Mechanism{binding.NewMechanism(mechanism, nil)})
	if err != nil {
		return false, code(err)
	}
	return info.Flags&binding.CKF_SIGN != 0, nil
}

func (l loaded) OpenSession(slot uint) (uint, error) {
	s, err := l.ctx.OpenSession(slot, binding.CKF_SERIAL_SESSION)
	return uint(s), code(err)
}

func (l loaded) CloseSession(session uint) error {
	return code(l.ctx.CloseSession(binding.SessionHandle(session)))
}

func (l loaded) SessionState(session uint) (uint, error) {
	info, err := l.ctx.GetSessionInfo(binding.SessionHandle(session))
	return info.State, code(err)
}

func (l loaded) Login(session, user uint, pin string) error {
	return code(l.ctx.Login(binding.SessionHandle(session), user, pin))
}

func (l loaded) Find(session uint, template []attribute) (_ []uint, err error) {
	attributes := make([]*binding.Attribute, len(template))
	for i, a := range template {
		attributes[i] = binding.NewAttribute(a.kind, a.value)
	}
	s := binding.SessionHandle(session)
	if err := l.ctx.FindObjectsInit(s, attributes); err != nil {
		return nil, code(err)
	}
	defer func() {
		if e := l.ctx.FindObjectsFinal(s); err == nil {
			err = code(e)
		}
	}()
	const atOnce = 64
	var objects []uint
	for {
		found, _, err := l.ctx.FindObjects(s, atOnce)
		if err != nil {
			return nil, code(err)
		}
		if len(found) == 0 {
			return objects, nil
		}
		for _, o := range found {
			objects = append(objects, uint(o))
		}
	}
}

func (l loaded) Attribute(session, object, attribute uint) ([]byte, error) {
	values, err := l.ctx.GetAttributeValue(binding.SessionHandle(session), binding.ObjectHandle(object),
		[]*binding.Attribute{binding.NewAttribute(attribute, nil)})
	if err != nil {
		return nil, code(err)
	}
	return values[0].Value, nil
}

func (l loaded) SignInit(session uint, m mechanism, key uint) error {
	var parameter any
	if m.pss != nil {
		parameter = binding.NewPSSParams(m.pss.hash, m.pss.mgf, m.pss.salt)
	}
	return code(l.ctx.SignInit(binding.SessionHandle(session),
		[]*binding.Mechanism{binding.NewMechanism(m.kind, parameter)}, binding.ObjectHandle(key)))
}

func (l loaded) Sign(session uint, data []byte) ([]byte, error) {
	signature, err := l.ctx.Sign(binding.SessionHandle(session), data)
	return signature, code(err)
}
