// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"sync"
	"time"
)

// The sink is a server that is cheaper than any client, so that the client is
// what is measured. It routes nothing. What it does with a packet:
//
//	PUBLISH to any topic         acknowledges it
//	PUBLISH to "fence", QoS 1    acknowledges it once all of a source is acknowledged
//	PUBLISH to "cut"             closes all other connections
//	SUBSCRIBE to "source/Q/S/N"  sends N messages with S bytes at QoS Q, as fast as they are read
//	CONNECT with "-rmN-"         answers with Receive Maximum N, if that is in the client identifier

// addresses is what a started sink prints: where it listens and whom to trust.
type addresses struct {
	TCP       string `json:"tcp"`
	TLS       string `json:"tls"`
	Websocket string `json:"websocket"` // over TLS
	CA        string `json:"ca"`        // PEM
}

func (a addresses) address(over transport) string {
	return map[transport]string{overTCP: a.TCP, overTLS: a.TLS, overWebsocket: a.Websocket}[over]
}

type sink struct {
	mu    sync.Mutex
	conns map[*sinkConn]bool
}

// serve runs a sink until ctx ends, and prints its addresses.
func serve(ctx context.Context, out io.Writer) error {
	cert, ca, err := selfSigned()
	if err != nil {
		return err
	}
	var listeners [3]net.Listener // by transport
	for i := range listeners {
		if listeners[i], err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			return err
		}
		defer listeners[i].Close()
	}
	s := &sink{conns: map[*sinkConn]bool{}}
	cfg := &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS13, SessionTicketsDisabled: true,
		DynamicRecordSizingDisabled: true}
	var at [len(listeners)]string
	for i, ln := range listeners {
		at[i] = ln.Addr().String()
		go s.accept(ln, transport(i), cfg)
	}
	if err := json.NewEncoder(out).Encode(addresses{at[overTCP], at[overTLS], at[overWebsocket], string(ca)}); err != nil {
		return err
	}
	<-ctx.Done()
	for _, ln := range listeners {
		ln.Close()
	}
	s.cut(nil)
	return nil
}

func (s *sink) accept(ln net.Listener, over transport, cfg *tls.Config) {
	for {
		nc, err := ln.Accept()
		if err != nil {
			return
		}
		if over != overTCP {
			nc = tls.Server(nc, cfg)
		}
		if over == overWebsocket {
			nc = &websocketConn{Conn: nc}
		}
		c := &sinkConn{sink: s, conn: nc}
		c.credits.L = &c.mu
		s.mu.Lock()
		s.conns[c] = true
		s.mu.Unlock()
		go c.serve()
	}
}

// cut closes all connections but one.
func (s *sink) cut(except *sinkConn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		if c != except {
			c.conn.Close()
		}
	}
}

// selfSigned makes a certificate for 127.0.0.1, and its PEM to trust.
func selfSigned() (tls.Certificate, []byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "sink"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"localhost"},
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), nil
}
