// SPDX-License-Identifier: Apache-2.0

package mqtttest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"time"
)

// TB is what a [Server] needs of a test: a [*testing.T], [*testing.B] or
// [*testing.F] has it.
type TB interface {
	Helper()
	Errorf(format string, args ...any)
	Logf(format string, args ...any)
	Cleanup(func())
	Failed() bool
}

// ErrServerClosed is what dialing a closed [Server] fails with, and what its
// scripts get that were still reading then.
var ErrServerClosed = errors.New("mqtttest: server closed")

// errCut ends a script whose connection was cut as it had asked for.
var errCut = errors.New("mqtttest: cut as planned")

type options struct {
	bufferSize   int
	timeout      time.Duration
	journalLimit int
	collect      bool
	refuse       bool
	allowed      []string
	broker       BrokerOptions
	intercept    func(*Conn, Packet) bool
}

// Option changes a [Server] from its defaults.
type Option func(*options)

// BufferSize sets how many bytes a connection in memory holds in each direction
// before a writer blocks. The default is [DefaultBufferSize].
func BufferSize(n int) Option { return func(o *options) { o.bufferSize = n } }

// Timeout sets how long a script waits for the client before it fails the test,
// and how long [Server.Wait] and [Server.WaitFor] wait. The default is one
// minute, or a day inside a bubble of testing/synctest, where waiting costs
// nothing. Zero or less waits for ever.
func Timeout(d time.Duration) Option { return func(o *options) { o.timeout = d } }

// JournalLimit makes the journal forget old events: it keeps the last n at
// least, and twice as many at most. The default is to keep all.
func JournalLimit(n int) Option { return func(o *options) { o.journalLimit = n } }

// CollectFailures keeps failures for [Server.Failures] only, instead of failing the test.
func CollectFailures() Option { return func(o *options) { o.collect = true } }

// RefuseUnscripted refuses connections when no script is left. The default is
// to serve them as a small broker.
func RefuseUnscripted() Option { return func(o *options) { o.refuse = true } }

// AllowRules lets the client break the named rules, such as "MQTT-3.3.4-7",
// unless they make a packet unreadable.
func AllowRules(rules ...string) Option {
	return func(o *options) { o.allowed = append(o.allowed, rules...) }
}

// WithBroker sets how connections without a script, and [Conn.Serve], are served.
func WithBroker(b BrokerOptions) Option { return func(o *options) { o.broker = b } }

// Intercept calls f with every packet that comes in on a connection that is
// served as a broker, before the broker sees it. When f returns true, the
// packet is not handled any further. f runs on the connection's own goroutine,
// and may send, sleep, cut and close; for the packets of one connection it is
// called in order, for several connections at once. A CONNECT that it handles
// ends the connection, unless f sends the CONNACK and then calls [Conn.Serve].
func Intercept(f func(c *Conn, p Packet) (handled bool)) Option {
	return func(o *options) { o.intercept = f }
}

type planKind byte

const (
	planScript planKind = iota + 1
	planRefuse
	planHang
	planDelay
)

// plan is the outcome of one connection.
type plan struct {
	kind  planKind
	run   func(*Conn)
	err   error
	delay time.Duration
	where string
}

// Server is an MQTT 5 server for tests. Clients reach it by
// [Server.DialContext], in memory, or over TCP after [Server.Listen]. Each
// connection takes the next script, or is served as a small broker when none is
// left.
//
// Its methods may be called by any number of goroutines.
type Server struct {
	tb   TB
	opts options
	done chan struct{} // closed by Close

	mu        sync.Mutex
	changed   sync.Cond
	version   uint64 // counts what changed is told of
	closed    bool
	plans     []plan
	running   int // scripts
	conns     map[*Conn]struct{}
	made      int
	listeners []net.Listener
	journal   []Event
	failures  []error

	work   sync.WaitGroup
	broker *broker

	auditMu  sync.Mutex
	sessions map[string]*sessionAudit // by client identifier
	turns    int                      // given to connections
}

// NewServer returns a server that lives until the end of the test. Whatever the
// client does wrong fails the test: a packet that breaks the standard, or one
// that a script did not expect. So do scripts that have not run to their end by
// then. After a failure the journal goes to the test's log.
//
// tb may be nil where there is no test: failures are then kept for
// [Server.Failures] only, and the server has to be closed with [Server.Close].
func NewServer(tb TB, opts ...Option) *Server {
	if tb == nil {
		tb = noTB{}
	}
	s := &Server{tb: tb, done: make(chan struct{}), conns: map[*Conn]struct{}{}, sessions: map[string]*sessionAudit{}}
	s.changed.L = &s.mu
	s.opts.timeout = defaultTimeout()
	for _, o := range opts {
		o(&s.opts)
	}
	s.broker = newBroker(s, s.opts.broker)
	tb.Cleanup(func() {
		s.Close()
		if tb.Failed() {
			for _, e := range s.Journal() {
				tb.Logf("%v", e)
			}
		}
	})
	return s
}

