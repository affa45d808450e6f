// SPDX-License-Identifier: Apache-2.0

//go:build cgo

package interop

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/gocrt/aws-iot-device-sdk-go/io/pkcs11"
	"github.com/gocrt/aws-iot-device-sdk-go/iot"
	"github.com/gocrt/aws-iot-device-sdk-go/iot/provisioning"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
)

// TestProvisioning_pkcs11 provisions a device whose key never leaves a token: a
// first process is stopped when it has the certificate, the second one finishes
// with the same key, and no file has a key in it.
func TestProvisioning_pkcs11(t *testing.T) {
	h := startHSM(t)
	token := h.open(t, 4)
	for _, label := range []string{"EC:secp256r1", "rsa:2048"} {
		t.Run(label, func(t *testing.T) {
			f, ctx := newFleet(t), within(t)
			key, err := token.Key(ctx, pkcs11.KeyOptions{Label: label})
			if err != nil {
				t.Fatal(err)
			}
			store, err := provisioning.NewFileStore(filepath.Join(t.TempDir(), "device"))
			if err != nil {
				t.Fatal(err)
			}
			o := provisionOptions("localhost:"+strconv.Itoa(f.MTLSPort()), f.claim, store, nil)
			o.Key = key
			o.NewDevice = func(_ context.Context, identity *provisioning.Identity) (*mqtt5.Client, error) {
				if identity.PrivateKeyPEM != nil || identity.Key != key {
					return nil, errors.New("the identity has another key")
				}
				hardware, err := token.Identity(pkcs11.KeyOptions{Label: label, CertificatePEM: identity.CertificatePEM})
				if err != nil {
					return nil, err
				}
				return iot.NewMTLSWithIdentity("localhost", hardware, iot.WithPort(f.MTLSPort()), iot.WithCAFile(f.claim.CA), iot.WithClientID(identity.ThingName))
			}

			first, stop := context.WithCancelCause(ctx)
			killed := errors.New("killed")
			o.OnEvent = func(e provisioning.Event) {
				if e.Err == nil && e.Phase == provisioning.PhaseCertificate {
					stop(killed)
				}
			}
			if _, err := provisioning.Provision(first, o); !errors.Is(err, killed) {
				t.Fatalf("%v, want %v", err, killed)
			}
			o.OnEvent = nil
			device, err := provisioning.Provision(ctx, o)
			if err != nil {
				t.Fatal(err)
			}
			defer device.Client.Close()
			if device.Identity.ThingName != "thing-7" {
				t.Errorf("thing %q", device.Identity.ThingName)
			}
			if _, err := os.Stat(store.KeyPath()); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the store has a key: %v", err)
			}
			if n := certificates(f.Core); n != 1 {
				t.Errorf("%d certificates were issued, want 1", n)
			}
		})
	}
}
