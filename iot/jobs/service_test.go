// SPDX-License-Identifier: Apache-2.0

package jobs_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/iot/jobs"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/request"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/request/requesttest"
)

const base = "$aws/things/thermostat/jobs/"

// service has the executions of one thing, as the Jobs service has them.
type service struct {
	*requesttest.Conn
	requests *request.Client // of all runners: they have the same filters
	// fault may spoil a request: "lose" it or its "answer", or reject it with a
	// code of the service.
	fault func(topic string) string

	mu         sync.Mutex
	executions []*execution
	updates    []map[string]any
	timeouts   []float64 // stepTimeoutInMinutes of each request
}

type execution struct {
	id, status, document string
	version, number      int
	details              map[string]any
}

func (e *execution) terminal() bool { return e.status != "QUEUED" && e.status != "IN_PROGRESS" }

func newService(t *testing.T) *service {
	s := &service{Conn: requesttest.New()}
	s.OnPublish(s.handle)
	t.Cleanup(func() { _ = s.Close() })
	var err error
	if s.requests, err = request.New(s, request.Options{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.requests.Close(context.Background()) })
	return s
}

// client returns a client of the service.
func (s *service) client(t *testing.T) *jobs.Client {
	t.Helper()
	c, err := jobs.NewClient(s.requests, "thermostat", jobs.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (s *service) create(id, document string) {
	s.mu.Lock()
	number := 1
	for _, e := range s.executions {
		if e.id == id {
			number++
		}
	}
	s.executions = append(s.executions, &execution{id: id, status: "QUEUED", document: document, version: 1, number: number})
	s.mu.Unlock()
	s.notify()
}

// cancel ends an execution for good, as CancelJob with force does.
func (s *service) cancel(id string) {
	s.mu.Lock()
	for _, e := range s.executions {
		if e.id == id {
			e.status, e.version = "CANCELED", e.version+1
		}
	}
	s.mu.Unlock()
	s.notify()
}

func (s *service) notify() {
	s.mu.Lock()
	lists := map[string]any{}
	for _, status := range []string{"IN_PROGRESS", "QUEUED"} {
		if l := s.list(status); len(l) > 0 {
			lists[status] = l
		}
	}
	next := map[string]any{"timestamp": 1700000000}
	if e := s.next(); e != nil {
		next["execution"] = e.json(true)
	}
	s.mu.Unlock()
	s.answer("notify", map[string]any{"jobs": lists, "timestamp": 1700000000})
	s.answer("notify-next", next)
}

func (s *service) list(status string) []any {
	l := []any{}
	for _, e := range s.executions {
		if e.status == status {
			l = append(l, e.json(false))
		}
	}
	return l
}

func (s *service) next() *execution {
	for _, status := range []string{"IN_PROGRESS", "QUEUED"} {
		for _, e := range s.executions {
			if e.status == status {
				return e
			}
		}
	}
	return nil
}

func (e *execution) json(document bool) map[string]any {
	m := map[string]any{"jobId": e.id, "queuedAt": 1700000000, "versionNumber": e.version, "executionNumber": e.number, "status": e.status}
	if e.details != nil {
		m["statusDetails"] = e.details
	}
	if document {
		m["jobDocument"] = json.RawMessage(e.document)
		m["thingName"] = "thermostat"
	}
	return m
}

func (s *service) answer(topic string, body map[string]any) {
	payload, err := json.Marshal(body)
	if err != nil {
		panic(err)
	}
	s.Deliver(base+topic, payload)
}

func (s *service) handle(p *mqtt5.PublishPacket) error {
	topic := strings.TrimPrefix(p.Topic, base)
	fault := ""
	if s.fault != nil {
		fault = s.fault(topic)
	}
	if fault == "lose" {
		return nil
	}
	var in map[string]any
	if err := json.Unmarshal(p.Payload, &in); err != nil {
		panic(err)
	}
	s.mu.Lock()
	var out map[string]any
	changed := false
	if fault == "" || fault == "answer" {
		out, changed = s.serve(topic, in)
	} else {
		out = rejected(fault, "", nil)
	}
	s.mu.Unlock()
	out["clientToken"], out["timestamp"] = in["clientToken"], 1700000000
	if fault != "answer" {
		kind := "/accepted"
		if out["code"] != nil {
			kind = "/rejected"
		}
		s.answer(topic+kind, out)
	}
	if changed {
		s.notify()
	}
	return nil
}

func (s *service) serve(topic string, in map[string]any) (out map[string]any, changed bool) {
	if m, ok := in["stepTimeoutInMinutes"].(float64); ok {
		s.timeouts = append(s.timeouts, m)
	}
	id, operation, _ := strings.Cut(topic, "/")
	switch {
	case topic == "get":
		return map[string]any{"inProgressJobs": s.list("IN_PROGRESS"), "queuedJobs": s.list("QUEUED")}, false
	case topic == "start-next":
		e := s.next()
		if e == nil {
			return map[string]any{}, false
		}
		if e.status == "QUEUED" {
			e.status, e.version = "IN_PROGRESS", e.version+1
		}
		return map[string]any{"execution": e.json(true)}, false
	case operation == "get" && id == "$next":
		if e := s.next(); e != nil {
			return map[string]any{"execution": e.json(true)}, false
		}
		return map[string]any{"execution": map[string]any{}}, false
	}
	e := s.find(id)
	switch {
	case e == nil:
		return rejected("ResourceNotFound", "no such job", nil), false
	case operation == "get":
		return map[string]any{"execution": e.json(in["includeJobDocument"] == true)}, false
	}
	s.updates = append(s.updates, in)
	return s.update(e, in)
}

func (s *service) update(e *execution, in map[string]any) (map[string]any, bool) {
	if v, ok := in["expectedVersion"].(float64); ok && int(v) != e.version {
		return rejected("VersionMismatch", fmt.Sprintf("Expected version %v but found version %d", v, e.version), e), false
	}
	if e.terminal() {
		return rejected("InvalidStateTransition", "", e), false
	}
	e.status, e.version = in["status"].(string), e.version+1
	if d, ok := in["statusDetails"].(map[string]any); ok {
		e.details = d
	}
	out := map[string]any{}
	if in["includeJobExecutionState"] == true {
		out["executionState"] = e.json(false)
	}
	return out, e.terminal()
}

// find returns the latest execution of a job.
func (s *service) find(id string) *execution {
	for _, e := range slices.Backward(s.executions) {
		if e.id == id {
			return e
		}
	}
	return nil
}

func rejected(code, message string, e *execution) map[string]any {
	m := map[string]any{"code": code, "message": message}
	if e != nil {
		m["executionState"] = e.json(false)
	}
	return m
}

// status returns the status of the latest execution of a job, and its details.
func (s *service) status(id string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.find(id)
	if len(e.details) == 0 {
		return e.status
	}
	d, err := json.Marshal(e.details)
	if err != nil {
		panic(err)
	}
	return e.status + " " + string(d)
}

func (s *service) want(t *testing.T, id, status string) {
	t.Helper()
	synctest.Wait()
	if got := s.status(id); got != status {
		t.Errorf("%s is %s, want %s", id, got, status)
	}
}

// bubble runs a test with virtual time.
func bubble(t *testing.T, name string, test func(t *testing.T)) {
	t.Helper()
	t.Run(name, func(t *testing.T) { synctest.Test(t, test) })
}

// running is a runner under test.
type running struct {
	t      *testing.T
	cancel context.CancelFunc
	ended  chan error

	mu     sync.Mutex
	events []string
}

func run(t *testing.T, c *jobs.Client, options jobs.RunnerOptions) *running {
	t.Helper()
	r := &running{t: t, ended: make(chan error, 1)}
	options.OnEvent = func(e jobs.Event) {
		r.mu.Lock()
		defer r.mu.Unlock()
		text := string(e.Type) + " " + e.JobID
		if e.Status != "" {
			text += " " + string(e.Status)
		}
		r.events = append(r.events, text)
	}
	runner, err := jobs.NewRunner(c, options)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel = cancel
	go func() { r.ended <- runner.Run(ctx) }()
	t.Cleanup(func() { r.stop() })
	synctest.Wait()
	return r
}

// stop ends the runner and returns what Run returned.
func (r *running) stop() error {
	r.cancel()
	select {
	case err := <-r.ended:
		r.ended <- err
		return err
	case <-time.After(time.Hour):
		r.t.Fatal("the runner does not end")
		return nil
	}
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
