// SPDX-License-Identifier: Apache-2.0

package request_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/request"
)

// asking is the payload of the requests of the simulation, and of its answers.
type asking struct {
	Reply string `json:"reply"`
	Token string `json:"token"`
	ID    int    `json:"id"` // of the request; an answer must not get to another one
}

// simulation does random things to a client, a connection and a service.
type simulation struct {
	*rig
	mu      sync.Mutex // of random
	random  *rand.Rand
	calm    atomic.Bool // every request is answered
	flights map[int]*flight
	streams []*listener
}

const simulatedFilters = "abcdef"

// TestSimulation finds whatever gets stuck: in the end, with a connection, all
// requests have ended, all streams are established, the server has the filters
// that the client thinks it has, and further requests succeed.
func TestSimulation(t *testing.T) {
	for seed := range uint64(60) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			run(t, request.Options{MaxSubscriptions: 4, MinRetryDelay: time.Second, MaxRetryDelay: 4 * time.Second}, func(r *rig) {
				s := &simulation{rig: r, random: rand.New(rand.NewPCG(seed, 1)), flights: make(map[int]*flight)}
				r.conn.OnPublish(s.serve)
				for range 60 {
					s.step()
				}
				s.settle()
				if !t.Failed() {
					s.check()
				}
			})
		})
	}
}

// IntN may be called from any goroutine.
func (s *simulation) IntN(n int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.random.IntN(n)
}

// serve answers a request: at once, late, never, twice, or not even with a PUBACK.
func (s *simulation) serve(p *mqtt5.PublishPacket) error {
	var q asking
	if err := json.Unmarshal(p.Payload, &q); err != nil {
		s.Error(err)
	}
	answer := func() {
		if s.conn.State() == mqtt5.StateConnected { // what is kept for a session comes too late for the tokens
			s.conn.Deliver(q.Reply, p.Payload)
		}
	}
	n := s.IntN(10)
	if s.calm.Load() {
		n = 9
	}
	switch n {
	case 0:
	case 1:
		return &mqtt5.AckError{Operation: "publish", ReasonCode: uint8(mqtt5.PubackQuotaExceeded)}
	case 2:
		return &mqtt5.AckError{Operation: "publish", ReasonCode: uint8(mqtt5.PubackNotAuthorized)}
	case 3:
		time.AfterFunc(time.Duration(s.IntN(4000))*time.Millisecond, answer)
	case 4:
		answer()
		if len(q.Token) > 2 { // with a token that comes again nothing distinguishes a copy
			answer()
		}
	default:
		answer()
	}
	return nil
}

func (s *simulation) filter() string {
	i := s.IntN(len(simulatedFilters))
	return simulatedFilters[i : i+1]
}

// ask starts a request for an answer on one of some filters.
func (s *simulation) ask(filters ...string) *flight {
	id := len(s.flights)
	req := on(filters...)
	req.Timeout = time.Duration(1+s.IntN(30)) * time.Second
	req.Idempotent = s.IntN(2) == 0
	if s.IntN(4) == 0 {
		req.Offline = request.FailOffline
	}
	if s.IntN(3) > 0 {
		req.Token = []string{"T1", "T2"}[s.IntN(2)]
	}
	if s.IntN(2) == 0 {
		req.Quota = request.Quota{Name: "q", InFlight: 2}
	}
	var err error
	if req.Payload, err = json.Marshal(asking{filters[s.IntN(len(filters))], req.Token, id}); err != nil {
		s.Error(err)
	}
	s.flights[id] = s.do(req)
	return s.flights[id]
}

func (s *simulation) step() {
	switch s.IntN(12) {
	case 0, 1, 2:
		s.ask(s.filter())
	case 3:
		if a, b := s.filter(), s.filter(); a != b {
			s.ask(a, b)
		}
	case 4:
		if l, err := s.tryListen(s.filter()); err == nil {
			s.streams = append(s.streams, l)
		} else if !errors.Is(err, request.ErrNoCapacity) {
			s.Error(err)
		}
	case 5:
		if n := len(s.streams); n > 0 {
			i := s.IntN(n)
			s.streams[i].close()
			s.streams = append(s.streams[:i], s.streams[i+1:]...)
		}
	case 6:
		if f := s.flights[s.IntN(len(s.flights)+1)]; f != nil {
			f.cancel(errGivenUp)
		}
	case 7:
		s.offline()
	case 8, 9:
		s.online(s.IntN(2) == 0)
	case 10:
		codes := []mqtt5.SubackReasonCode{mqtt5.SubackQuotaExceeded, mqtt5.SubackUnspecifiedError, mqtt5.SubackNotAuthorized}
		s.conn.RefuseSubscribe(s.filter(), codes[s.IntN(len(codes))])
	case 11:
		kind := []string{"SUBSCRIBE", "UNSUBSCRIBE", "PUBLISH"}[s.IntN(3)]
		s.conn.Hold(kind)
		time.AfterFunc(time.Duration(s.IntN(3000))*time.Millisecond, func() { s.conn.Release(kind) })
	}
	if s.IntN(2) == 0 {
		time.Sleep(time.Duration(s.IntN(3000)) * time.Millisecond)
	}
	synctest.Wait()
}

// settle ends the faults and waits.
func (s *simulation) settle() {
	s.calm.Store(true)
	s.online(s.IntN(2) == 0)
	time.Sleep(5 * time.Minute)
	for id, f := range s.flights {
		var got asking
		switch {
		case !f.done():
			s.Errorf("request %d has not ended", id)
		case f.err == nil && (json.Unmarshal(f.answer.Payload, &got) != nil || got.ID != id):
			s.Errorf("request %d got the answer to request %d", id, got.ID)
		}
	}
}

func (s *simulation) check() {
	wanted := map[string]bool{}
	for _, l := range s.streams {
		l.mu.Lock()
		last := l.got[len(l.got)-1]
		for i := len(l.got) - 1; i >= 0 && strings.HasPrefix(l.got[i], "{"); i-- { // messages
			last = l.got[max(0, i-1)]
		}
		l.mu.Unlock()
		if ctxErr := l.stream.WaitEstablished(s.Context()); ctxErr == nil && last != "halted" {
			wanted[l.filter] = true
		}
		if last == "lost" {
			s.Errorf("the stream of %s is lost", l.filter)
		}
	}
	have := s.conn.Filters()
	st := s.client.Stats()
	if len(have) > st.Subscriptions || st.Subscriptions > 4 || st.Subscriptions-st.Idle != len(wanted) {
		s.Errorf("the server has %q, streams need %v, the client has %+v", have, wanted, st)
	}
	for f := range wanted {
		if !slices.Contains(have, f) {
			s.Errorf("the server has %q and not %s", have, f)
		}
	}
	for _, f := range strings.Split(simulatedFilters, "") {
		if len(wanted) < 4 || wanted[f] {
			s.succeeds(f)
		}
	}
	if err := s.client.Close(s.Context()); err != nil || len(s.conn.Filters()) > 0 {
		s.Errorf("after Close the server has %q, %v", s.conn.Filters(), err)
	}
}

// succeeds sends a request until it is answered: some refusals may be left.
func (s *simulation) succeeds(filter string) {
	for range 20 {
		req := on(filter)
		req.Quota = request.Quota{Name: "q", InFlight: 2}
		req.Payload, _ = json.Marshal(asking{filter, req.Token, 0})
		f := s.do(req)
		time.Sleep(time.Minute)
		if !f.done() {
			s.Errorf("a request on %s gets stuck", filter)
			return
		}
		if f.err == nil {
			return
		}
	}
	s.Errorf("no request on %s succeeds", filter)
}
