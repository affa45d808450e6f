// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/iot/iottest"
	"github.com/gocrt/aws-iot-device-sdk-go/iot/provisioning"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/request"
)

// deviceClient is a client of this SDK for a device. It is not started.
func deviceClient(t *testing.T, c *iottest.Core, device *iottest.Device) *mqtt5.Client {
	t.Helper()
	client, err := mqtt5.NewClient(mqtt5.ClientOptions{
		Address: c.Addr(),
		Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			d := tls.Dialer{Config: device.TLSConfig(iottest.ALPNMQTTCA)}
			return d.DialContext(ctx, network, address)
		},
		Connect:           mqtt5.ConnectPacket{ClientID: device.Name()},
		MinReconnectDelay: time.Millisecond,
		MaxReconnectDelay: time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// ours is a client for requests of this SDK, connected as a device.
func ours(t *testing.T, c *iottest.Core, device *iottest.Device) *request.Client {
	t.Helper()
	client := deviceClient(t, c, device)
	requests, err := request.New(client, request.Options{Timeout: patience})
	if err != nil {
		t.Fatal(err)
	}
	if err := client.Start(); err != nil {
		t.Fatal(err)
	}
	if err := client.WaitConnected(within(t)); err != nil {
		t.Fatal(err)
	}
	return requests
}

// received waits for a value.
func received[T any](t *testing.T, values <-chan T) T {
	t.Helper()
	select {
	case v := <-values:
		return v
	case <-within(t).Done():
		t.Fatal("nothing came")
		panic("not reached")
	}
}

// We and the JavaScript SDK provision at the same time, on the same topics:
// neither gets the answers of the other.
func TestBeside_provisioning(t *testing.T) {
	t.Parallel()
	for _, format := range []provisioning.Format{provisioning.JSON, provisioning.CBOR} {
		t.Run(format.String(), func(t *testing.T) {
			t.Parallel()
			c := iottest.Start(t)
			if err := c.AddProvisioningTemplate(iottest.ProvisioningTemplate{Name: "fleet", ThingName: "thing-${SerialNumber}",
				DeviceConfiguration: map[string]string{"a": "b"}}); err != nil {
				t.Fatal(err)
			}
			policy := iottest.WithPolicy(iottest.ClaimPolicy("fleet"))
			client, err := provisioning.NewClient(ours(t, c, c.Device(t, "ours", policy)), provisioning.ClientOptions{Format: format})
			if err != nil {
				t.Fatal(err)
			}
			n := serviceClients(t, c, c.Device(t, "theirs", policy), 5)
			theirs := make(chan string, 1)
			go func() {
				var made struct{ CertificateOwnershipToken string }
				if err := n.call("identity.createKeysAndCertificate", object{}, &made); err != nil {
					t.Errorf("the JavaScript SDK: %v", err)
				}
				theirs <- made.CertificateOwnershipToken
			}()
			ctx := within(t)
			made, err := client.CreateKeysAndCertificate(ctx)
			if err != nil {
				t.Fatal(err)
			}
			token := received(t, theirs)
			if token == "" || token == made.OwnershipToken {
				t.Errorf("the JavaScript SDK has the token %q", token)
			}
			_, err = client.RegisterThing(ctx, "fleet", token, map[string]string{"SerialNumber": "1"})
			var rejected *provisioning.RejectedError
			if !errors.As(err, &rejected) || rejected.ErrorCode != "InvalidCertificateOwnershipToken" {
				t.Errorf("a token of somebody else: %v", err)
			}
			thing, err := client.RegisterThing(ctx, "fleet", made.OwnershipToken, map[string]string{"SerialNumber": "1"})
			if err != nil || thing.ThingName != "thing-1" || thing.DeviceConfiguration["a"] != "b" {
				t.Errorf("registered %+v, %v", thing, err)
			}
		})
	}
}

// A device whose certificate nobody has registered yet gets in, but not at its
// first attempt.
func TestBeside_justInTime(t *testing.T) {
	t.Parallel()
	c := iottest.Start(t)
	if err := c.AddProvisioningTemplate(iottest.ProvisioningTemplate{Name: "jitp", ThingName: "thing-${AWS::IoT::Certificate::CommonName}"}); err != nil {
		t.Fatal(err)
	}
	if err := c.RegisterCA(iottest.RegisteredCA{Template: "jitp"}); err != nil {
		t.Fatal(err)
	}
	client := deviceClient(t, c, c.Device(t, "new", iottest.Unregistered()))
	if err := provisioning.JustInTime(within(t), client, patience); err != nil {
		t.Fatal(err)
	}
	for want := range 2 {
		if _, err := c.WaitFor(within(t), func(e iottest.Event) bool {
			if want == 0 {
				return errors.Is(e.Err, iottest.ErrJustInTime)
			}
			return e.Type == iottest.Connected && e.Client.Thing == "thing-new"
		}); err != nil {
			t.Errorf("event %d: %v", want, err)
		}
	}
}
