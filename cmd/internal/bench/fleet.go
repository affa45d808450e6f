// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/cmd/internal/connect"
	"github.com/gocrt/aws-iot-device-sdk-go/io/eventloop"
	"github.com/gocrt/aws-iot-device-sdk-go/io/socket"
	"github.com/gocrt/aws-iot-device-sdk-go/io/tlsctx"
	"github.com/gocrt/aws-iot-device-sdk-go/iot"
	"github.com/gocrt/aws-iot-device-sdk-go/iot/iottest"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
)

// maker makes the clients of a run. They share event loops and a dialer, as
// those of a fleet should.
type maker func(clientID string, set func(*mqtt5.ClientOptions)) (*mqtt5.Client, error)

func (b *bench) newMaker() (maker, error) {
	loops := eventloop.NewGroup(eventloop.Options{DialLimit: b.dialers})
	b.onExit(func() { _ = loops.Close() })
	if b.local {
		if err := b.startCore(); err != nil {
			return nil, err
		}
	}
	if b.host == "" {
		return b.makeByMethod(loops), nil
	}
	dial, port, err := b.hostDialer()
	if err != nil {
		return nil, err
	}
	base := mqtt5.ClientOptions{Address: net.JoinHostPort(b.host, strconv.Itoa(port)), Dial: dial, EventLoops: loops}
	return func(clientID string, set func(*mqtt5.ClientOptions)) (*mqtt5.Client, error) {
		o := base
		o.Connect.ClientID = clientID
		set(&o)
		return mqtt5.NewClient(o)
	}, nil
}

// startCore starts a server in this process, with a device for all clients.
func (b *bench) startCore() error {
	core, err := iottest.New(iottest.Options{})
	if err != nil {
		return err
	}
	b.onExit(func() { _ = core.Close() })
	device, err := core.CreateDevice("bench")
	if err != nil {
		return err
	}
	fmt.Fprintln(os.Stderr, "awsiot: no -endpoint or -host: measuring with an embedded AWS IoT Core")
	b.target = &connect.Target{
		Endpoint: core.Endpoint(),
		Method:   iot.MTLSFromBytes(device.CertPEM(), device.KeyPEM()),
		Options:  []iot.Option{iot.WithDialer(core.DialContext), iot.WithCABytes(core.CAPEM())},
	}
	return nil
}

// hostDialer connects to -host.
func (b *bench) hostDialer() (mqtt5.DialFunc, int, error) {
	port := b.flags.Port
	network := &socket.Dialer{}
	if !b.tls {
		if port == 0 {
			port = 1883
		}
		return network.DialContext, port, nil
	}
	if port == 0 {
		port = 8883
	}
	trust, err := tlsctx.New(tlsctx.Options{CAFile: b.flags.CA()})
	if err != nil {
		return nil, 0, err
	}
	return (&tlsctx.Dialer{Context: trust, NetDialer: network}).DialContext, port, nil
}

// makeByMethod makes clients as -method says. The first one's dialer, with its
// certificate or credentials, serves all.
func (b *bench) makeByMethod(loops *eventloop.Group) maker {
	var mu sync.Mutex
	var dial mqtt5.DialFunc
	return func(clientID string, set func(*mqtt5.ClientOptions)) (*mqtt5.Client, error) {
		mu.Lock()
		defer mu.Unlock()
		options := append(slices.Clip(b.target.Options), iot.WithClientID(clientID), iot.WithEventLoops(loops),
			iot.WithClientOptions(func(o *mqtt5.ClientOptions) {
				if dial == nil {
					dial = o.Dial
				}
				o.Dial = dial
				if b.unlimited || b.local {
					o.Limits = nil
				}
				set(o)
			}))
		return iot.NewClient(b.target.Endpoint, b.target.Method, options...)
	}
}

// member is a client of the run.
type member struct {
	bench    *bench
	client   *mqtt5.Client
	index    int
	up       atomic.Bool // it was connected
	refusal  atomic.Pointer[error]
	received gate

	idleSince time.Time // flow: when the last message came
	*publisher
}

// newMember makes a client. Everything is done by the handlers it gets here.
func (b *bench) newMember(index int) (m *member, err error) {
	m = &member{bench: b, index: index}
	m.client, err = b.maker(b.idOf(index), func(o *mqtt5.ClientOptions) {
		o.Connect.KeepAliveSeconds = mqtt5.Ptr(uint16(b.keepAlive / time.Second))
		if b.receiveMax > 0 {
			o.Connect.ReceiveMaximum = mqtt5.Ptr(uint16(b.receiveMax))
		}
		o.MaxQueuedBytes = -1 // -window bounds it
		o.BorrowPayloads = b.variant == variantBorrowed
		o.OnMessage = m.message
		o.OnDisconnection = m.disconnected
		o.ShouldRetry = m.shouldRetry
		o.Resubscribe = true
	})
	return m, err
}

// idOf is the identifier of a client, as a test server wants it.
func (b *bench) idOf(index int) string {
	if b.config.topic == "" {
		return fmt.Sprintf("%s-%d-rm%d-", b.config.clientID, index, b.window)
	}
	return fmt.Sprintf("%s-%d", b.config.clientID, index)
}

func (m *member) message(context.Context, mqtt5.Message) { m.received.add() }

func (m *member) disconnected(e *mqtt5.Disconnection) {
	if b := m.bench; m.up.Load() && b.ctx.Err() == nil {
		b.lost.add(e.Err)
	}
}

// shouldRetry gives up if the first attempt fails, and never later.
func (m *member) shouldRetry(r mqtt5.RetryInfo) bool {
	if m.up.Load() {
		return true
	}
	m.refusal.Store(&r.Err)
	return false
}

// start connects.
func (m *member) start() error {
	if err := m.client.Start(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(m.bench.ctx, patience)
	defer cancel()
	err := m.client.WaitConnected(ctx)
	m.up.Store(err == nil)
	if cause := m.refusal.Load(); cause != nil && errors.Is(err, mqtt5.ErrGaveUp) {
		return *cause
	}
	return err
}

// stop disconnects for good. What is under way gets a moment to complete.
func (m *member) stop() error {
	m.up.Store(false)
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return errors.Join(m.client.Stop(ctx, nil), m.client.Close())
}

// open connects all clients, -dialers of them at a time.
func (b *bench) open() error {
	defer announce("connecting " + clients(b.clients))()
	b.fleet = make([]*member, b.clients)
	if b.clients == 1 {
		m, err := b.newMember(0)
		if err != nil {
			return err
		}
		b.fleet[0] = m
		return m.start()
	}
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(b.dialers, b.clients) {
		wg.Go(func() {
			for b.ctx.Err() == nil {
				i := int(next.Add(1) - 1)
				if i >= b.clients {
					return
				}
				m, err := b.newMember(i)
				if err == nil {
					b.fleet[i] = m
					err = m.start()
				}
				if err != nil {
					b.end(fmt.Errorf("client %d: %w", i, err))
				}
				b.opened.Add(1)
			}
		})
	}
	wg.Wait()
	return context.Cause(b.ctx)
}

// close disconnects all clients. It is no error if that fails: the figures are
// in, and the server may be gone.
func (b *bench) close() {
	var wg sync.WaitGroup
	slots := make(chan struct{}, b.dialers)
	for _, m := range b.fleet {
		if m == nil {
			continue
		}
		slots <- struct{}{}
		wg.Go(func() {
			_ = m.stop()
			<-slots
		})
	}
	wg.Wait()
}
