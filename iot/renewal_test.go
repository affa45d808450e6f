// SPDX-License-Identifier: Apache-2.0

package iot

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"github.com/gocrt/aws-iot-device-sdk-go/auth/sigv4"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/mqtttest"
)

// rotated is a source of material that expires. next is what an attempt would use.
type rotated struct{ used, next atomic.Pointer[time.Time] }

func (r *rotated) Expiry() time.Time {
	if t := r.used.Load(); t != nil {
		return *t
	}
	return time.Time{}
}

func (r *rotated) NextExpiry(context.Context) (time.Time, error) {
	if t := r.next.Load(); t != nil {
		return *t, nil
	}
	return time.Time{}, errors.New("the source fails")
}

// prepare takes the material of an attempt.
func (r *rotated) prepare(context.Context, *mqtt5.ConnectPacket) error {
	r.used.Store(r.next.Load())
	return nil
}

func TestReconnectBeforeExpiry(t *testing.T) {
	const ahead = 20 * time.Minute
	type when struct{ from, to time.Duration } // after the first connection
	never := when{}
	for _, tt := range []struct {
		name    string
		renewed time.Duration // when the source has later material; 0: never
		busy    time.Duration // how long a publish is under way
		want    when
	}{
		{"renewed in time", 10 * time.Minute, 0, when{40 * time.Minute, 45 * time.Minute}},
		{"renewed late", 55 * time.Minute, 0, when{55 * time.Minute, 58 * time.Minute}},
		{"not renewed", 0, 0, never},
		{"busy until it is over", 10 * time.Minute, 47 * time.Minute, when{47 * time.Minute, 47*time.Minute + quietCheck}},
		{"always busy", 10 * time.Minute, 2 * time.Hour, when{50 * time.Minute, 50*time.Minute + quietCheck}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				after := func(d time.Duration) *time.Time { at := start.Add(d); return &at }
				var source rotated
				source.next.Store(after(time.Hour))
				if tt.renewed > 0 {
					time.AfterFunc(tt.renewed, func() { source.next.Store(after(24 * time.Hour)) })
				}
				srv := mqtttest.NewServer(t)
				for i := range 1 + min(int(tt.want.to), 1) {
					srv.Script(func(c *mqtttest.Conn) {
						c.Accept()
						c.AnswerPings()
						if i == 0 && tt.busy > 0 {
							p := c.ExpectPublish()
							if tt.busy < time.Hour {
								c.Sleep(tt.busy)
								c.Send(mqtttest.Puback{PacketID: p.PacketID})
							}
						}
						for {
							switch p := c.ExpectAny().(type) {
							case mqtttest.Publish:
								c.Send(mqtttest.Puback{PacketID: p.PacketID})
							case mqtttest.Disconnect:
								c.ExpectClosed()
								return
							}
						}
					})
				}
				var again time.Duration
				var losses []error
				client, err := mqtt5.NewClient(mqtt5.ClientOptions{
					Address: "server.example:1883", Dial: srv.DialContext, PrepareConnect: source.prepare, AckTimeout: -1,
					Connect:             mqtt5.ConnectPacket{KeepAliveSeconds: mqtt5.Ptr[uint16](0)},
					OnConnectionSuccess: func(*mqtt5.ConnectionSuccess) { again = time.Since(start) },
					OnDisconnection:     func(d *mqtt5.Disconnection) { losses = append(losses, d.Err) },
				})
				if err != nil {
					t.Fatal(err)
				}
				defer client.Close()
				watchExpiry(client, ahead, []expiring{&source}, nil)
				if err := client.Start(); err != nil {
					t.Fatal(err)
				}
				if err := client.WaitConnected(t.Context()); err != nil {
					t.Fatal(err)
				}
				if tt.busy > 0 {
					client.PublishAsync(&mqtt5.PublishPacket{Topic: "t", QoS: 1}, func(*mqtt5.PublishResult, error) {})
				}
				time.Sleep(3 * time.Hour)
				synctest.Wait()
				if again < tt.want.from || again > tt.want.to+time.Second {
					t.Errorf("connected again after %v, want %v to %v", again, tt.want.from, tt.want.to)
				}
				if tt.want != never && (len(losses) != 1 || !errors.Is(losses[0], mqtt5.ErrReconnectRequested)) {
					t.Errorf("disconnections %v", losses)
				}
				if err := client.Stop(t.Context(), nil); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// What is watched is what attempts used: the credentials of the signature, the
// certificate of the TLS context.
func TestReconnectBeforeExpiry_sources(t *testing.T) {
	expires := time.Now().Add(time.Hour)
	provider := sigv4.CredentialsFunc(func(context.Context) (sigv4.Credentials, error) {
		return sigv4.Credentials{AccessKeyID: "AKID", SecretAccessKey: "hush", Expires: expires}, nil
	})
	s := apply([]Option{WithReconnectBeforeExpiry(time.Minute)})
	m := WebsocketWithSigV4(provider).begin(s, testEndpoint)
	c, err := s.connector(testEndpoint, m)
	if err != nil || len(c.expiring) != 1 {
		t.Fatalf("watched %v, %v", c, err)
	}
	if at := c.expiring[0].Expiry(); !at.IsZero() {
		t.Errorf("expires %v before the first attempt", at)
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+testEndpoint+"/mqtt", nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.transform(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	if at := c.expiring[0].Expiry(); !at.Equal(expires) {
		t.Errorf("expires %v, want %v", at, expires)
	}

	cert, key, _ := newCertificate(t)
	s = apply([]Option{WithReconnectBeforeExpiry(time.Minute)})
	if c, err = s.connector(testEndpoint, MTLSFromBytes(cert, key).begin(s, testEndpoint)); err != nil || len(c.expiring) != 1 {
		t.Fatalf("watched %v, %v", c, err)
	}
	if next, err := c.expiring[0].NextExpiry(t.Context()); err != nil || !next.After(time.Now()) {
		t.Errorf("next %v, %v", next, err)
	}
	if at := c.expiring[0].Expiry(); !at.IsZero() {
		t.Errorf("expires %v before the first attempt", at)
	}
	if _, err := c.tls.Config(t.Context(), testEndpoint); err != nil {
		t.Fatal(err)
	}
	if at := c.expiring[0].Expiry(); at.IsZero() {
		t.Error("the certificate of an attempt is not known")
	}
}

// The provider is the user's code, and is called on a timer here.
func TestRenewal_panicOfTheSource(t *testing.T) {
	u := &usedCredentials{provider: sigv4.CredentialsFunc(func(context.Context) (sigv4.Credentials, error) { panic("oops") })}
	u.expires = time.Now().Add(time.Hour)
	r := &renewal{ahead: 2 * time.Hour, sources: []expiring{u}, log: zap.NewNop()}
	if next := r.step(); next < freshCheck {
		t.Errorf("looks again in %v", next)
	}
}
