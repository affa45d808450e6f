// SPDX-License-Identifier: Apache-2.0

package shadow

import (
	"encoding/json"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/iot/internal/jsonobject"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/request/requesttest"
)

// service is a shadow service for the tests, built on flat documents. It serves
// any number of connections, and can be slow, forgetful and repetitive.
type service struct {
	t  *testing.T
	mu sync.Mutex

	shadows map[string]*flatShadow // by topic prefix
	conns   []*requesttest.Conn
	updates int // accepted

	// Faults. Probabilities are in percent.
	random      *rand.Rand
	delay       time.Duration // of requests and answers, up to
	loseRequest int
	loseAnswer  int
	repeat      int
	reject      func(operation string, payload []byte) (code int)
}

type flatShadow struct {
	desired, reported flat
	desiredMeta       map[string]int64
	version           int64
	exists            bool
}

func newService(t *testing.T) *service {
	return &service{t: t, shadows: make(map[string]*flatShadow), random: rand.New(rand.NewPCG(1, 1))}
}

// connect returns a new connection to the service.
func (s *service) connect() *requesttest.Conn {
	conn := requesttest.New()
	conn.OnPublish(func(p *mqtt5.PublishPacket) error {
		topic, payload := p.Topic, append([]byte(nil), p.Payload...)
		s.later(func() int { return s.loseRequest }, func() { s.handle(topic, payload) })
		return nil
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conns = append(s.conns, conn)
	return conn
}

// later runs something after a random delay, or never.
func (s *service) later(lose func() int, run func()) {
	s.mu.Lock()
	lost, delay := s.random.IntN(100) < lose(), time.Duration(0)
	if s.delay > 0 {
		delay = time.Duration(s.random.Int64N(int64(s.delay)))
	}
	s.mu.Unlock()
	switch {
	case lost:
	case delay == 0:
		run()
	default:
		time.AfterFunc(delay, run)
	}
}

// shadow returns the shadow of a prefix. The caller holds mu.
func (s *service) shadow(prefix string) *flatShadow {
	if s.shadows[prefix] == nil {
		s.shadows[prefix] = &flatShadow{desired: flat{}, reported: flat{}, desiredMeta: map[string]int64{}}
	}
	return s.shadows[prefix]
}

func (s *service) handle(topic string, payload []byte) {
	cut := strings.LastIndex(topic, "/")
	prefix, operation := topic[:cut], topic[cut+1:]
	var body struct {
		State   map[string]any `json:"state"`
		Version int64          `json:"version"`
		Token   string         `json:"clientToken"`
	}
	if len(payload) > 0 {
		if err := jsonobject.DecodeNumbers(payload, &body); err != nil {
			s.t.Errorf("the service got %s: %v", payload, err)
			return
		}
	}
	s.mu.Lock()
	sh := s.shadow(prefix)
	code, message := 0, ""
	switch {
	case s.reject != nil && s.reject(operation, payload) != 0:
		code, message = s.reject(operation, payload), "of the test"
	case operation != "update" && !sh.exists:
		code, message = 404, "No shadow exists with name: 'x'"
	case body.Version != 0 && body.Version != sh.version:
		code, message = 409, "Version conflict"
	}
	if code != 0 {
		s.mu.Unlock()
		s.publish(true, topic+"/rejected", object{"code": code, "message": message, "clientToken": body.Token, "timestamp": time.Now().Unix()})
		return
	}
	answers := map[string]object{}
	switch operation {
	case "get":
		answers["/accepted"] = sh.document()
	case "delete":
		*sh = flatShadow{desired: flat{}, reported: flat{}, desiredMeta: map[string]int64{}, version: sh.version}
		answers["/accepted"] = object{"version": sh.version}
	case "update":
		answers = sh.update(body.State)
		s.updates++
	}
	s.mu.Unlock()
	for suffix, answer := range answers {
		answer["timestamp"] = time.Now().Unix()
		if body.Token != "" {
			answer["clientToken"] = body.Token
		}
		s.publish(suffix == "/accepted" && operation != "delete", topic+suffix, answer)
	}
}

// update changes the shadow and returns what to publish.
func (sh *flatShadow) update(state map[string]any) map[string]object {
	previous := sh.snapshot()
	for name, section := range map[string]*flat{"desired": &sh.desired, "reported": &sh.reported} {
		patch, named := state[name]
		if !named {
			continue
		}
		if patch == nil {
			*section = flat{}
			continue
		}
		changes := flatten(patch.(object))
		*section = section.patched(changes)
		if name == "desired" {
			for path := range changes {
				sh.desiredMeta[path] = time.Now().Unix()
			}
		}
	}
	sh.version++
	sh.exists = true
	answers := map[string]object{
		"/accepted":  {"state": state, "version": sh.version},
		"/documents": {"previous": previous, "current": sh.snapshot()},
	}
	if d := sh.desired.delta(sh.reported); len(d.nested()) > 0 {
		answers["/delta"] = object{"state": d.nested(), "metadata": sh.times(d), "version": sh.version}
	}
	return answers
}

// times returns metadata of the desired fields.
func (sh *flatShadow) times(fields flat) object {
	meta := flat{}
	for path, v := range fields {
		meta[path] = branch{}
		if v != (branch{}) {
			meta[path+"/timestamp"] = json.Number(time.Unix(sh.desiredMeta[path], 0).Format("20060102150405"))
		}
	}
	return meta.nested()
}

func (sh *flatShadow) snapshot() object {
	return object{"state": object{"desired": sh.desired.nested(), "reported": sh.reported.nested()}, "version": sh.version}
}

func (sh *flatShadow) document() object {
	d := sh.snapshot()
	if delta := sh.desired.delta(sh.reported).nested(); len(delta) > 0 {
		d["state"].(object)["delta"] = delta
	}
	d["metadata"] = object{"desired": sh.times(sh.desired)}
	return d
}

// publish sends a message to all connections. An answer may be lost.
func (s *service) publish(answer bool, topic string, body object) {
	data := encode(body)
	lose := func() int {
		if answer {
			return s.loseAnswer
		}
		return 0
	}
	s.mu.Lock()
	conns := append([]*requesttest.Conn(nil), s.conns...)
	again := s.random.IntN(100) < s.repeat
	s.mu.Unlock()
	for _, conn := range conns {
		s.later(lose, func() { conn.Deliver(topic, data) })
		if again {
			s.later(lose, func() { conn.Deliver(topic, data) })
		}
	}
}

// lose makes the service lose answers, in percent.
func (s *service) lose(percent int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.loseAnswer = percent
}

// slow delays requests and answers by up to limit.
func (s *service) slow(limit time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.delay = limit
}

// count returns how many updates were accepted.
func (s *service) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.updates
}

// set is an update by an application.
func (s *service) set(prefix, state string) {
	s.handle(prefix+"/update", []byte(`{"state":`+state+`}`))
}

// sections returns what the service has.
func (s *service) sections(prefix string) (desired, reported object) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sh := s.shadow(prefix)
	return sh.desired.nested(), sh.reported.nested()
}
