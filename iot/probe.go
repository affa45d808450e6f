// SPDX-License-Identifier: Apache-2.0

package iot

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/http/websocket"
	"github.com/gocrt/aws-iot-device-sdk-go/io/tlsctx"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
)

// prober is what the making of a client knows of a [probe]. It is an interface
// so that only programs that call [Diagnose] carry the probe.
type prober interface {
	attach(c *connector, s *settings, m method)
	below(dial mqtt5.DialFunc) mqtt5.DialFunc
	through(dial mqtt5.DialFunc) mqtt5.DialFunc
	above(dial mqtt5.DialFunc) mqtt5.DialFunc
	handlers(o *mqtt5.ClientOptions)
}

// probe watches the layers of a connection for [Diagnose].
type probe struct {
	// What the client is made of.
	host      string
	port      int
	identity  tlsctx.Identity
	tls       *tlsctx.Context
	network   mqtt5.DialFunc
	proxied   bool
	websocket bool
	signed    bool
	keepAlive *uint16 // in seconds, as configured

	connected chan *mqtt5.ConnectionSuccess
	failed    chan error
	dialed    chan struct{} // closed after the dial

	mu        sync.Mutex
	checks    map[string]Check
	abandoned error // why the diagnosis ended before the attempt did
}

func newProbe() *probe {
	return &probe{connected: make(chan *mqtt5.ConnectionSuccess, 1), failed: make(chan error, 1), dialed: make(chan struct{}), checks: map[string]Check{}}
}

// maxAnswer bounds the bytes of an HTTP answer that is read for its time.
const maxAnswer = 64 << 10

// maxSkew is how far the clock may be off before signatures are refused.
const maxSkew = 5 * time.Minute

// steps are the steps that apply, in their order.
func (p *probe) steps() []string {
	all := []struct {
		step    string
		applies bool
	}{
		{StepSettings, true},
		{StepCertificate, p.identity != nil},
		{StageCredentials, p.signed},
		{StageDNS, net.ParseIP(p.host) == nil || p.proxied},
		{StageTCP, true},
		{StageProxy, p.proxied},
		{StageTLS, p.tls != nil},
		{StepClock, p.tls != nil && p.port != portMTLS},
		{StageUpgrade, p.websocket},
		{StageConnect, true},
		{StepSubscribe, true},
		{StepPublish, true},
		{StepRoundTrip, true},
	}
	var steps []string
	for _, s := range all {
		_, known := p.checks[s.step]
		if s.applies || known {
			steps = append(steps, s.step)
		}
	}
	return steps
}

// report puts the checks together.
func (p *probe) report() *Report {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := &Report{Endpoint: p.host, Port: p.port}
	for _, step := range p.steps() {
		c, known := p.checks[step]
		if !known {
			c = Check{Step: step, Status: CheckNotReached}
		}
		r.Checks = append(r.Checks, c)
	}
	return r
}

func (p *probe) set(c Check) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if old, known := p.checks[c.Step]; known && old.Status == CheckFailed {
		return // the first failure is the one that counts
	}
	p.checks[c.Step] = c
}

func (p *probe) ok(step string, d time.Duration, detail string) {
	p.set(Check{Step: step, Status: CheckOK, Detail: detail, Duration: d})
}

func (p *probe) warn(step, detail, hint string) {
	p.set(Check{Step: step, Status: CheckWarning, Detail: detail, Hint: hint})
}

func (p *probe) fail(step string, d time.Duration, err error) {
	if step == "" {
		step = StageConnect
	}
	p.set(Check{Step: step, Status: CheckFailed, Detail: err.Error(), Hint: Explain(err).Hint, Duration: d, Err: err})
}

// pending is the step of connecting that has no result yet.
func (p *probe) pending() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, step := range p.steps() {
		if _, known := p.checks[step]; !known && step != StepClock {
			return step
		}
	}
	return StageConnect
}

// failedAt is the first step that failed, "" if none did.
func (p *probe) failedAt() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, step := range p.steps() {
		if p.checks[step].Status == CheckFailed {
			return step
		}
	}
	return ""
}

// settings notes what the constructor said.
func (p *probe) settings(err error) {
	if err != nil {
		p.fail(StepSettings, 0, err)
		return
	}
	p.ok(StepSettings, 0, net.JoinHostPort(p.host, strconv.Itoa(p.port)))
}

// attach looks at a client that is being made.
func (p *probe) attach(c *connector, s *settings, m method) {
	p.host, p.port, p.identity, p.tls, p.network = c.host, c.port, c.tlsOpts.Identity, c.tls, c.network
	p.proxied, p.websocket, p.signed = s.proxy != nil, m.websocket(), m.transform != nil
}

// below watches what opens connections to the network.
func (p *probe) below(dial mqtt5.DialFunc) mqtt5.DialFunc {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		begun := time.Now()
		conn, err := dial(ctx, network, address)
		took := time.Since(begun)
		host, _, _ := net.SplitHostPort(address)
		// The step above reports the failure and the remedy.
		if net.ParseIP(host) == nil && (err == nil || stageOf(err) != StageDNS) {
			p.ok(StageDNS, 0, host)
		}
		if err == nil {
			p.ok(StageTCP, took, "connected to "+conn.RemoteAddr().String())
		}
		return conn, err
	}
}

