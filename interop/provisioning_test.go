// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/iot"
	"github.com/gocrt/aws-iot-device-sdk-go/iot/iottest"
	"github.com/gocrt/aws-iot-device-sdk-go/iot/provisioning"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/request"
)

// fleet is a core with a provisioning template, and the files of a claim.
type fleet struct {
	*iottest.Core
	claim iottest.Files
}

func newFleet(t *testing.T, options ...func(*iottest.Options)) *fleet {
	t.Helper()
	c := iottest.Start(t, options...)
	if err := c.AddProvisioningTemplate(iottest.ProvisioningTemplate{
		Name: "fleet", Parameters: []string{"SerialNumber"}, ThingName: "thing-${SerialNumber}", DeviceConfiguration: map[string]string{"a": "b"},
	}); err != nil {
		t.Fatal(err)
	}
	files, err := c.Device(t, "claim", iottest.WithPolicy(iottest.ClaimPolicy("fleet"))).WriteFiles(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return &fleet{c, files}
}

// identityClient connects with a certificate and a key in files.
func identityClient(address, ca, certificate, key, id string, dial func(ctx context.Context, network, address string) (net.Conn, error)) (*mqtt5.Client, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		return nil, err
	}
	options := []iot.Option{iot.WithPort(n), iot.WithCAFile(ca), iot.WithClientID(id), iot.WithClientOptions(func(o *mqtt5.ClientOptions) {
		o.MinReconnectDelay, o.MaxReconnectDelay = time.Millisecond, time.Millisecond
	})}
	if dial != nil {
		options = append(options, iot.WithDialer(dial))
	}
	return iot.NewMTLSFromPath(host, certificate, key, options...)
}

// provisionOptions are those of a device with a store in a folder.
func provisionOptions(address string, claim iottest.Files, store *provisioning.FileStore, dial func(context.Context, string, string) (net.Conn, error)) provisioning.Options {
	return provisioning.Options{
		Template: "fleet", Parameters: map[string]string{"SerialNumber": "7"}, Store: store, MaxRetryDelay: 10 * time.Millisecond, MinRetryDelay: time.Millisecond,
		RequestTimeout: 5 * time.Second,
		NewClaim: func(context.Context) (*mqtt5.Client, error) {
			return identityClient(address, claim.CA, claim.Cert, claim.Key, "claim", dial)
		},
		NewDevice: func(_ context.Context, identity *provisioning.Identity) (*mqtt5.Client, error) {
			return identityClient(address, claim.CA, store.CertificatePath(), store.KeyPath(), identity.ThingName, dial)
		},
	}
}

