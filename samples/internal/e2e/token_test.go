// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"os"
	"sync"
	"testing"

	"github.com/gocrt/aws-iot-device-sdk-go/io/pkcs11"
	"github.com/gocrt/aws-iot-device-sdk-go/iot/iottest"
	"github.com/gocrt/aws-iot-device-sdk-go/samples/internal/softhsm"
)

// hsm is a token of SoftHSM with a private key. There is one, because the
// library looks for its tokens once in a process.
type hsm struct {
	library string
	key     *ecdsa.PrivateKey
}

var theHSM = sync.OnceValues(func() (*hsm, error) {
	dir, err := os.MkdirTemp("", "token-")
	if err != nil {
		return nil, err
	}
	cleanup = append(cleanup, dir)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	library, err := softhsm.Setup(dir, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	return &hsm{library, key}, err
})

// inToken registers a device whose key is in the token.
func inToken(t *testing.T, core *iottest.Core, opts ...iottest.DeviceOption) pkcs11.Options {
	t.Helper()
	needSoftHSM(t)
	h, err := theHSM()
	if err != nil {
		t.Fatal(err)
	}
	device := core.Device(t, "device", append(opts, iottest.WithPublicKey(h.key.Public()))...)
	return pkcs11.Options{
		LibraryPath: h.library,
		Token:       pkcs11.TokenOptions{Label: softhsm.TokenLabel, PIN: softhsm.PIN},
		Key:         pkcs11.KeyOptions{Label: softhsm.KeyLabel, CertificatePEM: device.CertPEM()},
	}
}
