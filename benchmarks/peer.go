// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto/tls"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/io/tlsctx"
)

// peer is a connected client under measurement.
type peer interface {
	// publishMany sends n messages, at most window of them unfinished.
	publishMany(topic string, payload []byte, qos byte, n, window int) error
	// publish sends one message and waits until it is done.
	publish(topic string, payload []byte, qos byte) error
	subscribe(filter string, qos byte) error
	close() error
}

// peerOptions are what every peer is made of.
type peerOptions struct {
	addr       string
	clientID   string
	tls        *tls.Config     // nil: plain TCP
	ca         []byte          // with tls; PEM
	context    *tlsctx.Context // with tls
	receiveMax uint16          // 0: not announced
	onMessage  func(payload []byte)
}

const keepAlive = 60

var peers = map[string]func(peerOptions) (peer, error){
	"ours":          func(o peerOptions) (peer, error) { return dialOurs(o, false) },
	"ours-borrowed": func(o peerOptions) (peer, error) { return dialOurs(o, true) },
	"ours-metrics":  func(o peerOptions) (peer, error) { return dialMeasured(o, true) },
	"ours-recorded": func(o peerOptions) (peer, error) { return dialMeasured(o, false) },
	"paho":          func(o peerOptions) (peer, error) { return dialPaho(o, false) },
	"paho-tuned":    func(o peerOptions) (peer, error) { return dialPaho(o, true) },
	"limit":         dialLimit,
	"websocket":     func(o peerOptions) (peer, error) { return dialWebsocket(o, false) },
	"websocket-own": func(o peerOptions) (peer, error) { return dialWebsocket(o, true) },
}

// dialNet opens a connection for the peers that leave that to their user.
func dialNet(o peerOptions) (net.Conn, error) {
	d := &net.Dialer{Timeout: 10 * time.Second, KeepAlive: -1}
	if o.tls == nil {
		return d.Dial("tcp", o.addr)
	}
	return tls.DialWithDialer(d, "tcp", o.addr, o.tls)
}

// blocking calls one n times, from as many goroutines.
func blocking(n, goroutines int, one func() error) error {
	goroutines = max(1, min(n, goroutines))
	errs := make(chan error, goroutines)
	var wg sync.WaitGroup
	for g := range goroutines {
		count := n / goroutines
		if g < n%goroutines {
			count++
		}
		wg.Go(func() {
			for range count {
				if err := one(); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	wg.Wait()
	select {
	case err := <-errs:
		return fmt.Errorf("publish: %w", err)
	default:
		return nil
	}
}
