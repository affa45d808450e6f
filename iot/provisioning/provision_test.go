// SPDX-License-Identifier: Apache-2.0

package provisioning_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/iot/provisioning"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/mqtttest"
)

func newStore(t *testing.T) *provisioning.FileStore {
	t.Helper()
	s, err := provisioning.NewFileStore(filepath.Join(t.TempDir(), "identity"))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestProvision(t *testing.T) {
	hardware, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*provisioning.Options){
		"signing request": func(*provisioning.Options) {},
		"CBOR":            func(o *provisioning.Options) { o.Format = provisioning.CBOR },
		"service key":     func(o *provisioning.Options) { o.ServiceKey = true },
		"service key, CBOR": func(o *provisioning.Options) {
			o.ServiceKey, o.Format = true, provisioning.CBOR
		},
		"key in hardware": func(o *provisioning.Options) { o.Key = hardware },
		"jitter":          func(o *provisioning.Options) { o.StartJitter = time.Hour },
	} {
		bubble(t, name, func(t *testing.T) {
			s := newService(t)
			store := newStore(t)
			o := s.options(t, store)
			change(&o)
			var phases []string
			o.OnEvent = func(e provisioning.Event) { phases = append(phases, fmt.Sprint(e.Phase, e.Err)) }
			d, err := provision(t, o)
			if err != nil {
				t.Fatal(err)
			}
			id := d.Identity
			if id.ThingName != "thing-7" || id.DeviceConfiguration["color"] != "red" || len(id.CertificateID) != 64 || d.Client.State() != mqtt5.StateConnected {
				t.Errorf("%+v", id)
			}
			if o.Key == nil {
				if _, err := tls.X509KeyPair(id.CertificatePEM, id.PrivateKeyPEM); err != nil {
					t.Error(err)
				}
			} else if id.PrivateKeyPEM != nil || id.Key != o.Key {
				t.Error("the key in hardware is not used")
			}
			s.wantCounts(1, 1)
			if s.format != o.Format.String() {
				t.Errorf("the requests are %s", s.format)
			}
			want := []string{"key<nil>", "certificate<nil>", "registered<nil>", "complete<nil>"}
			if o.Key != nil || o.ServiceKey {
				want = want[1:]
			}
			if !slices.Equal(phases, want) {
				t.Errorf("phases %q", phases)
			}
			wantFiles(t, store, o.Key == nil)

			// The next start needs neither claim nor network.
			o.NewClaim = func(context.Context) (*mqtt5.Client, error) {
				t.Error("asks for the claim")
				return nil, errors.New("no claim")
			}
			_ = d.Client.Close()
			again, err := provision(t, o)
			if err != nil {
				t.Fatal(err)
			}
			if again.Identity.ThingName != "thing-7" || string(again.Identity.CertificatePEM) != string(id.CertificatePEM) {
				t.Errorf("%+v", again.Identity)
			}
			s.wantCounts(1, 1)
		})
	}
}

// wantFiles checks the modes of the files, and that no secret is left in them.
func wantFiles(t *testing.T, store *provisioning.FileStore, key bool) {
	t.Helper()
	dir := filepath.Dir(store.KeyPath())
	want := map[string]os.FileMode{provisioning.CertificateFile: 0o644, provisioning.StateFile: 0o600}
	if key {
		want[provisioning.KeyFile] = 0o600
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != want[e.Name()] {
			t.Errorf("%s has mode %v", e.Name(), info.Mode())
		}
		delete(want, e.Name())
	}
	if len(want) > 0 {
		t.Errorf("missing: %v", want)
	}
	data, err := os.ReadFile(filepath.Join(dir, provisioning.StateFile))
	if err != nil || strings.Contains(string(data), "token-") || strings.Contains(string(data), "PRIVATE KEY") {
		t.Errorf("%s, %v", data, err)
	}
}

