// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/internal/wire"
)

// The simulation runs an engine against a model of a server, over a network
// that delays and cuts, on a virtual clock. Everything is drawn from a seed. It
// consists of many scenarios, each with its own configuration; a failure names
// the seed of its scenario, which -scenario runs again, with a trace under -v.
var (
	simSteps    = flag.Int("steps", 100_000, "steps of the simulation in all")
	simSeed     = flag.Uint64("seed", 0, "seed of the simulation; 0: a few fixed ones")
	simScenario = flag.Uint64("scenario", 0, "run this one scenario of the simulation again")
)

func TestSimulation(t *testing.T) {
	if *simScenario != 0 {
		s := newSimulation(t, *simScenario)
		s.tracing = testing.Verbose()
		s.run()
		return
	}
	seeds := []uint64{1, 2, 3, 4}
	if *simSeed != 0 {
		seeds = []uint64{*simSeed}
	}
	var total tally
	for _, seed := range seeds {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			source := rand.NewPCG(seed, 0)
			for done, goal := 0, *simSteps/len(seeds); done < goal; {
				s := newSimulation(t, source.Uint64()|1)
				done += s.run()
				total.add(&s.tally)
			}
		})
	}
	total.check(t)
}

// tally counts what happened, so that a simulation in which nothing does is
// noticed.
type tally struct {
	connects, resumed, lost, refused, cuts, stops      int
	success, failed, timeouts, poisoned, withdrawn     int
	qos1, qos2, deliveries, duplicates, nacks, renewed int
	stalled, throttled, aliased, dropped, limited      int
	adopted, stored, unstored                          int
}

func (a *tally) add(b *tally) {
	for _, p := range [...]struct{ a, b *int }{
		{&a.connects, &b.connects}, {&a.resumed, &b.resumed}, {&a.lost, &b.lost}, {&a.refused, &b.refused}, {&a.cuts, &b.cuts},
		{&a.stops, &b.stops}, {&a.success, &b.success}, {&a.failed, &b.failed}, {&a.timeouts, &b.timeouts},
		{&a.poisoned, &b.poisoned}, {&a.withdrawn, &b.withdrawn}, {&a.qos1, &b.qos1}, {&a.qos2, &b.qos2},
		{&a.deliveries, &b.deliveries}, {&a.duplicates, &b.duplicates}, {&a.nacks, &b.nacks}, {&a.renewed, &b.renewed},
		{&a.stalled, &b.stalled}, {&a.throttled, &b.throttled}, {&a.aliased, &b.aliased}, {&a.dropped, &b.dropped}, {&a.limited, &b.limited},
		{&a.adopted, &b.adopted}, {&a.stored, &b.stored}, {&a.unstored, &b.unstored},
	} {
		*p.a += *p.b
	}
}

func (a *tally) check(t *testing.T) {
	t.Logf("%+v", *a)
	if *simSteps < 50_000 {
		return
	}
	for name, n := range map[string]int{
		"connects": a.connects, "resumed": a.resumed, "lost": a.lost, "refused": a.refused, "cuts": a.cuts, "stops": a.stops,
		"success": a.success, "failed": a.failed, "timeouts": a.timeouts, "poisoned": a.poisoned, "withdrawn": a.withdrawn,
		"qos1": a.qos1, "qos2": a.qos2, "deliveries": a.deliveries, "duplicates": a.duplicates, "nacks": a.nacks,
		"renewed": a.renewed, "stalled": a.stalled, "throttled": a.throttled, "aliased": a.aliased, "dropped": a.dropped, "limited": a.limited, "adopted": a.adopted,
		"stored": a.stored, "unstored": a.unstored,
	} {
		if n == 0 {
			t.Errorf("the simulation had no %s", name)
		}
	}
}

// simulation is one scenario. It is the owner of the engine, its user and its
// network at once, and the engine's sink.
type simulation struct {
	t       *testing.T
	seed    uint64
	rng     rand.PCG
	tracing bool
	tally   tally

	step   int
	peace  int  // how rare faults and stops are
	ending bool // the last Stop was called
	calm   bool // no more faults: everything must come to an end
	now    time.Duration
	cfg    Config
	hello  wire.Connect
	e      *Engine
	inbox  inTap
	tap    outTap
	link   link
	srv    server
	store  *simStore // nil: there is none

	// The user.
	ops        []*simOp // by serial number, which starts at 1
	open       []*simOp // not completed
	bytes      int64    // of those
	phase      EventKind
	attempt    int
	stopping   bool
	challenge  int  // to be answered
	confirm    bool // the server's last data are to be judged
	delivered  []uint64
	held       []uint64
	staleAcks  []uint64 // of connections that are gone: delivered
	staleHeld  []uint64 // likewise: held
	paused     bool
	submitting *simOp
}

