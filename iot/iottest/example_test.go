// SPDX-License-Identifier: Apache-2.0

package iottest_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/iot/iottest"
)

// In a test, Start ends the test on failure and closes the core with it.
func ExampleStart() {
	_ = func(t *testing.T) {
		core := iottest.Start(t, func(o *iottest.Options) { o.Region = "eu-central-1" })
		device := core.Device(t, "thermostat")
		files, err := device.WriteFiles(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		// Give the client under test the endpoint, the files and the way to dial.
		_, _, _, _ = core.Endpoint(), files.Cert, files.Key, core.DialContext
	}
}

// Outside of tests New and Close are the pair.
func ExampleNew() {
	core, err := iottest.New(iottest.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer core.Close()
	device, err := core.CreateDevice("thermostat")
	if err != nil {
		log.Fatal(err)
	}
	nc, err := core.DialContext(context.Background(), "tcp", net.JoinHostPort(core.Endpoint(), "443"))
	if err != nil {
		log.Fatal(err)
	}
	conn := tls.Client(nc, device.TLSConfig(iottest.ALPNMQTTCA))
	defer conn.Close()
	if err := conn.Handshake(); err != nil {
		log.Fatal(err)
	}
	fmt.Println(conn.ConnectionState().NegotiatedProtocol)
	fmt.Println(strings.HasSuffix(core.Endpoint(), "-ats.iot.us-east-1.amazonaws.com"))
	// Output:
	// x-amzn-mqtt-ca
	// true
}

// A device with policies may do what they allow, and nothing else.
func ExampleWithPolicy() {
	core, err := iottest.New(iottest.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer core.Close()
	device, err := core.CreateDevice("thermostat", iottest.WithPolicy(`{
		"Version": "2012-10-17",
		"Statement": [
			{"Effect": "Allow", "Action": "iot:Connect", "Resource": "arn:aws:iot:*:*:client/${iot:Connection.Thing.ThingName}"},
			{"Effect": "Allow", "Action": ["iot:Publish", "iot:Receive"], "Resource": "arn:aws:iot:*:*:topic/dt/${iot:ClientId}/*"}
		]}`))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(device.Name())
	// Output: thermostat
}

// The function of an authorizer stands for the Lambda function.
func ExampleCore_AddAuthorizer() {
	core, err := iottest.New(iottest.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer core.Close()
	err = core.AddAuthorizer(iottest.Authorizer{
		Name:            "by-password",
		SigningDisabled: true,
		Default:         true,
		Handler: func(_ context.Context, r *iottest.AuthorizerRequest) (*iottest.AuthorizerResponse, error) {
			if string(r.Password) != "open sesame" {
				return nil, errors.New("wrong password")
			}
			return &iottest.AuthorizerResponse{IsAuthenticated: true, PrincipalID: "guest",
				Policies: []string{iottest.AllowAllPolicy}}, nil
		},
	})
	fmt.Println(err)
	// Output: <nil>
}

// Subscribe and Publish play a service behind the broker.
func ExampleCore_Subscribe() {
	core, err := iottest.New(iottest.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer core.Close()
	cancel := core.Subscribe("$aws/things/+/shadow/get", func(m *iottest.Message) {
		_ = core.Publish(iottest.Message{
			Topic: m.Topic + "/rejected", QoS: 1, Payload: []byte(`{"code":404,"message":"No shadow exists"}`),
		})
	})
	defer cancel()
}

// WaitFor waits for what happens in the core, without sleeping.
func ExampleCore_WaitFor() {
	_ = func(t *testing.T) {
		core := iottest.Start(t)
		e, err := core.WaitFor(t.Context(), func(e iottest.Event) bool {
			return e.Type == iottest.Connected && e.ClientID == "thermostat"
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Log(e.Client.ALPN, e.Client.Username)
	}
}

// A signature is accepted for a key that the core made.
func ExampleCore_CreateAccessKey() {
	core, err := iottest.New(iottest.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer core.Close()
	key, err := core.CreateAccessKey(iottest.AccessKeyOptions{Lifetime: 3600e9})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(key.SessionToken != "", strings.Contains(fmt.Sprintf("%+v", *key), key.SecretAccessKey))
	// Output: true false
}

// Faults disturb the connections to come.
func ExampleCore_SetFaults() {
	core, err := iottest.New(iottest.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer core.Close()
	// The next three CONNECTs are refused, then all is well again.
	core.SetFaults(iottest.Faults{RefuseConnects: iottest.ServerBusy, Times: 3})
}

// Clients that are connected can be disturbed one by one.
func ExampleCore_RefuseOperations() {
	_ = func(t *testing.T) {
		core := iottest.Start(t)
		// ... "thermostat" connects ...
		core.RefuseOperations("thermostat", iottest.QuotaExceeded) // PUBACK and SUBACK have 0x97
		core.RefuseOperations("thermostat", iottest.Success)
		core.Drop("thermostat", true) // nothing is answered, though the connection is up
		core.Drop("thermostat", false)
		core.Disconnect("thermostat", iottest.AdministrativeAction)
	}
}

// What ends with time ends without waiting.
func ExampleCore_Advance() {
	_ = func(t *testing.T) {
		core := iottest.Start(t)
		core.Advance(time.Hour) // sessions, messages, credentials expire; signatures made now are refused
		core.Advance(-time.Hour)
	}
}