// TestProvisioning_conversation is the conversation of the provisioning test of
// the JavaScript SDK, with our client and in both formats.
func TestProvisioning_conversation(t *testing.T) {
	t.Parallel()
	for _, format := range []provisioning.Format{provisioning.JSON, provisioning.CBOR} {
		t.Run(format.String(), func(t *testing.T) {
			t.Parallel()
			f, ctx := newFleet(t), within(t)
			claim, err := identityClient("localhost:"+strconv.Itoa(f.MTLSPort()), f.claim.CA, f.claim.Cert, f.claim.Key, "claim", nil)
			if err != nil {
				t.Fatal(err)
			}
			defer claim.Close()
			if err := claim.Start(); err != nil {
				t.Fatal(err)
			}
			requests, err := request.New(claim, request.Options{Timeout: patience})
			if err != nil {
				t.Fatal(err)
			}
			client, err := provisioning.NewClient(requests, provisioning.ClientOptions{Format: format})
			if err != nil {
				t.Fatal(err)
			}
			made, err := client.CreateKeysAndCertificate(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := tls.X509KeyPair([]byte(made.CertificatePEM), []byte(made.PrivateKeyPEM)); err != nil {
				t.Error(err)
			}
			thing, err := client.RegisterThing(ctx, "fleet", made.OwnershipToken, map[string]string{"SerialNumber": "1"})
			if err != nil || thing.ThingName != "thing-1" || thing.DeviceConfiguration["a"] != "b" {
				t.Errorf("%+v, %v", thing, err)
			}
			var rejected *provisioning.RejectedError
			if _, err := client.RegisterThing(ctx, "fleet", "wrong", nil); !errors.As(err, &rejected) || rejected.StatusCode != 400 || rejected.ErrorCode != "InvalidCertificateOwnershipToken" {
				t.Error(err)
			}
			if _, err := client.CreateCertificateFromCSR(ctx, "no CSR"); !errors.As(err, &rejected) || rejected.StatusCode != 400 {
				t.Error(err)
			}
		})
	}
}

// TestProvisioning_faults provisions while the service loses, repeats, delays and
// rejects.
func TestProvisioning_faults(t *testing.T) {
	t.Parallel()
	throttled := &iottest.ServiceError{Service: iottest.ServiceProvisioning, Status: 429, Code: "Throttled", Message: "too many"}
	for name, tt := range map[string]struct {
		fault   iottest.ServiceFault
		options func(*iottest.Options)
		change  func(*provisioning.Options)
	}{
		"none":          {},
		"CBOR":          {change: func(o *provisioning.Options) { o.Format = provisioning.CBOR }},
		"service key":   {change: func(o *provisioning.Options) { o.ServiceKey = true }},
		"answers lost":  {fault: iottest.ServiceFault{Lose: true, Times: 2}},
		"ignored":       {fault: iottest.ServiceFault{Ignore: true, Times: 2}},
		"twice":         {fault: iottest.ServiceFault{Duplicate: true}},
		"throttled":     {fault: iottest.ServiceFault{Reject: throttled, Times: 3}},
		"token is used": {fault: iottest.ServiceFault{Operation: "provision", Lose: true, Times: 1}, options: func(o *iottest.Options) { o.Services.ProvisionTokensOnce = true }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var options []func(*iottest.Options)
			if tt.options != nil {
				options = append(options, tt.options)
			}
			f := newFleet(t, options...)
			if tt.fault != (iottest.ServiceFault{}) {
				tt.fault.Service = iottest.ServiceProvisioning
				f.SetServiceFaults(tt.fault)
			}
			store, err := provisioning.NewFileStore(filepath.Join(t.TempDir(), "identity"))
			if err != nil {
				t.Fatal(err)
			}
			o := provisionOptions("localhost:"+strconv.Itoa(f.MTLSPort()), f.claim, store, nil)
			o.RequestTimeout = time.Second
			if tt.change != nil {
				tt.change(&o)
			}
			device, err := provisioning.Provision(within(t), o)
			if err != nil {
				t.Fatal(err)
			}
			defer device.Client.Close()
			if device.Identity.ThingName != "thing-7" || device.Client.State() != mqtt5.StateConnected {
				t.Errorf("%+v", device.Identity)
			}
		})
	}
}