// through watches the proxy.
func (p *probe) through(dial mqtt5.DialFunc) mqtt5.DialFunc {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		begun := time.Now()
		conn, err := dial(ctx, network, address)
		if err == nil {
			p.ok(StageProxy, time.Since(begun), "tunnel to "+address)
			p.mu.Lock()
			_, known := p.checks[StageDNS]
			p.mu.Unlock()
			if host, _, _ := net.SplitHostPort(address); !known && net.ParseIP(host) == nil {
				p.ok(StageDNS, 0, "left to the proxy, which is given as an address")
			}
		}
		return conn, err
	}
}

// above watches all layers together.
func (p *probe) above(dial mqtt5.DialFunc) mqtt5.DialFunc {
	var once sync.Once
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		defer once.Do(func() { close(p.dialed) })
		conn, err := dial(ctx, network, address)
		if err != nil {
			// What came before the stage that failed has succeeded.
			stage := Explain(err).Stage
			if stage == StageUpgrade {
				p.passed(StageCredentials, StageTLS)
			}
			p.mu.Lock()
			abandoned := p.abandoned
			p.mu.Unlock()
			if abandoned != nil {
				p.fail(stage, 0, abandoned)
				return conn, err
			}
			p.fail(stage, 0, err)
			return conn, err
		}
		var state *tls.ConnectionState
		below := conn
		if ws, ok := conn.(*websocket.Conn); ok {
			p.ok(StageUpgrade, 0, "subprotocol "+ws.Subprotocol())
			below = ws.NetConn()
			p.passed(StageCredentials)
		}
		if t, ok := below.(interface{ ConnectionState() tls.ConnectionState }); ok {
			s := t.ConnectionState()
			state = &s
		}
		if state != nil {
			p.ok(StageTLS, 0, describeTLS(*state))
		}
		return conn, err
	}
}

// passed notes steps that apply and that leave no trace when they succeed.
func (p *probe) passed(steps ...string) {
	p.mu.Lock()
	applies := p.steps()
	p.mu.Unlock()
	for _, s := range steps {
		if slices.Contains(applies, s) {
			p.ok(s, 0, "")
		}
	}
}

// handlers let the probe see the outcome of the attempt, of which there is one.
func (p *probe) handlers(o *mqtt5.ClientOptions) {
	p.keepAlive = o.Connect.KeepAliveSeconds
	success, failure := o.OnConnectionSuccess, o.OnConnectionFailure
	o.OnConnectionSuccess = func(s *mqtt5.ConnectionSuccess) {
		select {
		case p.connected <- s:
		default:
		}
		if success != nil {
			success(s)
		}
	}
	o.OnConnectionFailure = func(f *mqtt5.ConnectionFailure) {
		select {
		case p.failed <- f.Err:
		default:
		}
		if failure != nil {
			failure(f)
		}
	}
	o.ShouldRetry = func(mqtt5.RetryInfo) bool { return false }
}

// clock compares the clock with that of the server, which an HTTP answer on
// the same port carries. Without such an answer the step is left out.
func (p *probe) clock(ctx context.Context) {
	if p.tls == nil || p.port == portMTLS {
		return
	}
	p.mu.Lock()
	reached := p.checks[StageTLS].Status == CheckOK || p.checks[StageUpgrade].Status == CheckFailed
	p.mu.Unlock()
	if !reached {
		return
	}
	server, err := p.serverTime(ctx)
	if err != nil {
		p.set(Check{Step: StepClock, Status: CheckNotReached, Detail: "the server sends no time"})
		return
	}
	skew := time.Since(server).Round(time.Second)
	direction := "ahead of"
	if skew < 0 {
		direction = "behind"
	}
	detail := fmt.Sprintf("%v %s the server", skew.Abs(), direction)
	switch {
	case skew.Abs() <= 2*time.Second:
		p.ok(StepClock, 0, "agrees with the server's")
	case skew.Abs() <= maxSkew:
		p.ok(StepClock, 0, detail)
	case p.signed:
		p.set(Check{Step: StepClock, Status: CheckFailed, Detail: detail, Hint: "set the clock, for example by NTP: signatures are refused beyond " + maxSkew.String(),
			Err: fmt.Errorf("iot: the clock is %s", detail)})
	default:
		p.warn(StepClock, detail, "set the clock, for example by NTP: the validity of certificates is checked with it")
	}
}

// serverTime asks for the Date of an HTTP answer.
func (p *probe) serverTime(ctx context.Context) (time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	config, err := p.tls.Config(ctx, p.host)
	if err != nil {
		return time.Time{}, err
	}
	config.NextProtos = nil // HTTP is what the port speaks without
	raw, err := p.network(ctx, "tcp", net.JoinHostPort(p.host, strconv.Itoa(p.port)))
	if err != nil {
		return time.Time{}, err
	}
	conn := tls.Client(raw, config)
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = raw.Close() })
	defer stop()
	request, err := http.NewRequestWithContext(ctx, http.MethodHead, "https://"+net.JoinHostPort(p.host, strconv.Itoa(p.port))+"/", nil)
	if err != nil {
		return time.Time{}, err
	}
	request.Close = true
	if err := request.Write(conn); err != nil {
		return time.Time{}, err
	}
	response, err := http.ReadResponse(bufio.NewReader(io.LimitReader(conn, maxAnswer)), request)
	if err != nil {
		return time.Time{}, err
	}
	_ = response.Body.Close()
	date, err := http.ParseTime(response.Header.Get("Date"))
	if err != nil {
		return time.Time{}, errors.New("no date")
	}
	return date, nil
}
