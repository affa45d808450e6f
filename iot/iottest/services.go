// SPDX-License-Identifier: Apache-2.0

package iottest

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"
)

// Names of the device services, as in [ServiceEvent], [ServiceFault] and
// [ServiceError].
const (
	ServiceShadow       = "shadow"
	ServiceJobs         = "jobs"
	ServiceProvisioning = "provisioning"
	ServiceCommands     = "commands"
	ServiceDefender     = "defender"
	ServiceRules        = "rules"  // basic ingest
	ServiceDirect       = "direct" // messages to one client
)

// ServiceOptions configure the device services. The zero value is the service
// with its default quotas.
type ServiceOptions struct {
	// Disabled turns all device services off: messages on their topics are
	// messages like others.
	Disabled bool
	// MaxInFlight is how many requests of one connection to one service may be
	// unanswered at a time, 10 when zero. The core answers at once unless a
	// [ServiceFault] delays or holds its answers. What is beyond is rejected as
	// throttled.
	MaxInFlight int
	// ShadowMaxBytes is the largest size of desired and reported state
	// together, without metadata, 8,192 when zero.
	ShadowMaxBytes int
	// ShadowMaxDepth is how deep desired or reported state may be nested, the
	// section itself counted, 8 when zero. The documentation of the service
	// also mentions 5 and 6.
	ShadowMaxDepth int
	// ShadowMaxCount is how many shadows the core keeps, 10,000 when zero. An
	// update that would make one more is rejected as throttled. Versions of
	// deleted shadows count, and make room first. It is a limit of the core, as
	// all that follow with a count or a total.
	ShadowMaxCount int
	// ShadowMaxTotalBytes is the size of the state of all shadows together, 32
	// MiB when zero. An update beyond it is rejected as throttled.
	ShadowMaxTotalBytes int
	// JobMaxOpen is how many jobs with pending executions the core keeps,
	// 10,000 when zero. [Core.CreateJob] makes no more.
	JobMaxOpen int
	// JobMaxFinished is how many jobs without pending executions the core
	// keeps, 1,000 when zero. It forgets those first that have been finished
	// longest.
	JobMaxFinished int
	// DeltaBeforeAccepted sends the delta of a shadow before the answer to the
	// update that caused it. The service promises no order.
	DeltaBeforeAccepted bool
	// JobAnswersNeedSubscription answers requests to the jobs service only to
	// those who subscribed to the answers. The service sends an answer to the
	// client that asked, subscribed or not, and to nobody else.
	JobAnswersNeedSubscription bool
	// JobNamespacesInDefault shows jobs with a namespace also to requests and
	// notifications without one.
	JobNamespacesInDefault bool
	// ProvisionRSAKeys makes CreateKeysAndCertificate issue RSA keys of 2048
	// bits, as the service does. The default is ECDSA on P-256, which is much
	// faster to make.
	ProvisionRSAKeys bool
	// ProvisionTokensOnce lets a certificate ownership token register once.
	// Otherwise RegisterThing may be repeated, with the same answer, until the
	// token expires.
	ProvisionTokensOnce bool
	// DefenderPeriod is how far apart reports of a thing must be; those that
	// come sooner are rejected. The service speaks of 5 minutes. Zero accepts
	// all.
	DefenderPeriod time.Duration
	// DefenderMaxTotalBytes is the size of all Device Defender reports that the
	// core keeps, 16 MiB when zero. The oldest ones make room for new ones.
	DefenderMaxTotalBytes int
}

func (o ServiceOptions) withDefaults() ServiceOptions {
	setDefault(&o.MaxInFlight, 10)
	setDefault(&o.ShadowMaxBytes, 8192)
	setDefault(&o.ShadowMaxDepth, 8)
	setDefault(&o.ShadowMaxCount, 10_000)
	setDefault(&o.ShadowMaxTotalBytes, 32<<20)
	setDefault(&o.JobMaxOpen, 10_000)
	setDefault(&o.JobMaxFinished, 1000)
	setDefault(&o.DefenderMaxTotalBytes, 16<<20)
	return o
}

// ServiceError is the rejection of a request by a device service.
type ServiceError struct {
	Service string // one of the Service constants
	Status  int    // the code of shadows and provisioning; the HTTP status for the others
	Code    string // name of the error, such as "VersionMismatch"; services differ in these
	Message string

	more map[string]any // further members of the answer
}