// TestProvisioning_hook refuses a device.
func TestProvisioning_hook(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	if err := f.AddProvisioningTemplate(iottest.ProvisioningTemplate{Name: "fleet", Hook: func(context.Context, *iottest.ProvisioningRequest) (*iottest.ProvisioningDecision, error) {
		return &iottest.ProvisioningDecision{}, nil
	}}); err != nil {
		t.Fatal(err)
	}
	store, err := provisioning.NewFileStore(filepath.Join(t.TempDir(), "identity"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = provisioning.Provision(within(t), provisionOptions("localhost:"+strconv.Itoa(f.MTLSPort()), f.claim, store, nil))
	var rejected *provisioning.RejectedError
	if !errors.As(err, &rejected) || rejected.StatusCode != 403 {
		t.Error(err)
	}
}

// mortal kills its process at the n-th step: a read or write of a connection, or
// a side of an access to the store.
type mortal struct {
	t *testing.T

	mu    sync.Mutex
	steps int
	last  int
}

func (m *mortal) step() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.steps++; m.steps == m.last {
		kill(m.t)
	}
}

// dial makes connections whose reads and writes are steps.
func (m *mortal) dial(ctx context.Context, network, address string) (net.Conn, error) {
	m.step()
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return &mortalConn{conn, m}, nil
}

type mortalConn struct {
	net.Conn
	m *mortal
}

func (c *mortalConn) Write(p []byte) (int, error) {
	c.m.step()
	return c.Conn.Write(p)
}

func (c *mortalConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 {
		c.m.step()
	}
	return n, err
}

type mortalStore struct {
	provisioning.Store
	m *mortal
}

func (s *mortalStore) Save(state *provisioning.State) error {
	s.m.step()
	defer s.m.step()
	return s.Store.Save(state)
}

// provisionProcess is the environment variable that makes this test binary a
// device: it holds the address of the core, the files of the claim, the folder of
// the store, and the step at which to die.
const provisionProcess = "INTEROP_PROVISION_PROCESS"

// TestProvisioning_process is the device of TestProvisioning_killed, in a process
// of its own. It prints how many steps it took.
func TestProvisioning_process(t *testing.T) {
	fields := strings.Split(os.Getenv(provisionProcess), "|")
	if len(fields) != 6 {
		return
	}
	last, err := strconv.Atoi(fields[5])
	if err != nil {
		t.Fatal(err)
	}
	m := &mortal{t: t, last: last}
	store, err := provisioning.NewFileStore(fields[4])
	if err != nil {
		t.Fatal(err)
	}
	o := provisionOptions(fields[0], iottest.Files{CA: fields[1], Cert: fields[2], Key: fields[3]}, store, m.dial)
	o.Store = &mortalStore{store, m}
	device, err := provisioning.Provision(within(t), o)
	if err != nil {
		t.Fatal(err)
	}
	if err := device.Client.Close(); err != nil {
		t.Fatal(err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	fmt.Printf("%s took %d steps\n", device.Identity.ThingName, m.steps)
}

// A device is killed at every step of its provisioning. The next life has the
// identity in the end: one thing, at most one more certificate, which the service
// deletes, and a key that never changes once a certificate was asked for.
func TestProvisioning_killed(t *testing.T) {
	t.Parallel()
	life := func(t *testing.T, f *fleet, folder string, last int) (string, error) {
		cmd := exec.CommandContext(within(t), os.Args[0], "-test.run=^TestProvisioning_process$", "-test.timeout=2m")
		cmd.Env = append(os.Environ(), fmt.Sprintf("%s=localhost:%d|%s|%s|%s|%s|%d", provisionProcess, f.MTLSPort(), f.claim.CA, f.claim.Cert, f.claim.Key, folder, last))
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	out, err := life(t, newFleet(t), filepath.Join(t.TempDir(), "identity"), 0)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var steps int
	if _, err := fmt.Sscanf(out, "thing-7 took %d steps", &steps); err != nil || steps < 30 {
		t.Fatalf("%d steps, %v\n%s", steps, err, out)
	}
	var killed atomic.Int32
	t.Run("steps", func(t *testing.T) {
		for step := 1; step <= steps; step++ {
			t.Run(strconv.Itoa(step), func(t *testing.T) {
				t.Parallel()
				f, folder := newFleet(t), filepath.Join(t.TempDir(), "identity")
				if _, err := life(t, f, folder, step); err == nil {
					return // this life took fewer steps
				}
				killed.Add(1)
				key, keyErr := os.ReadFile(filepath.Join(folder, provisioning.KeyFile))
				asked := certificates(f.Core) > 0
				if out, err := life(t, f, folder, 0); err != nil {
					t.Fatalf("%v\n%s", err, out)
				}
				if n := certificates(f.Core); n < 1 || n > 2 {
					t.Errorf("%d certificates", n)
				}
				now, err := os.ReadFile(filepath.Join(folder, provisioning.KeyFile))
				if asked && (keyErr != nil || err != nil || string(now) != string(key)) {
					t.Errorf("the key has changed, %v, %v", keyErr, err)
				}
				data, err := os.ReadFile(filepath.Join(folder, provisioning.StateFile))
				if err != nil || !strings.Contains(string(data), `"phase": "complete"`) || !strings.Contains(string(data), `"thingName": "thing-7"`) {
					t.Errorf("%s, %v", data, err)
				}
			})
		}
	})
	if n := killed.Load(); n < 30 {
		t.Errorf("killed at %d steps only", n)
	}
}

// certificates counts the certificates that the service has made for devices.
func certificates(c *iottest.Core) int {
	n := 0
	for _, e := range c.Events() {
		if e.Type == iottest.ServiceChanged && e.Service.Service == iottest.ServiceProvisioning && e.Service.Status == iottest.PendingActivation.String() {
			n++
		}
	}
	return n
}