// TestProvision_faults spoils the first requests of each kind.
func TestProvision_faults(t *testing.T) {
	for _, tt := range []struct {
		operation, fault string
		certificates     int
	}{
		{fromCSR, "lose", 1},
		{fromCSR, "answer", 3}, // two nobody heard of
		{fromCSR, "429 Throttled", 1},
		{fromCSR, "500 InternalError", 1},
		{register, "lose", 1},
		{register, "answer", 2}, // the token is used up: start over with the same key
		{register, "503 Unavailable", 1},
	} {
		bubble(t, tt.operation+" "+tt.fault, func(t *testing.T) {
			s := newService(t)
			n := 0
			s.fault = func(operation string) string {
				if operation != tt.operation {
					return ""
				}
				if n++; n <= 2 {
					return tt.fault
				}
				return ""
			}
			if tt.operation == register && tt.fault == "answer" {
				s.fault = func(operation string) string {
					if operation == register {
						n++
					}
					if operation == register && n == 1 {
						return "answer"
					}
					return ""
				}
			}
			d, err := provision(t, s.options(t, newStore(t)))
			if err != nil {
				t.Fatal(err)
			}
			if d.Identity.ThingName != "thing-7" {
				t.Errorf("%+v", d.Identity)
			}
			if s.created != tt.certificates {
				t.Errorf("%d certificates, want %d", s.created, tt.certificates)
			}
		})
	}
	for _, tt := range []struct{ operation, fault string }{
		{fromCSR, "400 InvalidRequest"}, {fromCSR, "403 AccessDenied"}, {register, "400 InvalidCertificateOwnershipToken"}, {register, "403 ACCESS_DENIED"},
	} {
		bubble(t, tt.operation+" "+tt.fault, func(t *testing.T) {
			s := newService(t)
			s.fault = func(operation string) string {
				if operation == tt.operation {
					return tt.fault
				}
				return ""
			}
			_, err := provision(t, s.options(t, newStore(t)))
			var rejected *provisioning.RejectedError
			if !errors.As(err, &rejected) || !strings.HasPrefix(tt.fault, fmt.Sprint(rejected.StatusCode, " ", rejected.ErrorCode)) || rejected.Message != "the message" {
				t.Errorf("%+v", err)
			}
			if len(s.things) != 0 || s.created > 1 {
				t.Errorf("%d certificates, things %v", s.created, s.things)
			}
		})
	}
}

// TestProvision_foreignCertificate gets a certificate for another key.
func TestProvision_foreignCertificate(t *testing.T) {
	for _, serviceKey := range []bool{false, true} {
		bubble(t, fmt.Sprint("service key ", serviceKey), func(t *testing.T) {
			s := newService(t)
			s.fault = func(string) string { return "foreign" }
			o := s.options(t, newStore(t))
			o.ServiceKey = serviceKey
			if _, err := provision(t, o); !errors.Is(err, provisioning.ErrInvalidPayload) {
				t.Error(err)
			}
			if state, err := o.Store.Load(); err != nil || state != nil && state.Phase == provisioning.PhaseCertificate {
				t.Errorf("%+v, %v", state, err)
			}
		})
	}
}

// TestProvision_refused has the broker refuse packets of the claim for a while.
func TestProvision_refused(t *testing.T) {
	for name, tt := range map[string]struct {
		refuse func(c *mqtttest.Conn, p mqtttest.Packet) bool // reports whether it did
		final  bool
	}{
		"SUBSCRIBE, quota exceeded": {refuse: func(c *mqtttest.Conn, p mqtttest.Packet) bool { return refuseSubscribe(c, p, 0x97) }},
		"PUBLISH, quota exceeded":   {refuse: func(c *mqtttest.Conn, p mqtttest.Packet) bool { return refusePublish(c, p, 0x97) }},
		"PUBLISH, unspecified":      {refuse: func(c *mqtttest.Conn, p mqtttest.Packet) bool { return refusePublish(c, p, 0x80) }},
		"SUBSCRIBE, policy":         {refuse: func(c *mqtttest.Conn, p mqtttest.Packet) bool { return refuseSubscribe(c, p, 0x87) }, final: true},
		"PUBLISH, policy":           {refuse: func(c *mqtttest.Conn, p mqtttest.Packet) bool { return refusePublish(c, p, 0x87) }, final: true},
	} {
		bubble(t, name, func(t *testing.T) {
			end := time.Now().Add(5 * time.Minute)
			s := newService(t, mqtttest.Intercept(func(c *mqtttest.Conn, p mqtttest.Packet) bool {
				return time.Now().Before(end) && tt.refuse(c, p)
			}))
			_, err := provision(t, s.options(t, newStore(t)))
			var refused *mqtt5.AckError
			if tt.final != errors.As(err, &refused) || tt.final == (err == nil) {
				t.Error(err)
			}
		})
	}
}