// Error says which service rejected the request, and why.
func (e *ServiceError) Error() string {
	return fmt.Sprintf("iottest: %s: %d %s: %s", e.Service, e.Status, e.Code, e.Message)
}

// ErrorType is the value of the header x-amzn-ErrorType for the error. Over
// HTTPS some errors have other names.
func (e *ServiceError) ErrorType() string {
	name := e.Code
	switch e.Code {
	case "InvalidJson", "InvalidTopic":
		name = "InvalidRequest"
	case "VersionMismatch":
		name = "InvalidStateTransition"
	case "TerminalStateReached":
		name = "TerminalState"
	case "RequestThrottled":
		name = "Throttling"
	case "InternalError":
		name = "ServiceUnavailable"
	}
	return name + "Exception"
}

// ServiceEvent says what happened in a device service.
type ServiceEvent struct {
	Service   string // one of the Service constants
	Operation string // such as "get", "start-next" or "delta"
	Thing     string // name of the thing, or the client id that is the target of a command
	Key       string // name of the shadow, job id, execution id, template or rule
	Status    string // ServiceChanged: the new state
}

// deviceServices is the state of all device services. All of it is guarded by
// Core.mu.
type deviceServices struct {
	opts    ServiceOptions
	faults  []*serviceFault
	waiting map[waitingKey]int // unanswered requests
	shadows map[shadowKey]*shadow

	shadowBytes  int // of state, of all shadows
	jobs         map[string]*job
	jobsFinished []*job // without pending executions, the longest finished first
	jobSeq       int64  // numbers executions

	templates    map[string]*ProvisioningTemplate
	tokens       map[string]*ownership
	authorities  map[string]*RegisteredCA // by certificate id
	commands     map[string]*commandExecution
	commandOrder []string // ids of executions, the oldest first
	reports      defenderReports
	rules        map[string]*func(*Message)

	ctx  context.Context // of user code; it ends when the core is closed
	stop context.CancelFunc
}

type waitingKey struct {
	session *session
	service string
}

func (d *deviceServices) init(o ServiceOptions) {
	d.opts = o.withDefaults()
	d.waiting = map[waitingKey]int{}
	d.shadows = map[shadowKey]*shadow{}
	d.jobs = map[string]*job{}
	d.templates, d.tokens = map[string]*ProvisioningTemplate{}, map[string]*ownership{}
	d.authorities = map[string]*RegisteredCA{}
	d.commands = map[string]*commandExecution{}
	d.reports.init()
	d.rules = map[string]*func(*Message){}
	d.ctx, d.stop = context.WithCancel(context.Background())
}

// loadServices restores the state of the last run.
func (c *Core) loadServices() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return errors.Join(c.loadShadows(), c.loadJobs(), c.loadCommands(), c.loadTemplates(), c.loadAuthorities(), c.loadTokens(), c.loadReports())
}

// request is a message that reached a device service, or a call of the same
// meaning.
type request struct {
	ServiceEvent
	topic   string
	payload []byte
	from    *session // nil: HTTP, or the process itself
	client  *client  // the connection it came on, nil as above
	owner   string   // provisioning: the principal of the connection
}

// answer is a message that a device service sends.
type answer struct {
	operation   string // for faults and events: that of the request, or the name of the notification
	topic       string
	payload     []byte
	contentType string
	expiry      time.Duration
	only        *session // nil: everybody who subscribed
	subscribed  bool     // only, and only if it subscribed
}

var (
	thingName  = regexp.MustCompile(`^[a-zA-Z0-9:_-]{1,128}$`)
	shadowName = regexp.MustCompile(`^[a-zA-Z0-9:_-]{1,64}$`)
)