// defaultTimeout knows a bubble by its clock, which starts in the year 2000.
func defaultTimeout() time.Duration {
	if time.Now().Year() < 2020 {
		return 24 * time.Hour
	}
	return time.Minute
}

// noTB stands in for a test that is not there.
type noTB struct{}

func (noTB) Helper()               {}
func (noTB) Errorf(string, ...any) {}
func (noTB) Logf(string, ...any)   {}
func (noTB) Cleanup(func())        {}
func (noTB) Failed() bool          { return false }

// notify wakes who waits for a change. The lock is held.
func (s *Server) notify() {
	s.version++
	s.changed.Broadcast()
}

func (s *Server) fail(format string, args ...any) {
	s.tb.Helper()
	err := fmt.Errorf(format, args...)
	s.mu.Lock()
	s.failures = append(s.failures, err)
	s.mu.Unlock()
	if !s.opts.collect {
		s.tb.Errorf("%v", err)
	}
}

// Failures returns what has been reported as failures of the test so far.
// [errors.As] finds a [*Violation] in those that are about the standard.
func (s *Server) Failures() []error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.failures)
}

func caller() string {
	if _, file, line, ok := runtime.Caller(2); ok {
		return fmt.Sprintf("%s:%d", filepath.Base(file), line)
	}
	return "unknown place"
}

func (s *Server) plan(p plan) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.plans = append(s.plans, p)
}

// Script runs f for the next connection that has no plan yet, on a goroutine of
// its own. When f returns, the connection is closed. f ends early when one of
// its expectations fails.
func (s *Server) Script(f func(c *Conn)) {
	s.plan(plan{kind: planScript, run: f, where: caller()})
}

// RefuseDial plans that the next connection is refused: DialContext fails with
// err, or with ECONNREFUSED when err is nil. Over TCP, the connection is made
// and reset at once.
func (s *Server) RefuseDial(err error) {
	if err == nil {
		err = syscall.ECONNREFUSED
	}
	s.plan(plan{kind: planRefuse, err: err, where: caller()})
}

// HangDial plans that the next connection is not made: DialContext waits for
// its context to end. Over TCP, the connection is made, but nobody reads from
// it or writes to it.
func (s *Server) HangDial() { s.plan(plan{kind: planHang, where: caller()}) }

// DelayDial plans that the next connection takes d to be made; what is planned
// after this comes next.
func (s *Server) DelayDial(d time.Duration) {
	s.plan(plan{kind: planDelay, delay: d, where: caller()})
}

func (s *Server) nextPlan() (plan, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return plan{}, ErrServerClosed
	}
	p := plan{kind: planScript}
	switch {
	case len(s.plans) > 0:
		p = s.plans[0]
		s.plans = s.plans[1:]
	case s.opts.refuse:
		p = plan{kind: planRefuse, err: syscall.ECONNREFUSED}
	default:
		p.run = (*Conn).Serve
	}
	if p.kind == planScript && p.where != "" {
		s.running++
	}
	s.notify()
	return p, nil
}

// DialContext makes a connection in memory, according to what is planned for
// it. It has the signature of [net.Dialer.DialContext]; network and address do
// not matter.
func (s *Server) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, dialError(err)
	}
	for {
		p, err := s.nextPlan()
		if err != nil {
			return nil, dialError(err)
		}
		switch p.kind {
		case planRefuse:
			s.record(Event{Kind: Refused, Err: p.err})
			return nil, dialError(p.err)
		case planHang:
			err = s.pause(ctx, -1)
		case planDelay:
			err = s.pause(ctx, p.delay)
		default:
			client, server := Pipe(s.opts.bufferSize)
			if err := s.start(server, p); err != nil {
				return nil, dialError(err)
			}
			return client, nil
		}
		if err != nil {
			s.record(Event{Kind: Refused, Err: err})
			return nil, dialError(err)
		}
	}
}

func dialError(err error) error {
	return &net.OpError{Op: "dial", Net: "memory", Addr: memAddr("server"), Err: err}
}

