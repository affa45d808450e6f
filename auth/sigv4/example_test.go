// SPDX-License-Identifier: Apache-2.0

package sigv4_test

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/auth/sigv4"
)

// Those of package credentials will do, and those of the AWS SDK through it.
var provider = sigv4.CredentialsFunc(func(context.Context) (sigv4.Credentials, error) {
	return sigv4.Credentials{AccessKeyID: "AKIDEXAMPLE", SecretAccessKey: "example"}, nil
})

func ExampleSigner_Presign() {
	signer, err := sigv4.New(sigv4.Options{Credentials: provider})
	if err != nil {
		fmt.Println(err)
		return
	}
	url, err := signer.Presign(context.Background(), "example-ats.iot.eu-west-1.amazonaws.com")
	if err != nil {
		fmt.Println(err)
		return
	}
	// Hand the URL to a WebSocket library, at once: it is good for minutes.
	_ = url
}

func ExampleSigner_Transform() {
	signer, err := sigv4.New(sigv4.Options{
		Credentials: provider,
		Region:      "eu-west-1", // a custom domain does not tell its region
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	transform := signer.Transform()

	// What a WebSocket dialer does at each attempt:
	r, _ := http.NewRequest(http.MethodGet, "https://iot.example.com/mqtt", nil)
	if err := transform(context.Background(), r); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(r.Host, r.URL.Query().Get("X-Amz-SignedHeaders"))
	// Output: iot.example.com host
}

func ExampleRegionFromEndpoint() {
	fmt.Println(sigv4.RegionFromEndpoint("example-ats.iot.eu-west-1.amazonaws.com"))
	// Output: eu-west-1 <nil>
}

func ExampleHint() {
	fmt.Println(sigv4.Hint(sigv4.Refusal{
		Status: http.StatusForbidden,
		Date:   "Tue, 03 Feb 2026 04:05:06 GMT",
		Now:    time.Date(2026, 2, 3, 3, 5, 6, 0, time.UTC),
	}))
	// Output: the clock of this device is 1h0m0s behind the service's clock (2026-02-03T04:05:06Z): signatures are refused beyond 5m0s; set the clock, for example by NTP
}

func ExampleNew() {
	_, err := sigv4.New(sigv4.Options{Region: "eu-west-1"})
	fmt.Println(err)
	// Output: sigv4: Options.Credentials is not set
}