// callService gives a message that was published to the device service it is
// for, if any. c.mu is held.
func (c *Core) callService(m *Message, cl *client) {
	path, ok := strings.CutPrefix(m.Topic, "$aws/")
	if !ok || c.device.opts.Disabled {
		return
	}
	r := &request{topic: m.Topic, payload: m.Payload, client: cl}
	if cl != nil {
		r.from = cl.session
	}
	levels := strings.Split(path, "/")
	switch {
	case levels[0] == "certificates":
		c.handleCertificates(r, levels[1:])
	case levels[0] == "provisioning-templates":
		c.handleTemplates(r, levels[1:])
	case levels[0] == "commands":
		c.handleCommands(r, levels[1:])
	case levels[0] == "rules":
		c.handleRules(r, m)
	case levels[0] == "things" && len(levels) > 3 && thingName.MatchString(levels[1]):
		r.Thing = levels[1]
		switch levels[2] {
		case "shadow":
			c.handleShadow(r, levels[3:])
		case "jobs":
			c.handleJobs(r, levels[3:])
		case "defender":
			c.handleDefender(r, levels[3:])
		}
	}
}

// admit applies faults and the quota of requests in flight. It returns false
// when the request must be ignored, or the error to reject it with. c.mu is
// held.
func (c *Core) admit(r *request) (*ServiceError, bool) {
	if f := c.strikeService(&r.ServiceEvent, func(f *ServiceFault) bool { return f.Ignore || f.Reject != nil }); f != nil {
		c.emitService(ServiceDisturbed, &r.ServiceEvent, f.Reject, nil)
		return f.Reject, !f.Ignore
	}
	if r.from != nil && c.device.waiting[waitingKey{r.from, r.Service}] >= c.device.opts.MaxInFlight {
		return throttled(r.Service), true
	}
	return nil, true
}

func throttled(service string) *ServiceError {
	e := &ServiceError{Service: service, Status: 429, Code: "Throttling", Message: "Too many requests"}
	switch service {
	case ServiceJobs, ServiceCommands:
		e.Code = "RequestThrottled"
	case ServiceDefender:
		e.Code = "Throttled"
	}
	return e
}

// received records a request, and why it was rejected. c.mu is held.
func (c *Core) received(r *request, err *ServiceError) {
	c.emitService(ServiceRequest, &r.ServiceEvent, err, nil)
}

func (c *Core) emitService(t EventType, s *ServiceEvent, err *ServiceError, m *Message) {
	what := *s
	e := Event{Type: t, Service: &what, Message: m}
	if err != nil {
		e.Err = err
	}
	c.emit(e)
}

// answer sends what a service has to say, disturbed by faults. c.mu is held.
func (c *Core) answer(r *request, a answer) {
	s := r.ServiceEvent
	s.Operation = a.operation
	m := &Message{Topic: a.topic, Payload: a.payload, QoS: 1, ContentType: a.contentType, Expiry: a.expiry}
	send := func() {
		c.emitService(ServiceAnswer, &s, nil, m)
		c.routeAnswer(m, &a)
	}
	f := c.strikeService(&s, func(f *ServiceFault) bool { return !f.Ignore && f.Reject == nil })
	if f == nil {
		send()
		return
	}
	c.emitService(ServiceDisturbed, &s, nil, m)
	if f.Lose {
		return
	}
	once := send
	if f.Duplicate {
		send = func() { once(); once() }
	}
	if (f.Delay > 0 || f.Reorder > 1) && r.Operation == a.operation {
		release, inner := c.occupy(r), send
		send = func() { release(); inner() }
	}
	switch {
	case f.Reorder > 1:
		f.hold(send)
	case f.Delay > 0:
		c.alarmIn(f.Delay, send)
	default:
		send()
	}
}

// occupy counts a request as unanswered until release is called, once. c.mu is
// held, in release too.
func (c *Core) occupy(r *request) (release func()) {
	if r.from == nil {
		return func() {}
	}
	key := waitingKey{r.from, r.Service}
	c.device.waiting[key]++
	return func() {
		if c.device.waiting[key]--; c.device.waiting[key] == 0 {
			delete(c.device.waiting, key)
		}
	}
}

// routeAnswer delivers to all subscribers, or to one session, which gets the
// message even without a subscription.
func (c *Core) routeAnswer(m *Message, a *answer) {
	only := a.only
	if only == nil {
		c.route(m, nil)
		return
	}
	qos, subscribed := byte(0), false
	for _, sub := range only.subs {
		if matches(sub.filter, m.Topic) {
			qos, subscribed = max(qos, sub.qos), true
		}
	}
	switch {
	case subscribed:
	case only.client == nil || a.subscribed:
		return
	default:
		qos = 1
	}
	only.deliver(m, qos, false, expiryTime(c.nowLocked(), m.Expiry))
}
