// SPDX-License-Identifier: Apache-2.0

// Command ours connects, disconnects and exits: a program that is started and
// weighed.
package main

import (
	"context"
	"log"
	"os"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
)

func main() {
	c, err := mqtt5.NewClient(mqtt5.ClientOptions{Address: os.Args[1], Connect: mqtt5.ConnectPacket{ClientID: "cold"}})
	if err != nil {
		log.Fatal(err)
	}
	if err := c.Start(); err != nil {
		log.Fatal(err)
	}
	if err := c.WaitConnected(context.Background()); err != nil {
		log.Fatal(err)
	}
	if err := c.Stop(context.Background(), nil); err != nil {
		log.Fatal(err)
	}
}
