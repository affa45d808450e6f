// SPDX-License-Identifier: Apache-2.0

package tlsctx_test

import (
	"context"
	"crypto"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/io/tlsctx"
)

// faultySigner is a device that does something else than to sign.
type faultySigner struct {
	crypto.Signer
	sign func() ([]byte, error)
}

func (s *faultySigner) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) { return s.sign() }

// faultyHandshake makes a handshake whose signer does as told. It is called in
// a bubble.
func faultyHandshake(t *testing.T, ctx context.Context, version uint16, sign func() ([]byte, error)) error {
	t.Helper()
	ca := newAuthority(t, "root")
	device := ca.client(t, "device", "P-256")
	client, server := net.Pipe()
	go func() {
		defer server.Close()
		_ = tls.Server(server, &tls.Config{Certificates: []tls.Certificate{ca.server(t, "broker.example")},
			ClientAuth: tls.RequireAnyClientCert, MaxVersion: version}).Handshake()
	}()
	c := newContext(t, tlsctx.Options{CAPEM: ca.pem(), Identity: tlsctx.FromSigner(device.certPEM(), &faultySigner{device.key, sign})})
	conn, err := c.Client(ctx, client, "broker.example")
	if err == nil {
		conn.Close()
	}
	return err
}

// A device that never answers holds the handshake no longer than its context or
// its time limit.
func TestSigner_hangs(t *testing.T) {
	t.Parallel()
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				block := make(chan struct{})
				defer close(block)
				stopped := errors.New("the client was stopped")
				ctx, cancel := context.WithCancelCause(t.Context())
				err := faultyHandshake(t, ctx, version, func() ([]byte, error) {
					cancel(stopped)
					<-block
					return nil, nil
				})
				wantHandshakeError(t, err, "the signer of the client certificate has not answered", "look into the log of the device")
				if !errors.Is(err, stopped) || !errors.Is(err, tlsctx.ErrSignerPending) {
					t.Errorf("got %v", err)
				}

				begin := time.Now()
				err = faultyHandshake(t, t.Context(), version, func() ([]byte, error) { <-block; return nil, nil })
				e := wantHandshakeError(t, err, "the handshake timed out", "the signer of the client certificate has not answered")
				if !e.Timeout() || !errors.Is(err, tlsctx.ErrHandshakeTimeout) || !errors.Is(err, tlsctx.ErrSignerPending) {
					t.Errorf("got %v", err)
				}
				if took := time.Since(begin); took != 10*time.Second {
					t.Errorf("took %v", took)
				}
			})
		})
	}
}

func TestSigner_fails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		broken := errors.New("the device is broken")
		err := faultyHandshake(t, t.Context(), tls.VersionTLS13, func() ([]byte, error) { return nil, broken })
		wantHandshakeError(t, err, "the device is broken")
		if errors.Is(err, tlsctx.ErrSignerPending) {
			t.Errorf("got %v", err)
		}
		err = faultyHandshake(t, t.Context(), tls.VersionTLS13, func() ([]byte, error) { panic("oops") })
		wantHandshakeError(t, err, "the signer panicked: oops")
		err = faultyHandshake(t, t.Context(), tls.VersionTLS13, func() ([]byte, error) { runtime.Goexit(); return nil, nil })
		wantHandshakeError(t, err, "the signer did not return")
	})
}
