// SPDX-License-Identifier: Apache-2.0

package sample

import (
	"errors"
	"flag"
	"os"

	"github.com/gocrt/aws-iot-device-sdk-go/io/pkcs11"
	"github.com/gocrt/aws-iot-device-sdk-go/samples/internal/softhsm"
)

// PKCS11Flags are the flags of samples that connect with a key in a token.
type PKCS11Flags struct {
	app                             *App
	library, token, keyLabel, pinOf string
	slot                            int
}

// PKCS11Flags defines -library and what goes with it.
func (a *App) PKCS11Flags() *PKCS11Flags {
	p := &PKCS11Flags{app: a}
	flag.StringVar(&p.library, "library", "", "PKCS#11 `file` of the maker of the token, a .so or .dll")
	flag.StringVar(&p.token, "token-label", "", "`label` of the token (default: the only one)")
	flag.IntVar(&p.slot, "slot", -1, "`number` of the slot of the token")
	flag.StringVar(&p.keyLabel, "key-label", "", "`label` of the private key (default: the only one)")
	flag.StringVar(&p.pinOf, "pin-env", "PKCS11_PIN", "`variable` of the environment that holds the PIN")
	return p
}

// Options says which key is meant. Without an -endpoint it is one in a new
// token of SoftHSM.
func (p *PKCS11Flags) Options(certFile string) (pkcs11.Options, error) {
	a := p.app
	if a.Local() {
		device, err := a.Device()
		if err != nil {
			return pkcs11.Options{}, err
		}
		dir, err := a.TempDir()
		if err != nil {
			return pkcs11.Options{}, err
		}
		library, err := softhsm.Setup(dir, device.KeyPKCS8PEM())
		if err != nil {
			return pkcs11.Options{}, err
		}
		a.Printf("Registered a device there and put its private key into a token of SoftHSM.")
		return pkcs11.Options{
			LibraryPath: library,
			Token:       pkcs11.TokenOptions{Label: softhsm.TokenLabel, PIN: softhsm.PIN},
			Key:         pkcs11.KeyOptions{Label: softhsm.KeyLabel, CertificatePEM: device.CertPEM()},
		}, nil
	}
	if p.library == "" {
		return pkcs11.Options{}, errors.New("-library is missing: the PKCS#11 library of the token, such as /usr/lib/softhsm/libsofthsm2.so")
	}
	o := pkcs11.Options{
		LibraryPath: p.library,
		Token:       pkcs11.TokenOptions{Label: p.token, PIN: pkcs11.PIN(os.Getenv(p.pinOf))},
		Key:         pkcs11.KeyOptions{Label: p.keyLabel, CertificateFile: certFile},
	}
	if p.slot >= 0 {
		slot := uint(p.slot)
		o.Token.SlotID = &slot
	}
	return o, nil
}
