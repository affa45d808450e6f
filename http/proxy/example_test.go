// SPDX-License-Identifier: Apache-2.0

package proxy_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"

	"github.com/gocrt/aws-iot-device-sdk-go/http/proxy"
)

// localProxy stands for the proxy of a network: it tunnels every CONNECT.
func localProxy() (proxyURL string, stop func()) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodConnect {
			w.WriteHeader(http.StatusMethodNotAllowed)
			return
		}
		target, err := net.Dial("tcp", r.Host)
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		client, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			_ = target.Close()
			return
		}
		_, _ = io.WriteString(client, "HTTP/1.1 200 OK\r\n\r\n")
		go func() {
			_, _ = io.Copy(target, client)
			_ = target.Close()
		}()
		_, _ = io.Copy(client, target)
		_ = client.Close()
	}))
	return s.URL, s.Close
}

// A plain net/http client reaches a server through a proxy.
func ExampleDialer_httpClient() {
	proxyURL, stop := localProxy()
	defer stop()
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "hello from the other side")
	}))
	defer site.Close()

	dialer, err := proxy.New(proxy.Options{URL: proxyURL})
	if err != nil {
		log.Fatal(err)
	}
	transport := &http.Transport{DialContext: dialer.DialContext}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}

	resp, err := client.Get(site.URL)
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(string(body))
	// Output: hello from the other side
}

// Any protocol over TCP goes through the tunnel.
func ExampleDialer_DialContext() {
	proxyURL, stop := localProxy()
	defer stop()
	server, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = server.Close() }()
	go func() {
		conn, err := server.Accept()
		if err != nil {
			return
		}
		defer func() { _ = conn.Close() }()
		line, _ := bufio.NewReader(conn).ReadString('\n')
		_, _ = fmt.Fprintf(conn, "you said %s", line)
	}()

	dialer, err := proxy.New(proxy.Options{URL: proxyURL})
	if err != nil {
		log.Fatal(err)
	}
	conn, err := dialer.DialContext(context.Background(), "tcp", server.Addr().String())
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_, _ = fmt.Fprintln(conn, "hello")
	answer, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		log.Fatal(err)
	}
	fmt.Print(answer)
	// Output: you said hello
}

// What a proxy that refuses a tunnel looks like to the caller.
func ExampleError() {
	refusing := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusForbidden)
	}))
	defer refusing.Close()
	dialer, err := proxy.New(proxy.Options{URL: refusing.URL})
	if err != nil {
		log.Fatal(err)
	}
	_, err = dialer.DialContext(context.Background(), "tcp", "broker.example:8883")
	var pe *proxy.Error
	if errors.As(err, &pe) {
		fmt.Println(pe.Step, pe.Target, pe.StatusCode, errors.Is(err, proxy.ErrRefused))
	}
	// Output: tunnel broker.example:8883 403 true
}

// Credentials for a SOCKS5 proxy, and hosts that are reached without it.
func ExampleNew() {
	dialer, err := proxy.New(proxy.Options{
		Kind:     proxy.SOCKS5,
		Host:     "gateway.example",
		Username: "device",
		Password: "not shown",
		NoProxy:  []string{"169.254.169.254", ".internal.example"},
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(dialer)
	// Output: socks5://gateway.example:1080
}

// The environment of the process decides. Without HTTPS_PROXY and ALL_PROXY
// the dialer connects directly.
func ExampleFromEnvironment() {
	dialer, err := proxy.FromEnvironment(proxy.Options{})
	if err != nil {
		log.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{DialContext: dialer.DialContext}}
	_ = client
}
