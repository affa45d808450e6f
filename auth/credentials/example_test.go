// SPDX-License-Identifier: Apache-2.0

package credentials_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/gocrt/aws-iot-device-sdk-go/auth/credentials"
	"github.com/gocrt/aws-iot-device-sdk-go/auth/sigv4"
)

func ExampleNewDefault() {
	provider, err := credentials.NewDefault(credentials.DefaultOptions{})
	if err != nil {
		fmt.Println(err)
		return
	}
	signer, err := sigv4.New(sigv4.Options{Credentials: provider})
	if err != nil {
		fmt.Println(err)
		return
	}
	_ = signer.Transform() // for the WebSocket dialer
}

func ExampleNewX509() {
	provider, err := credentials.NewX509(credentials.X509Options{
		Endpoint:  "example.credentials.iot.eu-west-1.amazonaws.com",
		RoleAlias: "device-role",
		ThingName: "thermostat-1",
		HTTP: credentials.HTTPOptions{
			// The Config method of a TLS context with the device's certificate fits.
			TLS: func(context.Context, string) (*tls.Config, error) {
				cert, err := tls.LoadX509KeyPair("device.pem.crt", "private.pem.key")
				return &tls.Config{Certificates: []tls.Certificate{cert}}, err
			},
		},
	})
	fmt.Println(provider, err)
	// Output: credentials.Provider(X.509 role alias device-role) <nil>
}

func ExampleNewCognito() {
	provider, err := credentials.NewCognito(credentials.CognitoOptions{
		IdentityPoolID: "eu-west-1:00000000-1111-2222-3333-444444444444",
		FetchLogins: func(ctx context.Context) (map[string]string, error) {
			return map[string]string{"accounts.google.com": "token of now"}, nil
		},
	})
	fmt.Println(provider, err)
	// Output: credentials.Provider(Cognito eu-west-1:00000000-1111-2222-3333-444444444444) <nil>
}

func ExampleNewCognito_mistake() {
	_, err := credentials.NewCognito(credentials.CognitoOptions{IdentityID: "eu-west-1_AbCdEfGhI"})
	fmt.Println(err)
	// Output: credentials: Cognito: not a Cognito identity id: "eu-west-1_AbCdEfGhI" looks like the id of a user pool: an identity or an identity pool is needed, <region>:<uuid>
}

func ExampleNewDelegate() {
	slow, err := credentials.NewDelegate(func(ctx context.Context) (aws.Credentials, error) {
		// Ask a secure element, a local agent, a vault.
		return aws.Credentials{AccessKeyID: "AKIDEXAMPLE", SecretAccessKey: "example", CanExpire: true, Expires: time.Now().Add(time.Hour)}, nil
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	provider, err := credentials.NewCached(slow, credentials.CacheOptions{})
	if err != nil {
		fmt.Println(err)
		return
	}
	creds, err := provider.Retrieve(context.Background())
	fmt.Println(creds.AccessKeyID, err)
	// Output: AKIDEXAMPLE <nil>
}

func ExampleNewChain() {
	static, _ := credentials.NewStatic(credentials.StaticOptions{AccessKeyID: "AKIDEXAMPLE", SecretAccessKey: "example"})
	chain, err := credentials.NewChain(credentials.NewEnvironment(), static)
	fmt.Println(chain, err)
	// Output: credentials.Provider(chain of environment, static) <nil>
}

func ExampleNewAssumeRole() {
	source, _ := credentials.NewDefault(credentials.DefaultOptions{})
	provider, err := credentials.NewAssumeRole(credentials.AssumeRoleOptions{
		RoleARN: "arn:aws:iam::123456789012:role/fleet", Source: source, Region: "eu-west-1",
	})
	fmt.Println(provider, err)
	// Output: credentials.Provider(STS AssumeRole of arn:aws:iam::123456789012:role/fleet) <nil>
}

func ExampleResolveRegion() {
	fmt.Println(credentials.ResolveRegion(context.Background(), credentials.RegionOptions{
		Endpoint: "example-ats.iot.eu-west-1.amazonaws.com",
	}))
	// Output: eu-west-1 <nil>
}