// simOp is what the simulation knows of an operation.
type simOp struct {
	op      *Operation // until it completes
	serial  uint64
	kind    Kind
	qos     uint8
	retain  bool
	topic   string
	size    int64
	large   bool
	payload []byte

	done      bool
	sent      bool // Sent, when it completed
	withdrawn bool
	err       error

	id       uint16
	epoch    int           // session in which it was handed over last
	conn     int           // connection on which it was handed over last
	at       time.Duration // when
	hangups  int           // connections that ended while it was in flight
	answered bool          // the last acknowledgement was delivered
	reason   wire.ReasonCode
	codes    []wire.ReasonCode
	released bool // a PUBREC was delivered
	arrived  int  // times that the server accepted it

	kept uint64 // ID of the publish in the store
}

func newSimulation(t *testing.T, seed uint64) *simulation {
	s := &simulation{t: t, seed: seed, now: time.Second}
	s.rng.Seed(seed, seed)
	s.configure()
	if s.one(3) {
		s.keepAll()
	}
	s.e = New(&s.cfg, s)
	s.ops = append(make([]*simOp, 0, 1024), nil)
	s.inbox.received = map[uint16]bool{}
	s.inbox.unfinished = map[uint16]unfinishedMessage{}
	s.srv.init(s)
	return s
}

// n draws from [0, k).
func (s *simulation) n(k int) int { return int((s.rng.Uint64() >> 32) * uint64(k) >> 32) }

// one is true once in k times.
func (s *simulation) one(k int) bool { return s.n(k) == 0 }

// fault is one, unless the scenario is to end well.
func (s *simulation) fault(k int) bool { return !s.calm && s.n(k*s.peace) == 0 }

func pick[T any](s *simulation, values ...T) T { return values[s.n(len(values))] }

func (s *simulation) configure() {
	s.cfg = Config{
		Session:            SessionBehavior(s.n(3)),
		Offline:            OfflinePolicy(s.n(3)),
		Full:               FullPolicy(s.n(2)),
		MaxOps:             pick(s, 3, 20, 100),
		MaxBytes:           pick[int64](s, 0, 0, 400, 4000),
		OutAliases:         AliasMode(s.n(3)),
		OutAliasSize:       uint16(1 + s.n(4)),
		InAliasMax:         uint16(s.n(4)),
		Jitter:             Jitter(s.n(3)),
		MinDelay:           100 * time.Millisecond,
		MaxDelay:           5 * time.Second,
		ResetDelayAfter:    3 * time.Second,
		ConnectTimeout:     2 * time.Second,
		ConnackTimeout:     2 * time.Second,
		PingTimeout:        time.Second,
		AckTimeout:         pick[time.Duration](s, 0, time.Second, 3*time.Second, 20*time.Second),
		DisconnectTimeout:  time.Second,
		CloseTimeout:       time.Second,
		PoisonLimit:        pick(s, 0, 1, 2, 3),
		PublishesPerSecond: pick[float64](s, 0, 0, 3, 30),
		BytesPerSecond:     pick[float64](s, 0, 0, 200, 3000),
		Uniform:            func(n int64) int64 { return int64(s.rng.Uint64() % uint64(n)) },
	}
	s.peace = pick(s, 1, 1, 4, 16)
	s.hello = wire.Connect{
		ClientID:              pick(s, "", "client"),
		KeepAlive:             pick[uint16](s, 0, 1, 5, 60),
		SessionExpiryInterval: pick[*uint32](s, nil, new(uint32)),
	}
	if s.one(2) {
		rm := uint16(1 + s.n(4))
		s.hello.ReceiveMaximum = &rm
	}
	if s.one(3) {
		s.hello.RequestProblemInformation = ptr(s.one(2))
	}
	if s.one(4) {
		method := "method"
		s.hello.AuthenticationMethod = &method
	}
}

func (s *simulation) fail(format string, args ...any) {
	s.t.Helper()
	s.t.Fatalf("scenario %d, step %d, %v, %v: %s", s.seed, s.step, s.now, s.e.state, fmt.Sprintf(format, args...))
}

func (s *simulation) trace(format string, args ...any) {
	s.t.Logf("%6d %-12v %-13v %s", s.step, s.now, s.e.state, fmt.Sprintf(format, args...))
}

// run runs the scenario and returns how many steps it took.
func (s *simulation) run() int {
	for length := 500 + s.n(5000); s.step < length && s.e.state != Closed; {
		s.act()
	}
	if s.e.state != Closed {
		s.finish()
	}
	s.checkStore()
	s.checkRest()
	return s.step
}

