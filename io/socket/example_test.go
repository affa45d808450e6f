// SPDX-License-Identifier: Apache-2.0

package socket_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/io/socket"
)

func ExampleDialer_DialContext() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer listener.Close()
	go func() {
		conn, err := listener.Accept()
		if err == nil {
			io.WriteString(conn, "hello")
			conn.Close()
		}
	}()

	dialer := &socket.Dialer{
		ConnectTimeout: 5 * time.Second,
		KeepAlive:      socket.KeepAlive{Enable: true, Idle: time.Minute, Interval: 10 * time.Second, Probes: 3},
		Family:         socket.IPv4,
	}
	conn, err := dialer.DialContext(context.Background(), "tcp", listener.Addr().String())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer conn.Close()
	greeting, err := io.ReadAll(conn)
	fmt.Println(string(greeting), err)
	// Output: hello <nil>
}

func ExampleConnectError() {
	// A port on which nobody listens.
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	address := listener.Addr().String()
	listener.Close()

	_, err = new(socket.Dialer).DialContext(context.Background(), "tcp", address)
	var failed *socket.ConnectError
	if errors.As(err, &failed) {
		fmt.Println(failed.Stage(), failed.Address == address, len(failed.Attempts))
		fmt.Println("timeout:", failed.Timeout())
	}
	// Output:
	// TCP true 1
	// timeout: false
}

func ExampleDialer_Validate() {
	dialer := &socket.Dialer{ConnectTimeout: -time.Second, Family: socket.IPv6, LocalAddress: netip.MustParseAddr("192.0.2.1")}
	err := dialer.Validate()
	fmt.Println(err)
	fmt.Println(errors.Is(err, socket.ErrInvalidOptions))
	// Output:
	// socket: ConnectTimeout: invalid option: negative
	// socket: LocalAddress: invalid option: not of the family IPv6
	// true
}

// hosts is a resolver that knows two hosts.
type hosts struct{}

func (hosts) LookupNetIP(_ context.Context, network, host string) ([]netip.Addr, error) {
	switch {
	case host == "gateway.example" && network != "ip6":
		return []netip.Addr{netip.MustParseAddr("192.0.2.1")}, nil
	case host == "broker.example":
		return []netip.Addr{netip.MustParseAddr("2001:db8::1")}, nil
	}
	return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
}

func ExampleNewResolverCache() {
	cache := socket.NewResolverCache(socket.CacheOptions{Resolver: hosts{}, TTL: time.Minute})
	first := &socket.Dialer{Resolver: cache}
	second := &socket.Dialer{Resolver: cache, Family: socket.IPv4}
	_, _ = first, second

	fmt.Println(cache.LookupNetIP(context.Background(), "ip4", "gateway.example"))
	_, err := second.DialContext(context.Background(), "tcp", "elsewhere.example:8883")
	fmt.Println(err)
	// Output:
	// [192.0.2.1] <nil>
	// socket: resolving "elsewhere.example": no such host
}
