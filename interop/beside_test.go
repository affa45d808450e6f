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
	"github.com/gocrt/aws-iot-device-sdk-go/iot/jobs"
	"github.com/gocrt/aws-iot-device-sdk-go/iot/provisioning"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/request"
)

// The service clients of this SDK in the conversations of services_test.go, and beside the JavaScript SDK on the same
// thing.

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

// jobNews are the notifications that our client got.
type jobNews struct {
	changed chan *jobs.ExecutionsChanged
	next    chan *jobs.NextExecutionChanged
}

func watchJobs(t *testing.T, client *jobs.Client) *jobNews {
	t.Helper()
	news := &jobNews{make(chan *jobs.ExecutionsChanged, 100), make(chan *jobs.NextExecutionChanged, 100)}
	all, err := client.WatchExecutions(func(_ context.Context, n *jobs.ExecutionsChanged) { news.changed <- n }, jobs.WatchOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(all.Close)
	next, err := client.WatchNext(func(_ context.Context, n *jobs.NextExecutionChanged) { news.next <- n }, jobs.WatchOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(next.Close)
	if err := errors.Join(all.WaitEstablished(t.Context()), next.WaitEstablished(t.Context())); err != nil {
		t.Fatal(err)
	}
	return news
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

// The conversation of the "jobsv2 processing" test of the JavaScript SDK, which looks on.
func TestBeside_jobs(t *testing.T) {
	t.Parallel()
	c := iottest.Start(t)
	client, err := jobs.NewClient(ours(t, c, c.Device(t, "ours")), "thing", jobs.Options{})
	if err != nil {
		t.Fatal(err)
	}
	n := serviceClients(t, c, c.Device(t, "theirs"), 5)
	thing, job := object{"thingName": "thing"}, object{"thingName": "thing", "jobId": "job-1"}
	n.open("changed", "jobs", "createJobExecutionsChangedStream", thing)
	n.open("next", "jobs", "createNextJobExecutionChangedStream", thing)
	news, ctx := watchJobs(t, client), within(t)

	pending, err := client.GetPending(ctx)
	if err != nil || len(pending.InProgress)+len(pending.Queued) > 0 {
		t.Fatalf("pending: %+v, %v", pending, err)
	}
	if _, err := c.CreateJob(iottest.Job{ID: "job-1", Things: []string{"thing"}, Document: `{"test":"do-something1"}`}); err != nil {
		t.Fatal(err)
	}
	if changed := received(t, news.changed); len(changed.Jobs[jobs.Queued]) != 1 || changed.Jobs[jobs.Queued][0].JobID != "job-1" {
		t.Errorf("changed: %+v", changed)
	}
	if next := received(t, news.next); next.Execution == nil || next.Execution.JobID != "job-1" || next.Execution.Status != jobs.Queued ||
		string(next.Execution.Document) != `{"test":"do-something1"}` {
		t.Errorf("next: %+v", next)
	}
	if started, err := client.StartNext(ctx, nil); err != nil || started.JobID != "job-1" {
		t.Fatalf("start: %+v, %v", started, err)
	}
	if described, err := client.Describe(ctx, "job-1", nil); err != nil || described.Status != jobs.InProgress || described.VersionNumber != 2 {
		t.Errorf("describe: %+v, %v", described, err)
	}
	var theirs struct {
		Execution struct{ Status string }
	}
	n.must("jobs.describeJobExecution", job, &theirs)
	if theirs.Execution.Status != "IN_PROGRESS" {
		t.Errorf("the JavaScript SDK sees %+v", theirs)
	}
	n.must("jobs.updateJobExecution", object{"thingName": "thing", "jobId": "job-1", "status": "IN_PROGRESS"}, nil)
	_, err = client.Update(ctx, "job-1", &jobs.UpdateRequest{Status: jobs.Succeeded, ExpectedVersion: 2})
	var rejected *jobs.RejectedError
	if !errors.As(err, &rejected) || rejected.Code != jobs.VersionMismatch {
		t.Errorf("an update that the JavaScript SDK overtook: %v", err)
	}
	if _, err := client.Update(ctx, "job-1", &jobs.UpdateRequest{Status: jobs.Succeeded, ExpectedVersion: 3}); err != nil {
		t.Error(err)
	}
	if changed := received(t, news.changed); len(changed.Jobs) != 0 {
		t.Errorf("changed: %+v", changed)
	}
	if next := received(t, news.next); next.Execution != nil || next.Timestamp.IsZero() {
		t.Errorf("next: %+v", next)
	}
	for range 2 { // queued and done
		n.next("changed", &object{})
		n.next("next", &object{})
	}
	n.rejects("jobs.updateJobExecution", object{"thingName": "thing", "jobId": "job-1", "status": "FAILED"}, "code", "InvalidStateTransition")
}

// The conversations of the "identityv2 provisioning" tests of the JavaScript SDK, which provisions at the same time with
// the same claim policy: neither gets the answers of the other.
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
			if _, err := tls.X509KeyPair([]byte(made.CertificatePEM), []byte(made.PrivateKeyPEM)); err != nil {
				t.Error(err)
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
			csr, _ := newSigningRequest(t)
			second, err := client.CreateCertificateFromCSR(ctx, csr)
			if err != nil {
				t.Fatal(err)
			}
			if thing, err = client.RegisterThing(ctx, "fleet", second.OwnershipToken, map[string]string{"SerialNumber": "2"}); err != nil || thing.ThingName != "thing-2" {
				t.Errorf("registered %+v, %v", thing, err)
			}
		})
	}
}

// A device whose certificate nobody has registered yet gets in, but not at its first attempt.
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
