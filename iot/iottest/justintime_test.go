// SPDX-License-Identifier: Apache-2.0

package iottest_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/iot/iottest"
)

// A device of a registered CA becomes a thing at its first attempt, which fails.
func TestRegisterCA_provisioning(t *testing.T) {
	t.Parallel()
	c := iottest.Start(t)
	if err := c.RegisterCA(iottest.RegisteredCA{Template: "none"}); err == nil {
		t.Error("a CA with a template that does not exist")
	}
	if err := c.AddProvisioningTemplate(iottest.ProvisioningTemplate{Name: "jitp", ThingName: "thing-${AWS::IoT::Certificate::CommonName}"}); err != nil {
		t.Fatal(err)
	}
	early := c.Device(t, "early", iottest.Unregistered())
	for range 2 {
		if connectWith(t, c, early.TLSCertificate(), "x") {
			t.Fatal("connected before the CA was registered")
		}
	}
	if err := c.RegisterCA(iottest.RegisteredCA{Template: "jitp", Delay: time.Minute}); err != nil {
		t.Fatal(err)
	}
	d := c.Device(t, "new", iottest.Unregistered())
	for range 2 {
		if connectWith(t, c, d.TLSCertificate(), "x") {
			t.Fatal("connected at the first attempt")
		}
	}
	if _, err := c.WaitFor(t.Context(), func(e iottest.Event) bool { return errors.Is(e.Err, iottest.ErrJustInTime) }); err != nil {
		t.Error(err)
	}
	c.Advance(time.Minute)
	if !connectWith(t, c, d.TLSCertificate(), "x") {
		t.Fatal("not connected after it was provisioned")
	}
	if _, err := c.WaitFor(t.Context(), func(e iottest.Event) bool {
		return e.Type == iottest.Connected && e.Client.Thing == "thing-new"
	}); err != nil {
		t.Error(err)
	}
	expired := c.Device(t, "old", iottest.Unregistered(), iottest.WithValidity(time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour)))
	for range 2 {
		if connectWith(t, c, expired.TLSCertificate(), "x") {
			t.Error("connected with an expired certificate")
		}
	}
	if err := c.RegisterCA(iottest.RegisteredCA{Certificate: d.X509()}); err == nil {
		t.Error("a CA that is none")
	}
}

// Without a template somebody has to activate the certificate, who learns of it
// by an event.
func TestRegisterCA_registration(t *testing.T) {
	t.Parallel()
	c := iottest.Start(t, plain)
	watcher := serviceClient(t, c, "watcher", "$aws/events/certificates/registered/+")
	if err := c.RegisterCA(iottest.RegisteredCA{}); err != nil {
		t.Fatal(err)
	}
	d := c.Device(t, "new", iottest.Unregistered())
	if connectWith(t, c, d.TLSCertificate(), "x") {
		t.Fatal("connected at the first attempt")
	}
	f := watcher.expect(tPublish)
	var event map[string]any
	if err := json.Unmarshal(f.payload, &event); err != nil {
		t.Fatal(err)
	}
	ca, _ := event["caCertificateId"].(string)
	if !strings.HasSuffix(f.topic, "/"+ca) || event["certificateId"] != d.CertificateID() || event["certificateStatus"] != "PENDING_ACTIVATION" {
		t.Errorf("%s %v", f.topic, event)
	}
	if connectWith(t, c, d.TLSCertificate(), "x") {
		t.Error("connected although nobody activated the certificate")
	}
}
