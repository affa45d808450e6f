// SPDX-License-Identifier: Apache-2.0

package pkcs12_test

import (
	"errors"
	"fmt"

	"github.com/gocrt/aws-iot-device-sdk-go/io/pkcs12"
)

func ExampleDecodeFile() {
	bundle, err := pkcs12.DecodeFile("device.p12", "password")
	switch {
	case errors.Is(err, pkcs12.ErrPassword):
		fmt.Println("ask for the password again")
	case err != nil:
		fmt.Println("no bundle to use")
	default:
		fmt.Println(bundle.Certificate.Subject)
	}
	// Output: no bundle to use
}

func ExampleDecode() {
	_, err := pkcs12.Decode([]byte("-----BEGIN CERTIFICATE-----"), "")
	fmt.Println(errors.Is(err, pkcs12.ErrFormat))
	// Output: true
}
