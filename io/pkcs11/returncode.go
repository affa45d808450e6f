// SPDX-License-Identifier: Apache-2.0

package pkcs11

import (
	"errors"
	"fmt"
)

// ReturnCode is what a function of a PKCS#11 library answered (CK_RV). It is an
// error; find it in the errors of this package with [errors.As].
type ReturnCode uint

// The return codes that decide what this package does: PKCS #11 v2.40 section 3.6.
const (
	rvSlotIDInvalid              ReturnCode = 0x003
	rvGeneralError               ReturnCode = 0x005
	rvFunctionFailed             ReturnCode = 0x006
	rvNeedToCreateThreads        ReturnCode = 0x009
	rvCantLock                   ReturnCode = 0x00A
	rvAttributeSensitive         ReturnCode = 0x011
	rvAttributeTypeInvalid       ReturnCode = 0x012
	rvDeviceError                ReturnCode = 0x030
	rvDeviceRemoved              ReturnCode = 0x032
	rvFunctionCanceled           ReturnCode = 0x050
	rvFunctionNotSupported       ReturnCode = 0x054
	rvKeyHandleInvalid           ReturnCode = 0x060
	rvKeyTypeInconsistent        ReturnCode = 0x063
	rvKeyChanged                 ReturnCode = 0x065
	rvKeyFunctionNotPermitted    ReturnCode = 0x068
	rvMechanismInvalid           ReturnCode = 0x070
	rvMechanismParamInvalid      ReturnCode = 0x071
	rvObjectHandleInvalid        ReturnCode = 0x082
	rvOperationActive            ReturnCode = 0x090
	rvOperationNotInitialized    ReturnCode = 0x091
	rvPINIncorrect               ReturnCode = 0x0A0
	rvPINInvalid                 ReturnCode = 0x0A1
	rvPINLenRange                ReturnCode = 0x0A2
	rvPINExpired                 ReturnCode = 0x0A3
	rvPINLocked                  ReturnCode = 0x0A4
	rvSessionClosed              ReturnCode = 0x0B0
	rvSessionCount               ReturnCode = 0x0B1
	rvSessionHandleInvalid       ReturnCode = 0x0B3
	rvTokenNotPresent            ReturnCode = 0x0E0
	rvTokenNotRecognized         ReturnCode = 0x0E1
	rvUserAlreadyLoggedIn        ReturnCode = 0x100
	rvUserNotLoggedIn            ReturnCode = 0x101
	rvUserPINNotInitialized      ReturnCode = 0x102
	rvUserTypeInvalid            ReturnCode = 0x103
	rvUserAnotherAlreadyLoggedIn ReturnCode = 0x104
	rvCryptokiNotInitialized     ReturnCode = 0x190
	rvCryptokiAlreadyInitialized ReturnCode = 0x191
	rvVendorDefined              ReturnCode = 0x80000000
)