func refuseSubscribe(c *mqtttest.Conn, p mqtttest.Packet, code mqtttest.ReasonCode) bool {
	s, ok := p.(mqtttest.Subscribe)
	if !ok || !strings.HasSuffix(s.Subscriptions[0].TopicFilter, "/accepted") {
		return false
	}
	c.Send(mqtttest.Suback{PacketID: s.PacketID, ReasonCodes: slices.Repeat([]mqtttest.ReasonCode{code}, len(s.Subscriptions))})
	return true
}

func refusePublish(c *mqtttest.Conn, p mqtttest.Packet, code mqtttest.ReasonCode) bool {
	m, ok := p.(mqtttest.Publish)
	if !ok || !strings.Contains(m.Topic, "create-from-csr") {
		return false
	}
	c.Send(mqtttest.Puback{PacketID: m.PacketID, ReasonCode: code})
	return true
}

// TestProvision_longWithoutConnection loses the connection between the two
// requests for so long that the token expires.
func TestProvision_longWithoutConnection(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := newService(t)
		o := s.options(t, newStore(t))
		var down atomic.Bool
		var conn net.Conn
		o.NewClaim = func(context.Context) (*mqtt5.Client, error) {
			return s.connect("claim", func(o *mqtt5.ClientOptions) {
				dial := o.Dial
				o.Dial = func(ctx context.Context, network, address string) (c net.Conn, err error) {
					if down.Load() {
						return nil, errNowhere
					}
					conn, err = dial(ctx, network, address)
					return conn, err
				}
			}), nil
		}
		o.OnEvent = func(e provisioning.Event) {
			if e.Phase != provisioning.PhaseCertificate || e.Err != nil || s.created > 1 {
				return
			}
			down.Store(true)
			_ = conn.Close()
			time.Sleep(time.Second)
			time.AfterFunc(2*time.Hour, func() {
				s.mu.Lock()
				defer s.mu.Unlock()
				clear(s.tokens)
				down.Store(false)
			})
		}
		if _, err := provision(t, o); err != nil {
			t.Fatal(err)
		}
		s.wantCounts(2, 1)
	})
}

// TestProvision_token uses a token of an earlier process: again while it is
// valid, not when it is old, and not when the service has forgotten it.
func TestProvision_token(t *testing.T) {
	for name, tt := range map[string]struct {
		pause        time.Duration
		forgotten    bool
		certificates int
	}{
		"valid": {pause: 50 * time.Minute, certificates: 1}, "old": {pause: time.Hour, certificates: 2}, "forgotten": {forgotten: true, certificates: 2},
	} {
		for _, serviceKey := range []bool{false, true} {
			bubble(t, fmt.Sprint(name, ", service key ", serviceKey), func(t *testing.T) {
				s := newService(t)
				o := s.options(t, newStore(t))
				o.ServiceKey = serviceKey
				broken := errors.New("crash")
				o.Store = &crashing{Store: o.Store, at: provisioning.PhaseRegistered, err: broken}
				s.fault = func(operation string) string {
					if operation == register {
						return "lose"
					}
					return ""
				}
				ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
				_, err := provisioning.Provision(ctx, o)
				cancel()
				if !errors.Is(err, context.DeadlineExceeded) {
					t.Fatal(err)
				}
				s.mu.Lock()
				s.fault = func(string) string { return "" }
				if tt.forgotten {
					clear(s.tokens)
				}
				s.mu.Unlock()
				time.Sleep(tt.pause)
				o.Store = o.Store.(*crashing).Store
				var phases []provisioning.Phase
				o.OnEvent = func(e provisioning.Event) {
					if e.Err == nil {
						phases = append(phases, e.Phase)
					}
				}
				d, err := provision(t, o)
				if err != nil {
					t.Fatal(err)
				}
				// The old certificate is forgotten before there is a new one.
				want := []provisioning.Phase{provisioning.PhaseKey, provisioning.PhaseCertificate, provisioning.PhaseRegistered, provisioning.PhaseComplete}
				if serviceKey {
					want[0] = provisioning.PhaseNone
				}
				if want = want[4-2*tt.certificates:]; !slices.Equal(phases, want) {
					t.Errorf("phases %q, want %q", phases, want)
				}
				if _, err := tls.X509KeyPair(d.Identity.CertificatePEM, d.Identity.PrivateKeyPEM); err != nil {
					t.Error(err)
				}
				s.wantCounts(tt.certificates, 1)
			})
		}
	}
}