// pause waits for d, for ever when it is negative, or until ctx or the server ends.
func (s *Server) pause(ctx context.Context, d time.Duration) error {
	var fired <-chan time.Time
	if d >= 0 {
		t := time.NewTimer(d)
		defer t.Stop()
		fired = t.C
	}
	select {
	case <-fired:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-s.done:
		return ErrServerClosed
	}
}

// start runs a plan's script for a connection.
func (s *Server) start(nc net.Conn, p plan) error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		nc.Close()
		return ErrServerClosed
	}
	s.made++
	c := newConn(s, nc, s.made, p.where)
	s.conns[c] = struct{}{}
	s.work.Add(1)
	s.mu.Unlock()
	s.record(Event{Conn: c.number, Kind: Opened})
	go func() {
		defer s.work.Done()
		defer s.finish(c, p)
		c.guard(p.run)
	}()
	return nil
}

func (s *Server) finish(c *Conn, p plan) {
	c.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
	if p.where != "" {
		s.running--
	}
	s.notify()
}

// Listen opens a TCP listener on the loopback interface and returns its
// address. Connections to it are served like those of [Server.DialContext].
func (s *Server) Listen() (address string, err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("mqtttest: %w", err)
	}
	if err := s.Serve(l); err != nil {
		l.Close()
		return "", err
	}
	return l.Addr().String(), nil
}

// Serve takes the connections of l, for instance of a listener of crypto/tls,
// until the server is closed. It returns at once; the server closes l.
func (s *Server) Serve(l net.Listener) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrServerClosed
	}
	s.listeners = append(s.listeners, l)
	s.work.Add(1)
	go s.accept(l)
	return nil
}

func (s *Server) accept(l net.Listener) {
	defer s.work.Done()
	for {
		nc, err := l.Accept()
		if err != nil {
			return
		}
		s.work.Add(1)
		go func() {
			defer s.work.Done()
			s.admit(nc)
		}()
	}
}

func (s *Server) admit(nc net.Conn) {
	for {
		p, err := s.nextPlan()
		if err != nil {
			nc.Close()
			return
		}
		switch p.kind {
		case planRefuse:
			s.record(Event{Kind: Refused, Err: p.err})
			reset(nc)
			return
		case planHang:
			err = s.pause(context.Background(), -1)
		case planDelay:
			err = s.pause(context.Background(), p.delay)
		default:
			s.start(nc, p) // fails only when the server is closed, which closes nc
			return
		}
		if err != nil {
			s.record(Event{Kind: Refused, Err: err})
			nc.Close()
			return
		}
	}
}

// Wait waits until all scripts have run to their end, and all other plans are
// used. It reports a failure when that takes longer than the timeout of the
// server.
func (s *Server) Wait() {
	s.tb.Helper()
	if !s.wait(func() bool { return len(s.plans) == 0 && s.running == 0 }) {
		s.mu.Lock()
		left, running := len(s.plans), s.running
		s.mu.Unlock()
		s.fail("mqtttest: after %v, %d planned connections have not been made and %d scripts are still running",
			s.opts.timeout, left, running)
	}
}

// Conns returns the connections that are open, oldest first.
func (s *Server) Conns() []*Conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []*Conn
	for c := range s.conns {
		list = append(list, c)
	}
	slices.SortFunc(list, func(a, b *Conn) int { return a.number - b.number })
	return list
}

// Close ends the server: listeners and connections are closed, dials that hang
// fail, and scripts that are running may still read what their client has
// already sent. It returns when all is over. Plans that were not used, and
// scripts that were still waiting for something, are reported as failures. The
// end of the test closes the server by itself; further calls do nothing.
func (s *Server) Close() {
	s.tb.Helper()
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return
	}
	s.closed = true
	close(s.done)
	left := s.plans
	s.plans = nil
	listeners := s.listeners
	s.notify()
	s.mu.Unlock()
	for _, l := range listeners {
		l.Close()
	}
	for _, c := range s.Conns() {
		c.endWaiting()
	}
	s.work.Wait()
	s.broker.close()
	for _, p := range left {
		s.fail("mqtttest: what %s plans was not used", p.where)
	}
}

// reset aborts a connection if it knows how to, and closes it otherwise.
func reset(nc net.Conn) {
	switch c := nc.(type) {
	case interface{ NetConn() net.Conn }: // of crypto/tls
		reset(c.NetConn())
	case interface{ Reset() error }:
		c.Reset()
	case interface{ SetLinger(int) error }:
		c.SetLinger(0)
	}
	nc.Close()
}
