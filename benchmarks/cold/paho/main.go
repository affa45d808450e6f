// SPDX-License-Identifier: Apache-2.0

// Command paho does with paho.golang what its neighbour does with this SDK.
package main

import (
	"context"
	"log"
	"net"
	"os"

	"github.com/eclipse/paho.golang/paho"
)

func main() {
	conn, err := net.Dial("tcp", os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	c := paho.NewClient(paho.ClientConfig{ClientID: "cold", Conn: conn})
	if _, err := c.Connect(context.Background(), &paho.Connect{ClientID: "cold", CleanStart: true, KeepAlive: 60}); err != nil {
		log.Fatal(err)
	}
	if err := c.Disconnect(&paho.Disconnect{}); err != nil {
		log.Fatal(err)
	}
}
