// SPDX-License-Identifier: Apache-2.0

package provisioning_test

import (
	"context"
	"log"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/iot/provisioning"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/request"
)

// newClient stands for the constructors of package iot, such as
// iot.NewMTLSFromPath and iot.NewMTLSFromBytes.
func newClient(certificate, key string) (*mqtt5.Client, error) {
	return mqtt5.NewClient(mqtt5.ClientOptions{Address: "broker:8883"})
}

// A device calls this at every start: the first time it gets its identity, later
// it finds it in the store.
func Example() {
	store, err := provisioning.NewFileStore("/var/lib/thermostat/identity")
	if err != nil {
		log.Fatal(err)
	}
	device, err := provisioning.Provision(context.Background(), provisioning.Options{
		Template:    "thermostats",
		Parameters:  map[string]string{"SerialNumber": "7"},
		Store:       store,
		StartJitter: time.Minute,
		NewClaim: func(context.Context) (*mqtt5.Client, error) {
			return newClient("claim.pem.crt", "claim.pem.key")
		},
		NewDevice: func(_ context.Context, identity *provisioning.Identity) (*mqtt5.Client, error) {
			return newClient(store.CertificatePath(), store.KeyPath())
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer device.Client.Close()
	log.Printf("%s is connected", device.Identity.ThingName)
}

// The single operations.
func ExampleClient() {
	claim, err := newClient("claim.pem.crt", "claim.pem.key")
	if err != nil {
		log.Fatal(err)
	}
	requests, err := request.New(claim, request.Options{})
	if err != nil {
		log.Fatal(err)
	}
	client, err := provisioning.NewClient(requests, provisioning.ClientOptions{Format: provisioning.CBOR})
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	created, err := client.CreateKeysAndCertificate(ctx)
	if err != nil {
		log.Fatal(err)
	}
	// Store certificate and key before the next request.
	thing, err := client.RegisterThing(ctx, "thermostats", created.OwnershipToken, map[string]string{"SerialNumber": "7"})
	if err != nil {
		log.Fatal(err)
	}
	log.Print(thing.ThingName)
}

func ExampleJustInTime() {
	client, err := newClient("device.pem.crt", "device.pem.key") // signed by a CA that is registered
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	if err := provisioning.JustInTime(context.Background(), client, time.Minute); err != nil {
		log.Fatal(err)
	}
}
