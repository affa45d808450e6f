// SPDX-License-Identifier: Apache-2.0

package credentials_test

import (
	"context"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/gocrt/aws-iot-device-sdk-go/auth/credentials"
)

func ExampleNewStatic() {
	provider, err := credentials.NewStatic(credentials.StaticOptions{AccessKeyID: "AKIDEXAMPLE", SecretAccessKey: "example"})
	fmt.Println(provider, err)
	// Output: credentials.Provider(static) <nil>
}

func ExampleNewAnonymous() {
	creds, err := credentials.NewAnonymous().Retrieve(context.Background())
	fmt.Println(creds.HasKeys(), err)
	// Output: false <nil>
}

func ExampleNewEnvironment() {
	_, err := credentials.NewEnvironment().Retrieve(context.Background())
	fmt.Println(err)
	// Output: credentials: environment: not configured: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not set
}

func ExampleNewProfile() {
	provider, err := credentials.NewProfile(credentials.ProfileOptions{Name: "factory"})
	fmt.Println(provider, err)
	// Output: credentials.Provider(profile factory) <nil>
}

func ExampleNewProcess() {
	provider, err := credentials.NewProcess(credentials.ProcessOptions{
		Command: "/usr/bin/device-credentials --json",
		Timeout: 10 * time.Second,
	})
	fmt.Println(provider, err)
	// Output: credentials.Provider(process) <nil>
}

func ExampleNewWebIdentity() {
	provider, err := credentials.NewWebIdentity(credentials.WebIdentityOptions{
		RoleARN:   "arn:aws:iam::123456789012:role/gateway",
		TokenFile: "/var/run/secrets/token", // read at each request
		Region:    "eu-west-1",
	})
	fmt.Println(provider, err)
	// Output: credentials.Provider(STS web identity) <nil>
}

func ExampleNewContainer() {
	// All from the environment that ECS, EKS or Greengrass sets up.
	provider, err := credentials.NewContainer(credentials.ContainerOptions{})
	fmt.Println(provider, err)
	// Output: credentials.Provider(container) <nil>
}

func ExampleNewIMDS() {
	provider, err := credentials.NewIMDS(credentials.IMDSOptions{DisableV1: true})
	fmt.Println(provider, err)
	// Output: credentials.Provider(IMDS) <nil>
}

func ExampleNewSSO() {
	provider, err := credentials.NewSSO(credentials.SSOOptions{
		SessionName: "company", AccountID: "123456789012", RoleName: "Developer", Region: "eu-west-1",
	})
	fmt.Println(provider, err)
	// Output: credentials.Provider(SSO role Developer) <nil>
}

func ExampleNewCached() {
	source := aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
		fmt.Println("asked")
		return aws.Credentials{AccessKeyID: "AKIDEXAMPLE", SecretAccessKey: "example"}, nil
	})
	provider, err := credentials.NewCached(source, credentials.CacheOptions{MaxAge: time.Hour})
	if err != nil {
		fmt.Println(err)
		return
	}
	for range 3 {
		_, _ = provider.Retrieve(context.Background())
	}
	// Output: asked
}

func ExampleFromConfig() {
	cfg := aws.Config{Credentials: aws.AnonymousCredentials{}} // for example from config.LoadDefaultConfig
	provider, err := credentials.FromConfig(cfg)
	fmt.Println(provider, err)
	// Output: credentials.Provider(anonymous) <nil>
}
