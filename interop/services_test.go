// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"reflect"
	"testing"

	"github.com/gocrt/aws-iot-device-sdk-go/iot/iottest"
)

// The service clients of the AWS IoT Device SDK for JavaScript v2 against the
// device services of the embedded core. The conversations are those of that
// SDK's own tests against the service.

type object = map[string]any

// serviceClients are the clients of that SDK, connected as a device.
func serviceClients(t *testing.T, c *iottest.Core, device *iottest.Device, version int) *node {
	t.Helper()
	files, err := device.WriteFiles(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	n := startNode(t, "services.js", "aws-iot-device-sdk-v2")
	n.must("connect", object{"version": version, "host": "localhost", "port": c.MTLSPort(), "clientId": device.Name(),
		"cert": files.Cert, "key": files.Key, "ca": files.CA}, nil)
	t.Cleanup(func() {
		if err := n.call("disconnect", nil, nil); err != nil {
			t.Errorf("disconnect: %v", err)
		}
	})
	return n
}

func (n *node) open(stream, service, create string, config object) {
	n.t.Helper()
	var opened struct{ Status int }
	n.must("open", object{"stream": stream, "service": service, "create": create, "config": config}, &opened)
	if opened.Status != 0 { // SubscriptionEstablished
		n.t.Fatalf("%s: subscription status %d", stream, opened.Status)
	}
}

// rejects wants a call to be rejected by the service.
func (n *node) rejects(call string, arguments object, field string, want any) {
	n.t.Helper()
	err := n.call(call, arguments, nil)
	var rejected *nodeError
	var modeled object
	if !errors.As(err, &rejected) || json.Unmarshal(rejected.Modeled, &modeled) != nil || !reflect.DeepEqual(modeled[field], want) {
		n.t.Errorf("%s: %v, want %s %v", call, err, field, want)
	}
}

// forVersions runs a case with MQTT 5 and 3.1.1.
func forVersions(t *testing.T, run func(t *testing.T, version int)) {
	for _, version := range []int{5, 3} {
		t.Run(fmt.Sprintf("MQTT%d", version), func(t *testing.T) {
			t.Parallel()
			run(t, version)
		})
	}
}

func TestServices_shadow(t *testing.T) {
	forVersions(t, func(t *testing.T, version int) {
		c := iottest.Start(t)
		n := serviceClients(t, c, c.Device(t, "thing"), version)
		id := object{"thingName": "thing", "shadowName": "name"}
		n.open("delta", "shadow", "createNamedShadowDeltaUpdatedStream", id)
		n.open("documents", "shadow", "createNamedShadowUpdatedStream", id)
		n.rejects("shadow.getNamedShadow", id, "code", 404.0)

		green, blue := object{"color": "green", "on": true}, object{"color": "blue", "on": false}
		type answer struct {
			State   struct{ Desired, Reported, Delta object }
			Version int
		}
		var got answer
		n.must("shadow.updateNamedShadow", with(id, object{"state": object{"desired": green, "reported": green}}), &got)
		if !reflect.DeepEqual(got.State.Desired, green) || !reflect.DeepEqual(got.State.Reported, green) || got.Version != 1 {
			t.Errorf("update: %+v", got)
		}
		var documents struct{ Previous, Current answer }
		n.next("documents", &documents)
		if !reflect.DeepEqual(documents.Current.State.Desired, green) || documents.Previous.State.Desired != nil {
			t.Errorf("documents: %+v", documents)
		}
		n.must("shadow.updateNamedShadow", with(id, object{"state": object{"desired": blue}}), nil)
		var delta struct {
			State   object
			Version int
		}
		n.next("delta", &delta)
		if !reflect.DeepEqual(delta.State, blue) || delta.Version != 2 {
			t.Errorf("delta: %+v", delta)
		}
		got = answer{}
		n.must("shadow.getNamedShadow", id, &got)
		if !reflect.DeepEqual(got.State.Delta, blue) {
			t.Errorf("get: %+v", got)
		}
		n.must("shadow.updateNamedShadow", with(id, object{"state": object{"reported": blue}, "version": 2}), nil)
		n.rejects("shadow.updateNamedShadow", with(id, object{"state": object{"reported": green}, "version": 2}), "code", 409.0)
		got = answer{}
		n.must("shadow.deleteNamedShadow", id, &got)
		if got.Version != 3 {
			t.Errorf("delete: %+v", got)
		}
		n.rejects("shadow.getNamedShadow", id, "code", 404.0)
	})
}

// The classic shadow, changed by a backend.
func TestServices_classicShadow(t *testing.T) {
	forVersions(t, func(t *testing.T, version int) {
		c := iottest.Start(t)
		n := serviceClients(t, c, c.Device(t, "thing"), version)
		classic := object{"thingName": "thing"}
		n.open("classic", "shadow", "createShadowDeltaUpdatedStream", classic)
		if _, err := c.UpdateShadow("thing", "", []byte(`{"state":{"desired":{"n":1}}}`)); err != nil {
			t.Fatal(err)
		}
		var delta struct{ State object }
		n.next("classic", &delta)
		if delta.State["n"] != 1.0 {
			t.Errorf("delta: %+v", delta)
		}
		n.must("close", object{"stream": "classic"}, nil)
		n.must("shadow.deleteShadow", classic, nil)
	})
}

func TestServices_jobs(t *testing.T) {
	forVersions(t, func(t *testing.T, version int) {
		c := iottest.Start(t)
		n := serviceClients(t, c, c.Device(t, "thing"), version)
		thing := object{"thingName": "thing"}
		job := object{"thingName": "thing", "jobId": "job-1"}
		n.open("changed", "jobs", "createJobExecutionsChangedStream", thing)
		n.open("next", "jobs", "createNextJobExecutionChangedStream", thing)
		nothing := func() {
			t.Helper()
			var pending struct{ InProgressJobs, QueuedJobs []object }
			n.must("jobs.getPendingJobExecutions", thing, &pending)
			if pending.InProgressJobs == nil || pending.QueuedJobs == nil || len(pending.InProgressJobs)+len(pending.QueuedJobs) > 0 {
				t.Errorf("pending: %+v", pending)
			}
		}
		nothing()
		if _, err := c.CreateJob(iottest.Job{ID: "job-1", Things: []string{"thing"}, Document: `{"test":"do-something1"}`}); err != nil {
			t.Fatal(err)
		}
		type execution struct {
			JobID       string
			Status      string
			JobDocument object
		}
		var changed struct {
			Jobs map[string][]execution
		}
		var next, answer struct {
			Execution *execution
			Timestamp any
		}
		n.next("changed", &changed)
		if len(changed.Jobs) != 1 || len(changed.Jobs["QUEUED"]) != 1 || changed.Jobs["QUEUED"][0].JobID != "job-1" {
			t.Errorf("changed: %+v", changed)
		}
		n.next("next", &next)
		if e := next.Execution; e == nil || e.JobID != "job-1" || e.Status != "QUEUED" || e.JobDocument["test"] != "do-something1" {
			t.Errorf("next: %+v", e)
		}
		n.must("jobs.startNextPendingJobExecution", thing, &answer)
		if e := answer.Execution; e == nil || e.JobID != "job-1" {
			t.Errorf("started: %+v", e)
		}
		n.must("jobs.describeJobExecution", job, &answer)
		if e := answer.Execution; e == nil || e.JobID != "job-1" || e.Status != "IN_PROGRESS" {
			t.Errorf("described: %+v", e)
		}
		n.rejects("jobs.updateJobExecution", with(job, object{"status": "SUCCEEDED", "expectedVersion": 99}), "code", "VersionMismatch")
		n.must("jobs.updateJobExecution", with(job, object{"status": "SUCCEEDED"}), nil)
		changed.Jobs, next.Execution, next.Timestamp = nil, nil, nil
		n.next("changed", &changed)
		n.next("next", &next)
		if len(changed.Jobs) != 0 || next.Execution != nil || next.Timestamp == nil {
			t.Errorf("after the job: %+v %+v", changed, next)
		}
		nothing()
		n.rejects("jobs.updateJobExecution", with(job, object{"status": "FAILED"}), "code", "InvalidStateTransition")
		n.rejects("jobs.describeJobExecution", object{"thingName": "thing", "jobId": "none"}, "code", "ResourceNotFound")
	})
}

func TestServices_identity(t *testing.T) {
	forVersions(t, func(t *testing.T, version int) {
		c := iottest.Start(t)
		if err := c.AddProvisioningTemplate(iottest.ProvisioningTemplate{Name: "fleet", Parameters: []string{"SerialNumber"},
			ThingName: "thing-${SerialNumber}", DeviceConfiguration: map[string]string{"a": "b"}}); err != nil {
			t.Fatal(err)
		}
		n := serviceClients(t, c, c.Device(t, "claim", iottest.WithPolicy(iottest.ClaimPolicy("fleet"))), version)
		type created struct {
			CertificateID             string
			CertificatePem            string
			PrivateKey                string
			CertificateOwnershipToken string
		}
		register := func(made created, serial string) {
			t.Helper()
			var registered struct {
				ThingName           string
				DeviceConfiguration map[string]string
			}
			n.must("identity.registerThing", object{"templateName": "fleet", "certificateOwnershipToken": made.CertificateOwnershipToken,
				"parameters": object{"SerialNumber": serial}}, &registered)
			if registered.ThingName != "thing-"+serial || registered.DeviceConfiguration["a"] != "b" {
				t.Errorf("registered: %+v", registered)
			}
			certificate, err := tls.X509KeyPair([]byte(made.CertificatePem), []byte(made.PrivateKey))
			if err != nil {
				t.Fatal(err)
			}
			config := c.TLSConfig(iottest.ALPNMQTTCA)
			config.Certificates = []tls.Certificate{certificate}
			conn, err := tls.Dial("tcp", c.Addr(), config)
			if err != nil {
				t.Fatalf("the new device does not get in: %v", err)
			}
			_ = conn.Close()
		}
		var made created
		n.must("identity.createKeysAndCertificate", object{}, &made)
		register(made, "1")

		csr, keyPEM := newSigningRequest(t)
		made = created{PrivateKey: keyPEM}
		n.must("identity.createCertificateFromCsr", object{"certificateSigningRequest": csr}, &made)
		register(made, "2")
		n.rejects("identity.registerThing", object{"templateName": "fleet", "certificateOwnershipToken": "x"}, "errorCode", "InvalidCertificateOwnershipToken")
	})
}

// newSigningRequest makes a key and a certificate signing request for it, both in PEM.
func newSigningRequest(t *testing.T) (csr, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	request, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, private)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalECPrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: request})),
		string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}))
}
