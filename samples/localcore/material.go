// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/iot"
	"github.com/gocrt/aws-iot-device-sdk-go/iot/iottest"
	"github.com/gocrt/aws-iot-device-sdk-go/samples/internal/sample"
	"github.com/gocrt/aws-iot-device-sdk-go/samples/internal/softhsm"
)

// material is what clients connect with, and where it was written.
type material struct {
	iottest.Files
	dir              string
	bundle, password string
	credentials      string
	pool, alias      string
	unsigned, signed iot.CustomAuthorizer
	library          string // of PKCS#11; "" without SoftHSM
	softhsm          string
}

// profileName is that of the credentials: one of its own, so that no other
// credentials of the user come in between.
const profileName = "localcore"

// write makes a device, credentials and authorizers, and writes the files.
func write(core *iottest.Core, dir string) (*material, error) {
	device, err := core.CreateDevice("local-device")
	if err != nil {
		return nil, err
	}
	m := &material{
		dir: dir, bundle: filepath.Join(dir, "device.p12"), password: "local-password",
		credentials: filepath.Join(dir, "credentials"), alias: "local-alias", softhsm: filepath.Join(dir, "softhsm"),
	}
	if m.Files, err = device.WriteFiles(dir); err != nil {
		return nil, err
	}
	if err := sample.WriteBundle(device, m.bundle, m.password); err != nil {
		return nil, err
	}
	if err := m.writeToken(device); err != nil {
		return nil, err
	}
	key, err := core.CreateAccessKey(iottest.AccessKeyOptions{Lifetime: 24 * time.Hour})
	if err != nil {
		return nil, err
	}
	profile := fmt.Sprintf("["+profileName+"]\naws_access_key_id = %s\naws_secret_access_key = %s\naws_session_token = %s\n", key.AccessKeyID, key.SecretAccessKey, key.SessionToken)
	if err := os.WriteFile(m.credentials, []byte(profile), 0o600); err != nil {
		return nil, err
	}
	m.pool = core.AddIdentityPool(iottest.IdentityPool{})
	if err := core.AddRoleAlias(iottest.RoleAlias{Name: m.alias}); err != nil {
		return nil, err
	}
	for _, signing := range []bool{false, true} {
		client, authorizer, err := sample.NewAuthorizer(signing)
		if err != nil {
			return nil, err
		}
		if err := core.AddAuthorizer(authorizer); err != nil {
			return nil, err
		}
		if signing {
			m.signed = client
		} else {
			m.unsigned = client
		}
	}
	return m, nil
}

// writeToken puts the key into a token of SoftHSM, if that is installed.
func (m *material) writeToken(device *iottest.Device) (err error) {
	if err := os.RemoveAll(m.softhsm); err != nil { // of an earlier run with the same -dir
		return err
	}
	if err := os.Mkdir(m.softhsm, 0o700); err != nil {
		return err
	}
	m.library, err = softhsm.Setup(m.softhsm, device.KeyPKCS8PEM())
	if errors.Is(err, softhsm.ErrNotInstalled) {
		return os.Remove(m.softhsm)
	}
	return err
}
