// SPDX-License-Identifier: Apache-2.0

package iot

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
)

// Steps of a [Report] beside the stages of a connection.
const (
	StepSettings    = "settings"
	StepCertificate = "certificate"
	StepClock       = "clock"
	StepSubscribe   = "subscribe"
	StepPublish     = "publish"
	StepRoundTrip   = "round trip"
)

// CheckStatus is the result of a step.
type CheckStatus string

// The results of a step.
const (
	CheckOK         CheckStatus = "ok"
	CheckWarning    CheckStatus = "warning" // it works now, but see the hint
	CheckFailed     CheckStatus = "failed"
	CheckNotReached CheckStatus = "not reached" // an earlier step failed, or the step could not be carried out
)

// Check is one step of a [Report].
type Check struct {
	// Step is one of the Stage and Step constants.
	Step   string
	Status CheckStatus
	// Detail is what was found: a peer, a certificate, the error.
	Detail string
	// Hint says what to do; "" if there is nothing to do.
	Hint string
	// Duration is how long it took; 0 if that makes no sense.
	Duration time.Duration
	// Err is why the step failed.
	Err error
}

// Report is the result of [Diagnose]: the steps that apply, in their order.
type Report struct {
	// Endpoint and Port are where the client connects to.
	Endpoint string
	Port     int
	Checks   []Check
}

// Err is the error of the first step that failed; nil if none did.
func (r *Report) Err() error {
	for _, c := range r.Checks {
		if c.Status == CheckFailed {
			return c.Err
		}
	}
	return nil
}

// MarshalJSON returns an object for machines: endpoint, port, ok, and checks
// with step, status, detail, hint and milliseconds.
func (r *Report) MarshalJSON() ([]byte, error) {
	type check struct {
		Step         string      `json:"step"`
		Status       CheckStatus `json:"status"`
		Detail       string      `json:"detail,omitempty"`
		Hint         string      `json:"hint,omitempty"`
		Milliseconds float64     `json:"milliseconds,omitempty"`
	}
	out := struct {
		Endpoint string  `json:"endpoint"`
		Port     int     `json:"port"`
		OK       bool    `json:"ok"`
		Checks   []check `json:"checks"`
	}{r.Endpoint, r.Port, r.Err() == nil, make([]check, 0, len(r.Checks))}
	for _, c := range r.Checks {
		out.Checks = append(out.Checks, check{c.Step, c.Status, c.Detail, c.Hint, float64(c.Duration.Microseconds()) / 1000})
	}
	return json.Marshal(out)
}

// String is a table for people.
func (r *Report) String() string {
	var b strings.Builder
	for _, c := range r.Checks {
		fmt.Fprintf(&b, "%-12s%-18s", c.Status, c.Step)
		b.WriteString(strings.ReplaceAll(c.Detail, "\n", "; "))
		if c.Duration > 0 {
			fmt.Fprintf(&b, " (%v)", c.Duration.Round(100*time.Microsecond))
		}
		b.WriteByte('\n')
		if c.Hint != "" && !strings.Contains(c.Detail, c.Hint) {
			fmt.Fprintf(&b, "%-30s-> %s\n", "", c.Hint)
		}
	}
	return b.String()
}

// DiagnoseOptions are the settings of [Diagnose].
type DiagnoseOptions struct {
	// Topic is used for the round trip: subscribed to, published to, and
	// unsubscribed from. Empty: "sdk/doctor/" and the client identifier.
	Topic string
	// RoundTripTimeout bounds the wait for the own message to come back. 0: 10 s.
	RoundTripTimeout time.Duration
}

// Diagnose finds out whether and how a connection works. It makes one attempt to
// connect with a client of the method and the options, sends one message to
// itself, and stops:
//
//	report := iot.Diagnose(ctx, endpoint, iot.MTLSFromPath("device.pem.crt", "private.pem.key"), iot.DiagnoseOptions{})
//
// ctx bounds all of it. The report says how far it got.
func Diagnose(ctx context.Context, endpoint string, m Method, o DiagnoseOptions, options ...Option) *Report {
	p := newProbe()
	s := apply(options)
	s.probe = p
	client, err := newClient(endpoint, m, s)
	p.settings(err)
	if err == nil {
		p.examine(ctx, o, client)
	}
	return p.report()
}

// examine drives the client.
func (p *probe) examine(ctx context.Context, o DiagnoseOptions, client *mqtt5.Client) {
	defer client.Close()
	if p.certificate(ctx); p.failedAt() != "" {
		return // the handshake would fail for the same reason
	}
	begun := time.Now()
	if err := client.Start(); err != nil {
		p.fail(StageConnect, 0, err)
		return
	}
	select {
	case success := <-p.connected:
		p.accepted(success.Settings, time.Since(begun))
	case err := <-p.failed:
		stage := Explain(err).Stage
		if stage == StageMQTT || stage == StageOptions {
			stage = StageConnect
		}
		p.fail(stage, 0, err)
	case <-ctx.Done():
		p.abandon(unfinished(ctx), client)
	}
	p.clock(ctx)
	if p.failedAt() != "" {
		return
	}
	p.roundTrip(ctx, o, client)
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	_ = client.Stop(stop, nil)
}

