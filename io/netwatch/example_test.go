// SPDX-License-Identifier: Apache-2.0

package netwatch_test

import (
	"errors"
	"fmt"

	"github.com/gocrt/aws-iot-device-sdk-go/io/netwatch"
)

func ExampleNew() {
	watcher, err := netwatch.New(netwatch.Options{})
	if errors.Is(err, errors.ErrUnsupported) {
		return // no harm: the delays of the client pass by themselves
	}
	if err != nil {
		fmt.Println(err)
		return
	}
	defer watcher.Close()
	stop := watcher.OnUp(func() { fmt.Println("connect now") })
	defer stop()
}
