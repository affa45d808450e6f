// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/http/proxy"
	"github.com/gocrt/aws-iot-device-sdk-go/iot/iottest"
)

const proxyUser, proxyPassword = "user", "pass:word"

// testProxy is a proxy that finds the embedded core.
type testProxy struct {
	core    *iottest.Core
	serve   func(net.Conn) (target net.Conn, from io.Reader)
	tunnels atomic.Int32
	roots   *x509.CertPool
}

// startProxy starts a proxy of a kind and returns the options to use it.
func startProxy(t *testing.T, core *iottest.Core, kind string) (proxy.Options, *testProxy) {
	t.Helper()
	p := &testProxy{core: core}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	o := proxy.Options{Username: proxyUser, Password: proxyPassword}
	switch kind {
	case "http":
		p.serve, o.URL = p.serveHTTP, "http://"+ln.Addr().String()
	case "https":
		p.serve, o.URL = p.serveHTTP, "https://"+ln.Addr().String()
		cert := p.certificate(t)
		ln = tls.NewListener(ln, &tls.Config{Certificates: []tls.Certificate{cert}})
		o.TLSConfig = &tls.Config{RootCAs: p.roots}
	case "socks5":
		p.serve, o.URL = p.serveSOCKS, "socks5://"+ln.Addr().String()
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	open := map[net.Conn]bool{}
	wg.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open[conn] = true
			mu.Unlock()
			wg.Go(func() {
				defer conn.Close()
				target, from := p.serve(conn)
				if target == nil {
					return
				}
				p.tunnels.Add(1)
				go func() {
					_, _ = io.Copy(conn, target)
					conn.Close()
				}()
				_, _ = io.Copy(target, from)
				target.Close()
			})
		}
	})
	t.Cleanup(func() {
		ln.Close()
		mu.Lock()
		for conn := range open {
			conn.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	return o, p
}

func (p *testProxy) certificate(t *testing.T) tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	p.roots = x509.NewCertPool()
	p.roots.AddCert(cert)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func (p *testProxy) serveHTTP(conn net.Conn) (net.Conn, io.Reader) {
	r := bufio.NewReader(conn)
	for {
		req, err := http.ReadRequest(r)
		if err != nil {
			return nil, nil
		}
		want := "Basic " + base64.StdEncoding.EncodeToString([]byte(proxyUser+":"+proxyPassword))
		if req.Header.Get("Proxy-Authorization") != want {
			fmt.Fprint(conn, "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=\"test\"\r\nContent-Length: 0\r\n\r\n")
			continue
		}
		if req.Method != http.MethodConnect {
			fmt.Fprint(conn, "HTTP/1.1 405 Method Not Allowed\r\nContent-Length: 0\r\n\r\n")
			return nil, nil
		}
		target, err := p.core.DialContext(req.Context(), "tcp", req.Host)
		if err != nil {
			fmt.Fprint(conn, "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
			return nil, nil
		}
		fmt.Fprint(conn, "HTTP/1.1 200 OK\r\n\r\n")
		return target, r
	}
}

// serveSOCKS is RFC 1928 with the user name method of RFC 1929, for host names.
func (p *testProxy) serveSOCKS(conn net.Conn) (net.Conn, io.Reader) {
	r := bufio.NewReader(conn)
	next := func(n int) []byte {
		b := make([]byte, n)
		if _, err := io.ReadFull(r, b); err != nil {
			return make([]byte, n)
		}
		return b
	}
	next(int(next(2)[1])) // methods
	_, _ = conn.Write([]byte{5, 2})
	next(1)
	user := string(next(int(next(1)[0])))
	password := string(next(int(next(1)[0])))
	if user != proxyUser || password != proxyPassword {
		_, _ = conn.Write([]byte{1, 1})
		return nil, nil
	}
	_, _ = conn.Write([]byte{1, 0})
	var host string
	switch next(4)[3] {
	case 1:
		host = net.IP(next(4)).String()
	case 3:
		host = string(next(int(next(1)[0])))
	}
	port := binary.BigEndian.Uint16(next(2))
	target, err := p.core.DialContext(testContext, "tcp", net.JoinHostPort(host, fmt.Sprint(port)))
	reply := byte(0)
	if err != nil {
		reply = 4
	}
	_, _ = conn.Write([]byte{5, reply, 0, 1, 0, 0, 0, 0, 0, 0})
	if err != nil {
		return nil, nil
	}
	return target, r
}
