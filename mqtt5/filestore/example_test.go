// SPDX-License-Identifier: Apache-2.0

package filestore_test

import (
	"fmt"
	"os"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/filestore"
)

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
