// SPDX-License-Identifier: Apache-2.0

// Command provisioning gives a device its own certificate and thing by fleet
// provisioning: with a claim, or with what an earlier run has stored.
package main

import (
	"context"
	"errors"
	"flag"
	"path/filepath"

	"github.com/gocrt/aws-iot-device-sdk-go/iot"
	"github.com/gocrt/aws-iot-device-sdk-go/iot/iottest"
	"github.com/gocrt/aws-iot-device-sdk-go/iot/provisioning"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
	"github.com/gocrt/aws-iot-device-sdk-go/samples/internal/sample"
)

func main() {
	app := sample.New("provisioning", "Gets a certificate and a thing by fleet provisioning.")
	claim := app.CertFlags() // -cert and -key are those of the claim
	template := flag.String("template", "", "`name` of the provisioning template")
	serial := flag.String("serial", "7", "serial `number` of the device, a parameter of the template")
	dir := flag.String("store", "", "`folder` for the identity (default: a temporary one)")
	app.Allow("serial", "store")

	app.Run(func(ctx context.Context) (err error) {
		if app.Local() {
			err = local(app, claim, template)
		} else {
			err = app.Require("cert", "key", "template")
		}
		if err != nil {
			return err
		}
		if *dir == "" {
			temporary, err := app.TempDir()
			if err != nil {
				return err
			}
			*dir = filepath.Join(temporary, "identity")
		}
		store, err := provisioning.NewFileStore(*dir)
		if err != nil {
			return err
		}
		options := provisioning.Options{
			Template:   *template,
			Parameters: map[string]string{"SerialNumber": *serial},
			Store:      store,
			NewClaim: func(context.Context) (*mqtt5.Client, error) {
				return claim.Client(app.Options()...)
			},
			NewDevice: func(_ context.Context, identity *provisioning.Identity) (*mqtt5.Client, error) {
				return iot.NewMTLSFromPath(app.Endpoint, store.CertificatePath(), store.KeyPath(), append(app.Options(), iot.WithClientID(identity.ThingName))...)
			},
			OnEvent: func(e provisioning.Event) {
				if e.Err != nil {
					app.Printf("Trying again: %v", e.Err)
				} else {
					app.Printf("Stored: %s", e.Phase)
				}
			},
		}
		// Twice: the second time the device finds what it has stored.
		for range 2 {
			limited, cancel := context.WithTimeout(ctx, sample.Timeout)
			device, err := provisioning.Provision(limited, options)
			cancel()
			if err != nil {
				return err
			}
			app.Printf("This is thing %s with %v.", device.Identity.ThingName, device.Identity.DeviceConfiguration)
			if err := greet(ctx, app, device.Client); err != nil {
				return err
			}
		}
		return nil
	})
}

// local makes a template and a claim in the embedded core.
func local(app *sample.App, claim *sample.CertFlags, template *string) error {
	*template = "sample-fleet"
	if err := app.Core.AddProvisioningTemplate(iottest.ProvisioningTemplate{
		Name: *template, ThingName: "device-${SerialNumber}", Parameters: []string{"SerialNumber"},
		DeviceConfiguration: map[string]string{"color": "green"},
	}); err != nil {
		return err
	}
	files, err := app.Device(iottest.WithPolicy(iottest.ClaimPolicy(*template)))
	if err != nil {
		return err
	}
	dir, err := app.TempDir()
	if err != nil {
		return err
	}
	written, err := files.WriteFiles(filepath.Join(dir, "claim"))
	if err != nil {
		return err
	}
	*claim.Cert, *claim.Key = written.Cert, written.Key
	app.Printf("Made the provisioning template %s and a claim there.", *template)
	return nil
}

// greet publishes one message with the new identity and ends the connection.
func greet(ctx context.Context, app *sample.App, client *mqtt5.Client) (err error) {
	defer func() { err = errors.Join(err, client.Close()) }()
	ctx, cancel := context.WithTimeout(ctx, sample.Timeout)
	defer cancel()
	if _, err := client.Publish(ctx, &mqtt5.PublishPacket{Topic: app.Topic, Payload: []byte(app.Message), QoS: mqtt5.AtLeastOnce}); err != nil {
		return err
	}
	app.Printf("Published a message with the new identity.")
	return client.Stop(ctx, nil)
}
