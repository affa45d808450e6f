// SPDX-License-Identifier: Apache-2.0

package iottest_test

import (
	"errors"
	"fmt"
	"log"
	"strings"

	"github.com/gocrt/aws-iot-device-sdk-go/iot/iottest"
)

func start() *iottest.Core {
	core, err := iottest.New(iottest.Options{})
	if err != nil {
		log.Fatal(err)
	}
	return core
}

// Devices get credentials for the role alias with their certificate.
func ExampleCore_AddRoleAlias() {
	core := start()
	defer core.Close()
	if err := core.AddRoleAlias(iottest.RoleAlias{Name: "telemetry"}); err != nil {
		log.Fatal(err)
	}
	fmt.Println(strings.Contains(core.CredentialsEndpoint(), ".credentials.iot."))
	// Output: true
}

// A pool that lets guests in; an identity of it can be made beforehand.
func ExampleCore_AddIdentityPool() {
	core := start()
	defer core.Close()
	pool := core.AddIdentityPool(iottest.IdentityPool{})
	identity, err := core.CreateIdentity(pool)
	fmt.Println(strings.HasPrefix(identity, "us-east-1:"), err)
	// Output: true <nil>
}

// A role for those who have a certain token.
func ExampleCore_AddRole() {
	core := start()
	defer core.Close()
	err := core.AddRole(iottest.Role{
		ARN: "arn:aws:iam::123456789012:role/device",
		WebIdentity: func(token string) error {
			if token != "let me in" {
				return errors.New("unknown token")
			}
			return nil
		},
	})
	fmt.Println(err)
	// Output: <nil>
}

// The addresses go into the environment of the program under test.
func ExampleCore_StartMetadata() {
	core := start()
	defer core.Close()
	m, err := core.StartMetadata(iottest.MetadataOptions{})
	if err != nil {
		log.Fatal(err)
	}
	environment := map[string]string{
		"AWS_EC2_METADATA_SERVICE_ENDPOINT":  m.Endpoint,
		"AWS_CONTAINER_CREDENTIALS_FULL_URI": m.ContainerURL,
		"AWS_CONTAINER_AUTHORIZATION_TOKEN":  m.AuthorizationToken,
	}
	fmt.Println(len(environment))
	// Output: 3
}

// A certificate of another authority can be registered too.
func ExampleCore_RegisterCertificate() {
	core, elsewhere := start(), start()
	defer core.Close()
	defer elsewhere.Close()
	foreign, err := elsewhere.CreateDevice("sensor", iottest.Unregistered())
	if err != nil {
		log.Fatal(err)
	}
	device, err := core.RegisterCertificate("sensor", foreign.X509())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(device.CertificateID() == foreign.CertificateID())
	// Output: true
}

// The rates of the service are off unless asked for.
func ExampleServiceQuotas() {
	core, err := iottest.New(iottest.Options{Quotas: iottest.ServiceQuotas()})
	if err != nil {
		log.Fatal(err)
	}
	defer core.Close()
	fmt.Println(iottest.ServiceQuotas().PublishRate)
	// Output: 100
}

func ExampleParsePolicy() {
	_, err := iottest.ParsePolicy(`{"Statement":[{"Effect":"Permit","Action":"iot:Connect","Resource":"*"}]}`)
	fmt.Println(err)
	// Output: iottest: policy statement 0: the Effect must be Allow or Deny, is "Permit"
}