// finish lets everything come to an end: the network works, the user asks for
// nothing new and answers everything, and the server answers everything.
func (s *simulation) finish() {
	s.calm = true
	s.srv.mute, s.srv.swallow = false, false
	if s.paused {
		s.setPaused(false)
	}
	s.check(s.e.Start(s.now))
	s.settle()
	if s.link.state == linkOpen { // what was swallowed is answered after a reconnect only
		s.cut()
	}
	for from := s.step; len(s.open) > 0 || s.e.state != Connected || len(s.srv.session.out) > 0 || s.flows() > 0 || s.left() > 0; {
		s.act()
		if s.step > from+200_000 {
			s.fail("does not come to an end: %d operations, %d flows, %d from the server", len(s.open), s.flows(), len(s.srv.session.out))
		}
	}
	s.ending = true
	s.stop(pick[time.Duration](s, 0, s.now+time.Second, never))
	for from := s.step; s.e.state != Stopped; {
		s.act()
		if s.step > from+100_000 {
			s.fail("does not stop")
		}
	}
	if s.one(2) {
		s.e.Close(s.now)
		s.settle()
	}
}

// left is how many publishes wait that only the store wants to be sent: nobody
// waits for them any more.
func (s *simulation) left() int {
	if s.store == nil {
		return 0
	}
	return s.e.publishes.n
}

// flows is how many operations the engine goes on with for the session's sake.
func (s *simulation) flows() int {
	e := s.e
	return e.resend.n + e.sent.n + e.released.n
}

// checkRest checks that nothing is left.
func (s *simulation) checkRest() {
	e := s.e
	if len(s.open) > 0 || s.bytes != 0 {
		s.fail("%d operations of %d bytes left", len(s.open), s.bytes)
	}
	if st := e.Stats(); st.Incomplete != 0 || st.IncompleteBytes != 0 || st.Unacked != 0 || st.UnackedBytes != 0 || st.Queued != 0 {
		s.fail("statistics at rest: %+v", st)
	}
	for i, l := range s.lists() {
		if l.n != 0 || l.head != nil || l.tail != nil {
			s.fail("list %d holds %d operations at rest", i, l.n)
		}
	}
	if len(e.control) != 0 || len(e.acks.records) != 0 || e.answering.len() != 0 || e.freeCount > maxFree {
		s.fail("memory at rest: %d bytes, %d acknowledgements, %d unanswered, %d free", len(e.control), len(e.acks.records), e.answering.len(), e.freeCount)
	}
	if s.stopping {
		s.fail("stopped without the event")
	}
	if s.deadline() != never {
		s.fail("deadline at rest: %v", s.deadline())
	}
}

func (s *simulation) check(err error) {
	if err != nil {
		s.fail("%v", err)
	}
}

// act is one step: one thing happens somewhere.
func (s *simulation) act() {
	d := s.n(64)
	switch s.link.state { // do not linger where little happens
	case linkNone:
		if s.one(3) {
			d = 52
		}
	case linkDialing, linkClosing:
		if s.one(3) {
			d = 60
		}
	}
	s.do(d)
}

// do does one kind of thing, of 64.
func (s *simulation) do(d int) {
	s.step++
	if s.store != nil && s.one(4) {
		s.commit()
		s.settle()
	}
	switch {
	case d < 12:
		s.write()
	case d < 24:
		s.srv.act()
	case d < 36:
		s.read()
	case d < 48:
		s.user()
	case d < 52:
		s.acknowledge()
	case d < 60:
		s.pass()
	case d < 62:
		s.transport()
	default:
		s.authenticate()
	}
	s.settle()
	s.checkStep()
}

// pass lets time go by.
func (s *simulation) pass() {
	step := time.Duration(s.rng.Uint64()>>1) % (time.Millisecond << s.n(10))
	until := s.now + step
	if s.one(16) || s.e.state == Waiting && s.one(3) {
		until = max(s.now, s.deadline())
		if until == never {
			until = s.now + time.Second
		}
	}
	punctual := !s.one(8)
	for n := 0; s.deadline() <= until; n++ {
		due := s.deadline()
		if n > 1000 {
			s.fail("time does not progress beyond %v", due)
		}
		s.now = max(s.now, due)
		if !punctual {
			s.now = until
		}
		s.e.Tick(s.now, int64(s.link.moved))
		s.settle()
	}
	s.now = until
	if s.one(8) {
		s.e.Tick(s.now, int64(s.link.moved))
	}
}

func (s *simulation) setPaused(paused bool) {
	s.paused = paused
	s.e.SetPaused(s.now, paused)
}

func (s *simulation) stop(drainUntil time.Duration) {
	if s.e.state != Stopped && s.e.state != Closed {
		s.stopping = true
	}
	if s.tracing {
		s.trace("Stop until %v", drainUntil)
	}
	var farewell *wire.Disconnect
	if s.one(3) {
		expiry := uint32(s.n(2))
		farewell = &wire.Disconnect{ReasonCode: wire.DisconnectWithWill, SessionExpiryInterval: &expiry}
	}
	_, err := s.e.Stop(s.now, farewell, drainUntil)
	s.check(err)
	s.tally.stops++
}

// deadline returns when the engine has something to do.
func (s *simulation) deadline() time.Duration {
	s.e.canWrite(s.now)
	return s.e.nextDeadline()
}
