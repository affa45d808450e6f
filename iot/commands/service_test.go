// SPDX-License-Identifier: Apache-2.0

package commands_test

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/iot/commands"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/request"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/request/requesttest"
)

// service accepts the statuses of commands.
type service struct {
	*requesttest.Conn
	t        *testing.T
	requests *request.Client // of all executors: they have the same filters
	// fault may spoil a report: "lose" it or its "answer", or reject it with a code.
	fault func(n int) string

	mu       sync.Mutex
	n        int
	statuses []string // execution and payload, of those that were judged
	packets  []mqtt5.PublishPacket
}

func newService(t *testing.T) *service {
	s := &service{Conn: requesttest.New(), t: t}
	s.OnPublish(s.handle)
	t.Cleanup(func() { _ = s.Close() })
	var err error
	if s.requests, err = request.New(s, request.Options{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.requests.Close(context.Background()) })
	return s
}

func (s *service) handle(p *mqtt5.PublishPacket) error {
	s.mu.Lock()
	s.n++
	fault := ""
	if s.fault != nil {
		fault = s.fault(s.n)
	}
	levels := strings.Split(p.Topic, "/") // $aws commands things NAME executions ID response FORMAT
	if fault == "" || fault == "answer" {
		s.statuses = append(s.statuses, levels[5]+" "+string(p.Payload))
		s.packets = append(s.packets, *p)
	}
	s.mu.Unlock()
	base, format := strings.Join(levels[:7], "/"), levels[7]
	switch fault {
	case "lose", "answer":
	case "":
		s.Deliver(base+"/accepted/"+format, []byte(`{"executionId":"`+levels[5]+`"}`))
	default:
		s.Deliver(base+"/rejected/"+format, []byte(`{"error":"`+fault+`","errorMessage":"the message","executionId":"`+levels[5]+`"}`))
	}
	return nil
}

// send sends a command to thing "thermostat".
func (s *service) send(id, suffix, payload string, expiry int) {
	p := mqtt5.PublishPacket{Topic: "$aws/commands/things/thermostat/executions/" + id + "/request" + suffix, Payload: []byte(payload), QoS: 1}
	if expiry >= 0 {
		p.MessageExpirySeconds = mqtt5.Ptr(uint32(expiry))
	}
	if suffix != "" {
		p.ContentType = mqtt5.Ptr("application" + suffix)
	}
	s.DeliverPacket(p)
}

// want compares the statuses that the service has.
func (s *service) want(statuses ...string) {
	s.t.Helper()
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.Equal(s.statuses, statuses) {
		s.t.Errorf("the service has\n%s\nwant\n%s", strings.Join(s.statuses, "\n"), strings.Join(statuses, "\n"))
	}
}

// running is an executor under test.
type running struct {
	t      *testing.T
	cancel context.CancelFunc
	ended  chan error
	mu     sync.Mutex
	events []string
}

func start(t *testing.T, s *service, o commands.Options, also ...func(commands.Event)) *running {
	t.Helper()
	r := &running{t: t, ended: make(chan error, 1)}
	o.OnEvent = func(e commands.Event) {
		r.mu.Lock()
		defer r.mu.Unlock()
		text := string(e.Type)
		if e.ExecutionID != "" {
			text += " " + e.ExecutionID
		}
		if e.Status != "" {
			text += " " + string(e.Status)
		}
		r.events = append(r.events, text)
		for _, f := range also {
			f(e)
		}
	}
	x, err := commands.New(s.requests, commands.Thing("thermostat"), o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel = cancel
	go func() { r.ended <- x.Run(ctx) }()
	t.Cleanup(func() { _ = r.stop() })
	synctest.Wait()
	return r
}

func (r *running) stop() error {
	r.cancel()
	err := <-r.ended
	r.ended <- err
	return err
}

func (r *running) wantEvents(events ...string) {
	r.t.Helper()
	synctest.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	if !slices.Equal(r.events, events) {
		r.t.Errorf("events %q, want %q", r.events, events)
	}
}

// bubble runs a test with virtual time.
func bubble(t *testing.T, name string, test func(t *testing.T)) {
	t.Helper()
	t.Run(name, func(t *testing.T) { synctest.Test(t, test) })
}

// all handles every command in the same way.
func all(h commands.Handler) commands.Options { return commands.Options{Default: h} }

// returns is a handler that returns something at once.
func returns(r commands.Result, err error) commands.Options {
	return all(func(context.Context, *commands.Command) (commands.Result, error) { return r, err })
}

func object(t *testing.T, data []byte) map[string]any {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal(data, &m); err != nil {
		t.Fatal(err)
	}
	return m
}

const long = time.Hour