var returnCodeNames = map[ReturnCode]string{
	0x001: "CANCEL", 0x002: "HOST_MEMORY", rvSlotIDInvalid: "SLOT_ID_INVALID", rvGeneralError: "GENERAL_ERROR",
	rvFunctionFailed: "FUNCTION_FAILED", 0x007: "ARGUMENTS_BAD", rvNeedToCreateThreads: "NEED_TO_CREATE_THREADS",
	rvCantLock: "CANT_LOCK", rvAttributeSensitive: "ATTRIBUTE_SENSITIVE", rvAttributeTypeInvalid: "ATTRIBUTE_TYPE_INVALID",
	0x013: "ATTRIBUTE_VALUE_INVALID", 0x020: "DATA_INVALID", 0x021: "DATA_LEN_RANGE", rvDeviceError: "DEVICE_ERROR",
	0x031: "DEVICE_MEMORY", rvDeviceRemoved: "DEVICE_REMOVED", rvFunctionCanceled: "FUNCTION_CANCELED",
	rvFunctionNotSupported: "FUNCTION_NOT_SUPPORTED", rvKeyHandleInvalid: "KEY_HANDLE_INVALID", 0x062: "KEY_SIZE_RANGE",
	rvKeyTypeInconsistent: "KEY_TYPE_INCONSISTENT", rvKeyChanged: "KEY_CHANGED",
	rvKeyFunctionNotPermitted: "KEY_FUNCTION_NOT_PERMITTED", rvMechanismInvalid: "MECHANISM_INVALID",
	rvMechanismParamInvalid: "MECHANISM_PARAM_INVALID", rvObjectHandleInvalid: "OBJECT_HANDLE_INVALID",
	rvOperationActive: "OPERATION_ACTIVE", rvOperationNotInitialized: "OPERATION_NOT_INITIALIZED",
	rvPINIncorrect: "PIN_INCORRECT", rvPINInvalid: "PIN_INVALID", rvPINLenRange: "PIN_LEN_RANGE",
	rvPINExpired: "PIN_EXPIRED", rvPINLocked: "PIN_LOCKED", rvSessionClosed: "SESSION_CLOSED",
	rvSessionCount: "SESSION_COUNT", rvSessionHandleInvalid: "SESSION_HANDLE_INVALID",
	0x0B4: "SESSION_PARALLEL_NOT_SUPPORTED", 0x0B5: "SESSION_READ_ONLY", 0x0B8: "SESSION_READ_WRITE_SO_EXISTS",
	rvTokenNotPresent: "TOKEN_NOT_PRESENT", rvTokenNotRecognized: "TOKEN_NOT_RECOGNIZED",
	rvUserAlreadyLoggedIn: "USER_ALREADY_LOGGED_IN", rvUserNotLoggedIn: "USER_NOT_LOGGED_IN",
	rvUserPINNotInitialized: "USER_PIN_NOT_INITIALIZED", rvUserTypeInvalid: "USER_TYPE_INVALID",
	rvUserAnotherAlreadyLoggedIn: "USER_ANOTHER_ALREADY_LOGGED_IN", 0x150: "BUFFER_TOO_SMALL",
	rvCryptokiNotInitialized: "CRYPTOKI_NOT_INITIALIZED", rvCryptokiAlreadyInitialized: "CRYPTOKI_ALREADY_INITIALIZED",
	0x200: "FUNCTION_REJECTED",
}

// String returns the name that the standard gives the code, such as
// CKR_DEVICE_REMOVED, or its number.
func (c ReturnCode) String() string {
	if name, ok := returnCodeNames[c]; ok {
		return "CKR_" + name
	}
	if c >= rvVendorDefined {
		return fmt.Sprintf("CKR_VENDOR_DEFINED+0x%x", uint(c-rvVendorDefined))
	}
	return fmt.Sprintf("return code 0x%x", uint(c))
}

// Error returns what String returns.
func (c ReturnCode) Error() string { return c.String() }

// codeOf returns the return code in an error.
func codeOf(err error) (ReturnCode, bool) {
	var c ReturnCode
	return c, errors.As(err, &c)
}

func hasCode(err error, codes ...ReturnCode) bool {
	c, ok := codeOf(err)
	if !ok {
		return false
	}
	for _, want := range codes {
		if c == want {
			return true
		}
	}
	return false
}

// errStale reports a handle from before the library was initialised anew. It
// never leaves the package.
var errStale = errors.New("handle from before the library was initialised again")

// recoverable reports whether opening, logging in and finding everything anew
// may help. Network HSMs report a lost connection with the general codes, which
// is why those are in the list.
//
// An [*Error] is a verdict already, and never starts anything anew: above all
// not a login.
func recoverable(err error) bool {
	if e := (*Error)(nil); errors.As(err, &e) {
		return false
	}
	return errors.Is(err, errStale) || hasCode(err,
		rvSessionHandleInvalid, rvSessionClosed, rvUserNotLoggedIn,
		rvDeviceRemoved, rvDeviceError, rvTokenNotPresent, rvTokenNotRecognized, rvSlotIDInvalid,
		rvKeyHandleInvalid, rvObjectHandleInvalid, rvKeyChanged,
		rvOperationActive, rvOperationNotInitialized,
		rvCryptokiNotInitialized, rvGeneralError, rvFunctionFailed)
}

// otherMechanism reports whether another way to make the same signature may work.
func otherMechanism(err error) bool {
	return hasCode(err, rvMechanismInvalid, rvMechanismParamInvalid, rvKeyFunctionNotPermitted, rvKeyTypeInconsistent,
		rvFunctionNotSupported)
}

// refusesPIN reports whether the code is an answer to the PIN that a token may count.
func (c ReturnCode) refusesPIN() bool {
	switch c {
	case rvPINIncorrect, rvPINInvalid, rvPINLenRange, rvPINExpired, rvPINLocked:
		return true
	}
	return false
}