// accepted notes that the server accepted the connection, and on which terms.
func (p *probe) accepted(s mqtt5.NegotiatedSettings, took time.Duration) {
	detail := fmt.Sprintf("connected as %q, keep alive %d s", s.ClientID, s.ServerKeepAliveSeconds)
	if asked := p.keepAlive; asked != nil && *asked != s.ServerKeepAliveSeconds {
		p.warn(StageConnect, detail, fmt.Sprintf("the server replaced the keep alive of %d s: AWS IoT Core accepts 30 to 1200 s", *asked))
		return
	}
	p.ok(StageConnect, took, detail)
}

// abandon ends the attempt, and blames the step that had no result by then.
func (p *probe) abandon(err error, client *mqtt5.Client) {
	p.mu.Lock()
	p.abandoned = err
	p.mu.Unlock()
	_ = client.Close() // ends the dial, which then says how far it came
	select {
	case <-p.dialed:
	case <-time.After(time.Second):
	}
	if p.failedAt() == "" {
		p.fail(p.pending(), 0, err)
	}
}

// unfinished is the error of the step that was waited for when ctx ended.
func unfinished(ctx context.Context) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return &unfinishedError{"no answer before the time for the diagnosis ended", ctx.Err()}
	}
	return &unfinishedError{"interrupted before an answer came", ctx.Err()}
}

// unfinishedError is why a step has no result.
type unfinishedError struct {
	text  string
	cause error
}

func (e *unfinishedError) Error() string { return "iot: " + e.text }

func (e *unfinishedError) Unwrap() error { return e.cause }

// certificate looks at the client's own certificate.
func (p *probe) certificate(ctx context.Context) {
	if p.identity == nil || p.tls == nil {
		return
	}
	// The context checks what the identity returns.
	_, err := p.tls.NextExpiry(ctx)
	var cert *tls.Certificate
	if err == nil {
		cert, err = p.identity.Certificate(ctx)
	}
	var leaf *x509.Certificate
	if err == nil {
		leaf, err = x509.ParseCertificate(cert.Certificate[0])
	}
	if err != nil {
		p.fail(StepCertificate, 0, err)
		return
	}
	detail := fmt.Sprintf("%q, issued by %q, valid until %s", leaf.Subject, leaf.Issuer, leaf.NotAfter.UTC().Format(time.DateOnly))
	p.ok(StepCertificate, 0, detail)
	if left := time.Until(leaf.NotAfter); left < 30*24*time.Hour {
		p.warn(StepCertificate, detail, fmt.Sprintf("it expires in %d days: replace it in time", int(left.Hours()/24)))
	}
}

// roundTrip sends a message to itself.
func (p *probe) roundTrip(ctx context.Context, o DiagnoseOptions, client *mqtt5.Client) {
	topic := o.Topic
	if topic == "" {
		topic = "sdk/doctor/" + client.Settings().ClientID
	}
	timeout := o.RoundTripTimeout
	if timeout <= 0 {
		timeout = 10 * time.Second
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	text := fmt.Sprintf("doctor %d", time.Now().UnixNano())
	came := make(chan struct{}, 1)
	remove, err := client.Handle(topic, func(_ context.Context, m mqtt5.Message) {
		if string(m.Payload) == text {
			select {
			case came <- struct{}{}:
			default:
			}
		}
	})
	if err != nil {
		p.fail(StepSubscribe, 0, err)
		return
	}
	defer remove()

	begun := time.Now()
	if _, err := client.Subscribe(ctx, &mqtt5.SubscribePacket{Subscriptions: []mqtt5.Subscription{{TopicFilter: topic, QoS: mqtt5.AtLeastOnce}}}); err != nil {
		p.fail(StepSubscribe, time.Since(begun), err)
		return
	}
	p.ok(StepSubscribe, time.Since(begun), topic)
	begun = time.Now()
	if _, err := client.Publish(ctx, &mqtt5.PublishPacket{Topic: topic, Payload: []byte(text), QoS: mqtt5.AtLeastOnce}); err != nil {
		p.fail(StepPublish, time.Since(begun), err)
		return
	}
	p.ok(StepPublish, time.Since(begun), "acknowledged")
	select {
	case <-came:
		p.ok(StepRoundTrip, time.Since(begun), "the message came back")
	case <-ctx.Done():
		p.fail(StepRoundTrip, 0, &ConnectError{Stage: StageMQTT, Endpoint: p.host, Err: errNoMessage,
			Hint: fmt.Sprintf("check that a policy of this client allows iot:Receive on %s", arn("topic", topic))})
	}
	_, _ = client.Unsubscribe(ctx, &mqtt5.UnsubscribePacket{TopicFilters: []string{topic}})
}

var errNoMessage = errors.New("iot: the message was acknowledged and did not come back")

// describeTLS says what was negotiated.
func describeTLS(state tls.ConnectionState) string {
	s := tls.VersionName(state.Version) + ", " + tls.CipherSuiteName(state.CipherSuite)
	if state.NegotiatedProtocol != "" {
		s += ", ALPN " + state.NegotiatedProtocol
	}
	if len(state.PeerCertificates) > 0 {
		leaf := state.PeerCertificates[0]
		s += fmt.Sprintf(", server certificate issued by %q, valid until %s", leaf.Issuer, leaf.NotAfter.UTC().Format(time.DateOnly))
	}
	return s
}