// crashing is a store that fails before or after it has saved a phase, as a
// process that ends there.
type crashing struct {
	provisioning.Store
	at    provisioning.Phase
	after bool
	err   error
}

func (c *crashing) Save(s *provisioning.State) error {
	if s.Phase != c.at {
		return c.Store.Save(s)
	}
	if c.after {
		if err := c.Store.Save(s); err != nil {
			return err
		}
	}
	return c.err
}

// TestProvision_crash ends the first call at each of its stores. The second call
// finds everything again.
func TestProvision_crash(t *testing.T) {
	for _, phase := range []provisioning.Phase{provisioning.PhaseKey, provisioning.PhaseCertificate, provisioning.PhaseRegistered, provisioning.PhaseComplete} {
		for _, after := range []bool{false, true} {
			bubble(t, fmt.Sprint(phase, ", after ", after), func(t *testing.T) {
				s := newService(t)
				store := newStore(t)
				o := s.options(t, store)
				broken := errors.New("crash")
				o.Store = &crashing{Store: store, at: phase, after: after, err: broken}
				if _, err := provision(t, o); !errors.Is(err, broken) || !errors.Is(err, provisioning.ErrStore) {
					t.Fatal(err)
				}
				o.Store = store
				d, err := provision(t, o)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := tls.X509KeyPair(d.Identity.CertificatePEM, d.Identity.PrivateKeyPEM); err != nil || d.Identity.ThingName != "thing-7" {
					t.Errorf("%+v, %v", d.Identity, err)
				}
				certificates, registrations := 1, 1
				if !after && phase == provisioning.PhaseCertificate {
					certificates = 2 // the first one was never heard of
				}
				if !after && phase == provisioning.PhaseRegistered {
					certificates, registrations = 2, 2 // its token was used up
				}
				s.wantCounts(certificates, registrations)
			})
		}
	}
}

// nowhere makes a client that never gets a connection.
func nowhere(o *mqtt5.ClientOptions) {
	o.Dial = func(context.Context, string, string) (net.Conn, error) { return nil, errNowhere }
}

var errNowhere = errors.New("no route to host")

func TestProvision_noConnection(t *testing.T) {
	bubble(t, "claim", func(t *testing.T) {
		s := newService(t)
		o := s.options(t, newStore(t))
		o.ConnectTimeout = time.Minute
		o.NewClaim = func(context.Context) (*mqtt5.Client, error) { return s.connect("claim", nowhere), nil }
		if _, err := provision(t, o); !errors.Is(err, provisioning.ErrClaim) || !errors.Is(err, errNowhere) {
			t.Error(err)
		}
	})
	bubble(t, "device", func(t *testing.T) {
		s := newService(t)
		o := s.options(t, newStore(t))
		o.ConnectTimeout = time.Minute
		device := o.NewDevice
		o.NewDevice = func(context.Context, *provisioning.Identity) (*mqtt5.Client, error) {
			return s.connect("x", nowhere), nil
		}
		if _, err := provision(t, o); !errors.Is(err, provisioning.ErrDevice) || !errors.Is(err, errNowhere) {
			t.Error(err)
		}
		o.NewDevice = device
		if d, err := provision(t, o); err != nil || d.Identity.ThingName != "thing-7" {
			t.Error(err)
		}
		s.wantCounts(1, 1)
	})
	bubble(t, "the context ends", func(t *testing.T) {
		s := newService(t)
		o := s.options(t, newStore(t))
		o.StartJitter = 100 * time.Hour
		ctx, cancel := context.WithCancelCause(context.Background())
		stop := errors.New("stop")
		time.AfterFunc(time.Second, func() { cancel(stop) })
		if _, err := provisioning.Provision(ctx, o); !errors.Is(err, stop) {
			t.Error(err)
		}
	})
}

