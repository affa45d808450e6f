// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"net"
	"sync"
	"time"

	"github.com/eclipse/paho.golang/packets"
	"github.com/eclipse/paho.golang/paho"
)

type pahoPeer struct{ client *paho.Client }

// pieces makes one write of what paho.golang writes for one packet, and few
// reads of many small ones. The library takes the lock around each packet that
// it writes; reading and writing in larger pieces it leaves to its user.
type pieces struct {
	net.Conn
	in   *bufio.Reader
	lock sync.Mutex
	out  []byte
}

func (c *pieces) Read(b []byte) (int, error) { return c.in.Read(b) }
func (c *pieces) Lock()                      { c.lock.Lock() }

func (c *pieces) Write(b []byte) (int, error) {
	c.out = append(c.out, b...)
	return len(b), nil
}

func (c *pieces) Unlock() {
	if len(c.out) > 0 {
		_, _ = c.Conn.Write(c.out) // the reader finds out if the connection is lost
		c.out = c.out[:0]
	}
	c.lock.Unlock()
}

func dialPaho(o peerOptions, tuned bool) (peer, error) {
	conn, err := dialNet(o)
	if err != nil {
		return nil, err
	}
	switch {
	case tuned:
		conn = &pieces{Conn: conn, in: bufio.NewReaderSize(conn, 64<<10)}
	case o.tls != nil:
		conn = packets.NewThreadSafeConn(conn)
	}
	cfg := paho.ClientConfig{ClientID: o.clientID, Conn: conn, PacketTimeout: time.Minute}
	if o.onMessage != nil {
		cfg.OnPublishReceived = append(cfg.OnPublishReceived, func(r paho.PublishReceived) (bool, error) {
			o.onMessage(r.Packet.Payload)
			return true, nil
		})
	}
	c := paho.NewClient(cfg)
	connect := &paho.Connect{ClientID: o.clientID, KeepAlive: keepAlive, CleanStart: true}
	if o.receiveMax > 0 {
		connect.Properties = &paho.ConnectProperties{ReceiveMaximum: &o.receiveMax}
	}
	if _, err := c.Connect(context.Background(), connect); err != nil {
		return nil, err
	}
	return &pahoPeer{c}, nil
}

// publishMany publishes QoS 1 from as many goroutines as the window allows,
// since Publish waits for the acknowledgement.
func (p *pahoPeer) publishMany(topic string, payload []byte, qos byte, n, window int) error {
	if qos == 0 {
		window = 1
	}
	return blocking(n, window, func() error { return p.publish(topic, payload, qos) })
}

func (p *pahoPeer) publish(topic string, payload []byte, qos byte) error {
	_, err := p.client.Publish(context.Background(), &paho.Publish{Topic: topic, Payload: payload, QoS: qos})
	return err
}

func (p *pahoPeer) subscribe(filter string, qos byte) error {
	_, err := p.client.Subscribe(context.Background(), &paho.Subscribe{Subscriptions: []paho.SubscribeOptions{{Topic: filter, QoS: qos}}})
	return err
}

func (p *pahoPeer) close() error { return p.client.Disconnect(&paho.Disconnect{}) }
