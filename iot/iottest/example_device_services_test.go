// SPDX-License-Identifier: Apache-2.0

package iottest_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/iot/iottest"
)

// A job is queued for a thing. The device would learn of it on the topics of
// the jobs service; here the calls of the data plane stand in for it.
func ExampleCore_CreateJob() {
	core, err := iottest.New(iottest.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer core.Close()
	id, err := core.CreateJob(iottest.Job{ID: "reboot-1", Things: []string{"thermostat"}, Document: `{"operation":"reboot"}`})
	if err != nil {
		log.Fatal(err)
	}
	_, err = core.UpdateJobExecution("thermostat", id, []byte(`{"status":"SUCCEEDED","expectedVersion":2}`))
	fmt.Println(err)
	if _, err = core.UpdateJobExecution("thermostat", id, []byte(`{"status":"SUCCEEDED"}`)); err != nil {
		log.Fatal(err)
	}
	execution, _ := core.JobExecution(id, "thermostat")
	fmt.Println(execution.Status)
	// Output:
	// iottest: jobs: 409 VersionMismatch: Expected version 2 but found version 1
	// SUCCEEDED
}

// A backend changes the desired state of a shadow; devices get the delta.
func ExampleCore_UpdateShadow() {
	core, err := iottest.New(iottest.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer core.Close()
	if _, err := core.UpdateShadow("thermostat", "", []byte(`{"state":{"desired":{"celsius":21}}}`)); err != nil {
		log.Fatal(err)
	}
	_, err = core.UpdateShadow("thermostat", "", []byte(`{"state":{"desired":{"celsius":22}},"version":7}`))
	var rejected *iottest.ServiceError
	if errors.As(err, &rejected) {
		fmt.Println(rejected.Status, rejected.Message)
	}
	// Output: 409 Version conflict
}

// The second answer gets lost, all others come 3 seconds late on the core's clock.
func ExampleCore_SetServiceFaults() {
	core, err := iottest.New(iottest.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer core.Close()
	core.SetServiceFaults(
		iottest.ServiceFault{Service: iottest.ServiceShadow, Operation: "get", Delay: 3 * time.Second, Times: 1},
		iottest.ServiceFault{Service: iottest.ServiceShadow, Operation: "get", Lose: true, Times: 1},
		iottest.ServiceFault{Service: iottest.ServiceShadow, Operation: "get", Delay: 3 * time.Second},
	)
}

// Devices that connect with a claim become things, if the hook agrees.
func ExampleCore_AddProvisioningTemplate() {
	core, err := iottest.New(iottest.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer core.Close()
	err = core.AddProvisioningTemplate(iottest.ProvisioningTemplate{
		Name:       "fleet",
		ThingName:  "thermostat-${SerialNumber}",
		Parameters: []string{"SerialNumber"},
		Policies:   []string{iottest.AllowAllPolicy},
		Hook: func(_ context.Context, r *iottest.ProvisioningRequest) (*iottest.ProvisioningDecision, error) {
			return &iottest.ProvisioningDecision{AllowProvisioning: r.Parameters["SerialNumber"] != "stolen"}, nil
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	claim, err := core.CreateDevice("claim", iottest.WithPolicy(iottest.ClaimPolicy("fleet")))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(claim.Name())
	// Output: claim
}

// A command that no device answers times out.
func ExampleCore_SendCommand() {
	core, err := iottest.New(iottest.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer core.Close()
	id, err := core.SendCommand(iottest.Command{ID: "reboot", Thing: "thermostat", Payload: []byte(`{"in":5}`), Timeout: time.Minute})
	if err != nil {
		log.Fatal(err)
	}
	core.Advance(time.Minute)
	execution, _ := core.CommandExecution(id)
	fmt.Println(execution.Status, execution.ReasonCode)
	// Output: TIMED_OUT $NO_RESPONSE_FROM_DEVICE
}

// A rule takes what devices send it by basic ingest.
func ExampleCore_AddRule() {
	core, err := iottest.New(iottest.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer core.Close()
	done := make(chan struct{})
	remove, err := core.AddRule("store", func(m *iottest.Message) {
		fmt.Println(m.Topic, string(m.Payload))
		close(done)
	})
	if err != nil {
		log.Fatal(err)
	}
	defer remove()
	if err := core.Publish(iottest.Message{Topic: "$aws/rules/store/dt/thermostat", Payload: []byte("21")}); err != nil {
		log.Fatal(err)
	}
	<-done
	// Output: dt/thermostat 21
}

// The first connection of a device whose certificate is not registered yet
// fails; then the device is a thing.
func ExampleCore_RegisterCA() {
	core, err := iottest.New(iottest.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer core.Close()
	err = core.AddProvisioningTemplate(iottest.ProvisioningTemplate{Name: "jitp", ThingName: "${AWS::IoT::Certificate::CommonName}"})
	if err != nil {
		log.Fatal(err)
	}
	if err := core.RegisterCA(iottest.RegisteredCA{Template: "jitp"}); err != nil {
		log.Fatal(err)
	}
	device, err := core.CreateDevice("thermostat", iottest.Unregistered())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(device.Name())
	// Output: thermostat
}

// A direct message reaches a client that subscribed to nothing.
func ExampleCore_SendDirectMessage() {
	core, err := iottest.New(iottest.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer core.Close()
	err = core.SendDirectMessage(context.Background(), "thermostat", iottest.Message{Topic: "thermostat/blink", Payload: []byte("{}")})
	fmt.Println(err)
	// Output: iottest: direct: 404 ResourceNotFound: Client thermostat is not connected
}