// TestJustInTime drops the first connections, as the service does while it
// registers a certificate.
func TestJustInTime(t *testing.T) {
	bubble(t, "dropped", func(t *testing.T) {
		s := newService(t)
		for range 2 {
			s.broker.Script(func(c *mqtttest.Conn) { c.ExpectConnect() })
		}
		client := s.connect("jitp", nil)
		defer client.Close()
		if err := provisioning.JustInTime(context.Background(), client, 0); err != nil || client.State() != mqtt5.StateConnected {
			t.Errorf("%v, %v", err, client.State())
		}
	})
	bubble(t, "time-out", func(t *testing.T) {
		s := newService(t)
		s.broker.HangDial()
		client := s.connect("jitp", nil)
		defer client.Close()
		if err := provisioning.JustInTime(context.Background(), client, time.Second); !errors.Is(err, provisioning.ErrDevice) || !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
	})
}

// TestProvision_unknownPhase finds a state of a later version.
func TestProvision_unknownPhase(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := newService(t)
		o := s.options(t, newStore(t))
		if _, err := provision(t, o); err != nil {
			t.Fatal(err)
		}
		state, err := o.Store.Load()
		if err != nil {
			t.Fatal(err)
		}
		state.Phase = "renewing"
		if err := o.Store.Save(state); err != nil {
			t.Fatal(err)
		}
		if _, err := provision(t, o); !errors.Is(err, provisioning.ErrStore) {
			t.Error(err)
		}
	})
}

// TestProvision_noClient hands over a nil client in the ways that a program can.
func TestProvision_noClient(t *testing.T) {
	bubble(t, "claim", func(t *testing.T) {
		o := newService(t).options(t, newStore(t))
		o.NewClaim = func(context.Context) (*mqtt5.Client, error) { return nil, nil }
		if _, err := provision(t, o); !errors.Is(err, provisioning.ErrInvalidArgument) {
			t.Error(err)
		}
	})
	bubble(t, "device", func(t *testing.T) {
		o := newService(t).options(t, newStore(t))
		o.NewDevice = func(context.Context, *provisioning.Identity) (*mqtt5.Client, error) { return nil, nil }
		if _, err := provision(t, o); !errors.Is(err, provisioning.ErrInvalidArgument) {
			t.Error(err)
		}
	})
	if err := provisioning.JustInTime(context.Background(), nil, 0); !errors.Is(err, provisioning.ErrInvalidArgument) {
		t.Errorf("just in time: %v", err)
	}
}

func TestProvision_invalid(t *testing.T) {
	good := provisioning.Options{
		Template: "t", Store: newStore(t),
		NewClaim:  func(context.Context) (*mqtt5.Client, error) { return nil, errors.New("x") },
		NewDevice: func(context.Context, *provisioning.Identity) (*mqtt5.Client, error) { return nil, nil },
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*provisioning.Options){
		"template":  func(o *provisioning.Options) { o.Template = "a/b" },
		"store":     func(o *provisioning.Options) { o.Store = nil },
		"claim":     func(o *provisioning.Options) { o.NewClaim = nil },
		"device":    func(o *provisioning.Options) { o.NewDevice = nil },
		"two keys":  func(o *provisioning.Options) { o.Key, o.ServiceKey = key, true },
		"format":    func(o *provisioning.Options) { o.Format = 9 },
		"jitter":    func(o *provisioning.Options) { o.StartJitter = -1 },
		"request":   func(o *provisioning.Options) { o.RequestTimeout = -1 },
		"connect":   func(o *provisioning.Options) { o.ConnectTimeout = -1 },
		"min retry": func(o *provisioning.Options) { o.MinRetryDelay = -1 },
		"max retry": func(o *provisioning.Options) { o.MaxRetryDelay = -1 },
	} {
		o := good
		change(&o)
		if _, err := provisioning.Provision(context.Background(), o); !errors.Is(err, provisioning.ErrInvalidArgument) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
