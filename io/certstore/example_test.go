// SPDX-License-Identifier: Apache-2.0

package certstore_test

import (
	"errors"
	"fmt"

	"github.com/gocrt/aws-iot-device-sdk-go/io/certstore"
	"github.com/gocrt/aws-iot-device-sdk-go/io/tlsctx"
)

func ExampleOpen() {
	id, err := certstore.Open(`CurrentUser\MY\A11F8A9B5DF5B98BA3508FBCA575D09570E0D2C6`)
	switch {
	case errors.Is(err, certstore.ErrUnsupported), errors.Is(err, certstore.ErrNotFound):
		fmt.Println("not on this machine")
		return
	case err != nil:
		fmt.Println(err)
		return
	}
	defer id.Close()
	_, err = tlsctx.New(tlsctx.Options{Identity: id})
	fmt.Println(err)
	// Output: not on this machine
}

func ExampleParsePath() {
	p, err := certstore.ParsePath(`Cert:\LocalMachine\My\a1 1f 8a 9b 5d f5 b9 8b a3 50 8f bc a5 75 d0 95 70 e0 d2 c6`)
	fmt.Println(p, err)
	// Output: LocalMachine\My\A11F8A9B5DF5B98BA3508FBCA575D09570E0D2C6 <nil>
}
