// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/tls"
	"net"
	"sync"
	"sync/atomic"
	"time"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"

	"github.com/gocrt/aws-iot-device-sdk-go/io/eventloop"
	"github.com/gocrt/aws-iot-device-sdk-go/io/socket"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/mqttotel"
)

// dialsAtOnce is how many connections a fleet opens at a time.
const dialsAtOnce = 64

// shared is what the clients of one process share.
var shared = sync.OnceValue(func() *fleetResources {
	return &fleetResources{loops: eventloop.NewGroup(eventloop.Options{DialLimit: dialsAtOnce})}
})

type fleetResources struct {
	loops  *eventloop.Group
	dialer socket.Dialer
}

type ours struct{ client *mqtt5.Client }

// oursOptions are the options of a client of a fleet.
func oursOptions(o peerOptions, borrow bool) mqtt5.ClientOptions {
	f := shared()
	opts := mqtt5.ClientOptions{
		Address:        o.addr,
		Dial:           f.dialer.DialContext,
		EventLoops:     f.loops,
		Connect:        mqtt5.ConnectPacket{ClientID: o.clientID, KeepAliveSeconds: mqtt5.Ptr[uint16](keepAlive)},
		BorrowPayloads: borrow,
	}
	if o.onMessage != nil {
		opts.OnMessage = func(_ context.Context, m mqtt5.Message) { o.onMessage(m.Payload) }
	}
	if o.receiveMax > 0 {
		opts.Connect.ReceiveMaximum = &o.receiveMax
	}
	if o.tls != nil {
		cfg := o.tls.Clone()
		cfg.DynamicRecordSizingDisabled = true // as tlsctx does
		opts.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := f.dialer.DialContext(ctx, network, address)
			if err != nil {
				return nil, err
			}
			tc := tls.Client(conn, cfg)
			if err := tc.HandshakeContext(ctx); err != nil {
				conn.Close()
				return nil, err
			}
			return tc, nil
		}
	}
	return opts
}

func dialOurs(o peerOptions, borrow bool) (peer, error) {
	c, err := mqtt5.NewClient(oursOptions(o, borrow))
	if err != nil {
		return nil, err
	}
	return startOurs(c)
}

// dialMeasured makes a client that OpenTelemetry measures. Without a producer the
// duration of publishes is recorded with an instrument.
func dialMeasured(o peerOptions, produced bool) (peer, error) {
	var producer *mqttotel.Producer
	var read []sdkmetric.ManualReaderOption
	if produced {
		producer = new(mqttotel.Producer)
		read = append(read, sdkmetric.WithProducer(producer))
	}
	provider := sdkmetric.NewMeterProvider(sdkmetric.WithReader(sdkmetric.NewManualReader(read...)))
	m, err := mqttotel.NewMetrics(mqttotel.MetricsOptions{MeterProvider: provider, Producer: producer})
	if err != nil {
		return nil, err
	}
	options := oursOptions(o, false)
	m.Observe(&options)
	c, err := mqtt5.NewClient(options)
	if err != nil {
		return nil, err
	}
	m.Watch(c)
	return startOurs(c)
}

func startOurs(c *mqtt5.Client) (peer, error) {
	if err := c.Start(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := c.WaitConnected(ctx); err != nil {
		return nil, err
	}
	return &ours{c}, nil
}

// publishMany uses PublishAsync and counts operations under way.
func (p *ours) publishMany(topic string, payload []byte, qos byte, n, window int) error {
	var (
		underway atomic.Int64
		waiting  atomic.Bool
		failed   atomic.Pointer[error]
		wake     = make(chan struct{}, 1)
		floor    atomic.Int64 // wake at this many
	)
	done := func(_ *mqtt5.PublishResult, err error) {
		if err != nil {
			first := err // a copy: taking the address of err would cost an allocation each time
			failed.CompareAndSwap(nil, &first)
		}
		if underway.Add(-1) <= floor.Load() && waiting.CompareAndSwap(true, false) {
			wake <- struct{}{}
		}
	}
	waitFor := func(level int64) {
		floor.Store(level)
		waiting.Store(true)
		if underway.Load() <= level && waiting.CompareAndSwap(true, false) {
			return
		}
		<-wake
	}
	packet := &mqtt5.PublishPacket{Topic: topic, Payload: payload, QoS: mqtt5.QoS(qos)}
	for range n {
		if underway.Load() >= int64(window) {
			waitFor(int64(window) / 2)
		}
		underway.Add(1)
		p.client.PublishAsync(packet, done)
	}
	waitFor(0)
	if err := failed.Load(); err != nil {
		return *err
	}
	return nil
}

func (p *ours) publish(topic string, payload []byte, qos byte) error {
	_, err := p.client.Publish(context.Background(), &mqtt5.PublishPacket{Topic: topic, Payload: payload, QoS: mqtt5.QoS(qos)})
	return err
}

func (p *ours) subscribe(filter string, qos byte) error {
	_, err := p.client.Subscribe(context.Background(), &mqtt5.SubscribePacket{
		Subscriptions: []mqtt5.Subscription{{TopicFilter: filter, QoS: mqtt5.QoS(qos)}}})
	return err
}

func (p *ours) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	err := p.client.Stop(ctx, nil)
	p.client.Close()
	return err
}
