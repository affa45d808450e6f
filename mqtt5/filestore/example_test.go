// SPDX-License-Identifier: Apache-2.0

package filestore_test

import (
	"context"
	"fmt"
	"os"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/filestore"
)

// A client whose publishes survive the end of the process and loss of power.
func Example() {
	dir, err := os.MkdirTemp("", "store")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	store, err := filestore.Open(dir, filestore.Options{})
	if err != nil {
		panic(err)
	}
	defer store.Close() // after the client

	client, err := mqtt5.NewClient(mqtt5.ClientOptions{
		Address:         "broker.example:1883",
		Connect:         mqtt5.ConnectPacket{ClientID: "thermostat-7", SessionExpiryIntervalSeconds: mqtt5.Ptr[uint32](86400)},
		SessionBehavior: mqtt5.SessionRejoinAlways,
		Durable:         mqtt5.StoreOptions{Store: store, ReturnWhenStored: true},
	})
	if err != nil {
		panic(err)
	}
	defer client.Close()

	// Without a connection: it is sent when there is one, by this process or another.
	result, err := client.Publish(context.Background(), &mqtt5.PublishPacket{Topic: "t", QoS: mqtt5.AtLeastOnce, Payload: []byte("21.5")})
	if err != nil {
		panic(err)
	}
	fmt.Println(result.Stage == mqtt5.StageStored, result.Durability)
	// Output: true synced
}

func ExampleOpen() {
	dir, err := os.MkdirTemp("", "store")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)

	store, err := filestore.Open(dir, filestore.Options{})
	if err != nil {
		panic(err) // errors.Is(err, mqtt5.ErrStoreLocked), ...
	}
	defer store.Close()

	durability, err := store.Commit([]mqtt5.StoreChange{
		{Action: mqtt5.StoreAppend, Record: mqtt5.StoreRecord{Kind: mqtt5.RecordPublish, ID: 1, Body: []byte("21.5")}},
		{Action: mqtt5.StoreAppend, Record: mqtt5.StoreRecord{Kind: mqtt5.RecordPublish, ID: 2, Body: []byte("21.7")}},
	})
	fmt.Println(durability, err)

	store.Iterate(mqtt5.RecordPublish, 0, func(r mqtt5.StoreRecord) bool {
		fmt.Printf("%d: %s\n", r.ID, r.Body)
		return true
	})
	// Output:
	// synced <nil>
	// 1: 21.5
	// 2: 21.7
}
