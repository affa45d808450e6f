// SPDX-License-Identifier: Apache-2.0

package pkcs11

import (
	"context"
	"fmt"

	"go.uber.org/zap"
)

// login sends the PIN to the token once, unless the token has refused it before.
func (t *Token) login(ctx context.Context, s session) error {
	pin, err := t.askPIN(ctx)
	if err != nil {
		return err
	}
	unlock, err := s.shared.lockLogin(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	return t.mod.use(ctx, s.epoch, func(api cryptoki) error { return t.showPIN(api, s, userNormal, pin) })
}

// lockLogin waits until no other login of the token is under way. It must not
// be called from inside of the library, where those wait to be.
func (s *tokenState) lockLogin(ctx context.Context) (unlock func(), err error) {
	select {
	case s.login <- struct{}{}:
		return func() { <-s.login }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// askPIN returns the PIN. It runs outside of the library, because it is the
// caller's code.
func (t *Token) askPIN(ctx context.Context) (string, error) {
	pin, err := t.pin(ctx)
	if err != nil {
		return "", t.fail("log in", fmt.Errorf("asking for the PIN: %w", err), "")
	}
	return pin, nil
}

// showPIN logs in. The caller holds the login lock of the token and is inside
// of the library.
func (t *Token) showPIN(api cryptoki, s session, user uint, pin string) error {
	digest := t.mod.digest(pin)
	if c, refused := s.shared.refusal(digest); refused {
		return t.refusal(c, "the token has refused this PIN before, and it was not tried again because "+
			"every wrong try brings the token closer to being locked: give the right PIN, or call Library.ForgetRefusedPINs once the token accepts this one")
	}
	info, err := api.Token(s.info.SlotID)
	if err != nil {
		return err
	}
	switch {
	case info.PINLocked():
		return t.refusal(rvPINLocked, "the security officer of the token must unlock it; no PIN was sent to it")
	case pin == "" && !info.ProtectedAuthenticationPath():
		return t.fail("log in", ErrPINMissing, "set PIN: the token has no keypad of its own")
	case info.flags&flagPINFinalTry != 0:
		t.log.Warn("this is the last try before the token locks its PIN")
	}
	err = api.Login(s.handle, user, pin)
	c, _ := codeOf(err)
	switch {
	case err == nil:
		return nil
	case c == rvUserAlreadyLoggedIn && user == userNormal:
		return nil
	case c.refusesPIN():
		s.shared.refuse(digest, c)
		t.log.Error("the token refused the PIN", zap.Stringer("answer", c))
		hint := "check the PIN; the same one will not be sent to the token again, because every wrong try brings it closer to being locked"
		if info, err := api.Token(s.info.SlotID); err == nil {
			switch {
			case info.PINLocked() || c == rvPINLocked:
				hint = "the security officer of the token must unlock it"
			case info.flags&flagPINFinalTry != 0:
				hint += "; the token says that one try is left"
			case info.flags&flagPINCountLow != 0:
				hint += "; the token says that there was a wrong try since the last right one"
			}
		}
		return t.refusal(c, hint)
	case c == rvUserPINNotInitialized:
		return t.fail("log in", err, "the token has no user PIN yet: its security officer must set one")
	case c == rvUserAnotherAlreadyLoggedIn:
		return t.fail("log in", err, "another part of the program is logged in as security officer: log it out first")
	case c == rvFunctionCanceled:
		return t.fail("log in", err, "nobody gave the PIN to the token")
	case hasCode(err, rvSessionHandleInvalid, rvSessionClosed, rvCryptokiNotInitialized, rvDeviceRemoved, rvTokenNotPresent):
		// The PIN was not looked at, and all may be well when the token is opened anew.
		return err
	}
	// Whether the token has counted this as a try is not known, so nothing is
	// tried again in this attempt.
	return t.fail("log in", err, "look into the log of the device or of its library")
}

func (t *Token) refusal(c ReturnCode, hint string) error {
	condition := ErrPINRefused
	if c == rvPINLocked {
		condition = ErrPINLocked
	}
	return t.fail("log in", both(condition, c), hint)
}
