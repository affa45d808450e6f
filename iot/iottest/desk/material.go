// SPDX-License-Identifier: Apache-2.0

package desk

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/iot/iottest"
)

// Material is what clients need to connect, and where it was written.
type Material struct {
	// Dir is the folder of all files.
	Dir string
	// Env is the file for the command source of a shell.
	Env string
	// Files are certificate, key and CA of the first thing.
	iottest.Files
	// Thing is the name of the first thing.
	Thing string
	// Key is an AWS access key that the core accepts.
	Key iottest.AccessKey
	// IdentityPoolID and RoleAlias issue credentials.
	IdentityPoolID, RoleAlias string
	// Authorizer lets Username in with Password.
	Authorizer, Username, Password string
	// SignedAuthorizer lets in who has Token, in TokenKeyName, and its Signature.
	SignedAuthorizer, TokenKeyName, Token, Signature string
}

// poolNumber makes the id of the identity pool the same in all runs.
const poolNumber = "00000000-0000-4000-8000-000000000001"

// writeMaterial makes the keys and certificates that are missing, and writes the files.
func writeMaterial(core *iottest.Core, dir string, config *Config) (*Material, error) {
	m := &Material{Dir: dir, Env: filepath.Join(dir, "env"), RoleAlias: "desk-alias", Authorizer: "desk", Username: "desk-user",
		Password: "desk-password", SignedAuthorizer: "desk-signed", TokenKeyName: "token", Token: "desk-token"}
	things := config.Things
	if len(things) == 0 {
		things = []string{"desk-device"}
	}
	for i, name := range things {
		files, err := writeDevice(core, dir, name, config.Policy)
		if err != nil {
			return nil, err
		}
		if i == 0 {
			m.Thing, m.Files = name, files
		}
	}
	key, err := core.CreateAccessKey(iottest.AccessKeyOptions{Lifetime: 24 * time.Hour})
	if err != nil {
		return nil, err
	}
	m.Key = *key
	m.IdentityPoolID = core.AddIdentityPool(iottest.IdentityPool{ID: core.Region() + ":" + poolNumber})
	if err := core.AddRoleAlias(iottest.RoleAlias{Name: m.RoleAlias}); err != nil {
		return nil, err
	}
	return m, m.addAuthorizers(core, config.Authorizers)
}

// writeDevice writes the files of a device, which is made unless the core remembers it.
func writeDevice(core *iottest.Core, dir, name, policy string) (iottest.Files, error) {
	for _, d := range core.Devices() {
		if d.Name() == name && d.PrivateKey() != nil {
			if policy != "" {
				if err := d.SetPolicies(policy); err != nil {
					return iottest.Files{}, err
				}
			}
			return d.WriteFiles(dir)
		}
	}
	var opts []iottest.DeviceOption
	if policy != "" {
		opts = append(opts, iottest.WithPolicy(policy))
	}
	d, err := core.CreateDevice(name, opts...)
	if err != nil {
		return iottest.Files{}, err
	}
	return d.WriteFiles(dir)
}

func (m *Material) addAuthorizers(core *iottest.Core, more []string) error {
	key, err := core.TokenKey(m.SignedAuthorizer)
	if err != nil {
		return err
	}
	sum := sha256.Sum256([]byte(m.Token))
	signature, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
	if err != nil {
		return fmt.Errorf("desk: sign token: %w", err)
	}
	m.Signature = base64.StdEncoding.EncodeToString(signature)
	signed := iottest.Authorizer{Name: m.SignedAuthorizer, TokenKeyName: m.TokenKeyName, PublicKey: &key.PublicKey, Handler: passwordHandler("", "")}
	if err := core.AddAuthorizer(signed); err != nil {
		return err
	}
	byPassword := iottest.Authorizer{Name: m.Authorizer, SigningDisabled: true, Handler: passwordHandler(m.Username, m.Password)}
	if err := core.AddAuthorizer(byPassword); err != nil {
		return err
	}
	for _, text := range more {
		a, err := authorizerOf(text)
		if err != nil {
			return err
		}
		if err := core.AddAuthorizer(a); err != nil {
			return err
		}
	}
	return nil
}

// writeEnv writes the file that makes tools and SDKs use the core.
func (m *Material) writeEnv(d *Desk) error {
	web := "https://" + localAddr(d.Core.Addr())
	var b strings.Builder
	b.WriteString("# source this file: it makes tools and SDKs use the AWS IoT Core on this machine\n")
	for _, v := range [][2]string{
		{"AWS_IOT_ENDPOINT", "localhost"},
		{"AWS_IOT_ENDPOINT_NAME", d.Core.Endpoint()},
		{"AWS_IOT_CREDENTIALS_ENDPOINT_NAME", d.Core.CredentialsEndpoint()},
		{"AWS_IOT_PORT", fmt.Sprint(d.Core.Port())},
		{"AWS_IOT_MTLS_PORT", fmt.Sprint(d.Core.MTLSPort())},
		{"AWS_IOT_THING", m.Thing},
		{"AWS_IOT_CA", m.CA},
		{"AWS_IOT_CERT", m.Cert},
		{"AWS_IOT_KEY", m.Files.Key},
		{"AWS_IOT_CORE_PROXY", d.ProxyURL},
		{"AWS_IOT_CONTROL", d.ConsoleURL},
		{"AWS_IOT_IDENTITY_POOL_ID", m.IdentityPoolID},
		{"AWS_IOT_ROLE_ALIAS", m.RoleAlias},
		{"AWS_REGION", d.Core.Region()},
		{"AWS_ACCESS_KEY_ID", m.Key.AccessKeyID},
		{"AWS_SECRET_ACCESS_KEY", m.Key.SecretAccessKey},
		{"AWS_SESSION_TOKEN", m.Key.SessionToken},
		{"AWS_CA_BUNDLE", m.CA},
		{"NODE_EXTRA_CA_CERTS", m.CA},
		{"AWS_ENDPOINT_URL_IOT_DATA_PLANE", web},
		{"AWS_ENDPOINT_URL_IOT_JOBS_DATA_PLANE", web},
		{"AWS_ENDPOINT_URL_COGNITO_IDENTITY", web},
		{"AWS_ENDPOINT_URL_STS", web},
	} {
		if v[1] != "" {
			b.WriteString("export " + v[0] + "=" + quote(v[1]) + "\n")
		}
	}
	// Credentials are in it: written beside and renamed, so that it is never half there.
	if err := os.WriteFile(m.Env+".new", []byte(b.String()), 0o600); err != nil {
		return fmt.Errorf("desk: %w", err)
	}
	if err := os.Rename(m.Env+".new", m.Env); err != nil {
		return fmt.Errorf("desk: %w", err)
	}
	return nil
}

// quote protects a word from the shell.
func quote(s string) string {
	if s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./:=@%+,", r)
	}) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
