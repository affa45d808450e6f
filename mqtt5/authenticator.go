// SPDX-License-Identifier: Apache-2.0

package mqtt5

import (
	"context"
	"errors"
	"fmt"
	"net"
	"reflect"
	"runtime/debug"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/internal/engine"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/internal/wire"
)

// Authenticator adds enhanced authentication to a client (section 4.12): an
// exchange of AUTH packets before the CONNACK, and again whenever
// [Client.Reauthenticate] is called. One exchange runs at a time.
type Authenticator interface {
	// Method returns the authentication method, such as "SCRAM-SHA-256".
	Method() string
	// Begin starts an exchange and returns the initial data; nil for none. At
	// a connection it runs on the goroutine of the attempt, otherwise on that
	// of the caller of Reauthenticate.
	Begin(ctx context.Context) ([]byte, error)
	// Continue answers data from the server, on a goroutine of its own. An
	// error ends the connection.
	Continue(data []byte) ([]byte, error)
	// Finish is called when the server is satisfied, with its last data, nil if
	// there was none. It runs like Continue. An error says that we are not, and
	// ends the connection. A new connection counts as one only when Finish has
	// returned nil: before, nothing is sent on it and no message taken from it.
	Finish(data []byte) error
}

// challenge is an AUTH from the server, on its way to the authenticator.
type challenge struct {
	link *link
	data []byte
	done bool
}

// exchange is what a Client knows of its AUTH packets. Client.mu guards it.
type exchange struct {
	challenges     []*challenge
	renewals       []*waiter     // callers of Reauthenticate whose exchange is under way
	authenticating bool          // runAuthenticator runs
	renewing       bool          // Reauthenticate is at Begin
	next           []*waiter     // callers of Reauthenticate that wait for the exchange before
	confirmed      chan struct{} // wakes a reader in awaitConfirmation; nil: there is none
}

// Reauthenticate runs the exchange of [ClientOptions.Authenticator] again on
// the current connection, and waits for its end. Other traffic goes on
// meanwhile. An exchange that is under way is waited for first. A failure ends
// the connection, as the standard demands.
//
// It fails with [ErrNoAuthentication] without an Authenticator, with
// [ErrNotConnected] without a connection, and with [ErrAuthentication] if the
// authenticator fails. If the connection ends during the exchange, it fails
// with [ErrStopRequested] or [ErrClosed] where the client ended it, else with
// [ErrConnectionLost] and the error of [Disconnection].
func (c *Client) Reauthenticate(ctx context.Context) error {
	if c.opts.Authenticator == nil {
		return ErrNoAuthentication
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	x := c.exchange
	now := c.lock()
	for c.engine.State() == engine.Connected && (x.authenticating || x.renewing || len(x.renewals) > 0) {
		w := c.begin(ctx)
		x.next = append(x.next, w)
		c.unlock(now)
		now = c.wait(ctx, w)
		if !w.completed {
			x.next = slices.DeleteFunc(x.next, func(other *waiter) bool { return other == w })
		}
		c.forget(w)
		if ctx.Err() != nil {
			c.unlock(now)
			return ctx.Err()
		}
	}
	if c.engine.State() != engine.Connected {
		c.unlock(now)
		return ErrNotConnected
	}
	x.renewing = true
	c.unlock(now)
	data, err := c.beginExchange(ctx)
	now = c.lock()
	defer func() { c.unlock(now) }()
	x.renewing = false
	if err == nil {
		err = c.engine.Reauthenticate(now, data)
	}
	if err != nil {
		completeAll(&x.next, nil)
		return err
	}
	w := c.begin(ctx)
	x.renewals = append(x.renewals, w)
	c.unlock(now)
	now = c.wait(ctx, w)
	c.forget(w)
	if !w.completed {
		return ctx.Err() // the exchange goes on; w stays in renewals until it ends
	}
	if lost, ok := w.result.Err.(*renewalLost); ok {
		c.unlock(now)
		err = c.renewalError(lost.event)
		now = c.lock()
		return err
	}
	return w.result.Err
}

// renewalLost is the end of the connection for a caller of Reauthenticate, who
// makes the error for the user: a hint is the user's code.
type renewalLost struct{ event *engine.Event }

func (l *renewalLost) Error() string { return ErrConnectionLost.Error() }

func (c *Client) renewalError(ev *engine.Event) error {
	cause := c.eventError(ev)
	switch {
	case cause == nil:
		return ErrConnectionLost
	case errors.Is(cause, ErrStopRequested), errors.Is(cause, ErrClosed):
		return cause
	}
	return fmt.Errorf("%w: %w", ErrConnectionLost, cause)
}

// awaitConfirmation waits until the authenticator has judged the server of a
// new connection. It is called by the reader, with mu held.
func (l *link) awaitConfirmation(now time.Duration) time.Duration {
	c, x := l.client, l.client.exchange
	for l.current() && c.engine.Confirming() {
		confirmed := make(chan struct{})
		x.confirmed = confirmed
		c.unlock(now)
		<-confirmed
		now = c.lock()
	}
	return now
}

func (c *Client) beginExchange(ctx context.Context) (data []byte, err error) {
	ends := true
	defer func() {
		if ends { // the goroutine; the next one in Reauthenticate gets its turn
			now := c.lock()
			c.exchange.renewing = false
			completeAll(&c.exchange.next, nil)
			c.unlock(now)
		}
	}()
	data, err = c.callBegin(ctx)
	ends = false
	return data, err
}

func (c *Client) callBegin(ctx context.Context) (data []byte, err error) {
	err = ErrAuthentication // if it panics
	defer c.recovered("Authenticator")
	if data, err = c.opts.Authenticator.Begin(ctx); err != nil {
		err = errors.Join(ErrAuthentication, err)
	}
	return data, err
}

// runAuthenticator gives challenges to the authenticator, one at a time. It is
// no lane, so that a handler may wait for an exchange.
func (c *Client) runAuthenticator() {
	x := c.exchange
	answers := false
	defer func() {
		if answers { // the authenticator has ended the goroutine
			go c.runAuthenticator()
		}
	}()
	now := c.lock()
	for len(x.challenges) > 0 {
		ch := x.challenges[0]
		x.challenges = x.challenges[1:]
		c.unlock(now)
		answers = true
		c.authenticate(ch)
		answers = false
		now = c.lock()
	}
	x.challenges = nil
	x.authenticating = false
	completeAll(&x.next, nil)
	c.unlock(now)
}

// renewed ends the waiting in Reauthenticate, and that of the reader. The
// caller holds mu.
func (c *Client) renewed(err error) {
	x := c.exchange
	if x == nil {
		return
	}
	completeAll(&x.renewals, err)
	completeAll(&x.next, nil)
	if x.confirmed != nil {
		close(x.confirmed)
		x.confirmed = nil
	}
}

// authenticate runs the authenticator on a challenge.
func (c *Client) authenticate(ch *challenge) {
	var reply []byte
	err := error(ErrAuthentication) // if the authenticator panics, or ends the goroutine
	defer func() { c.authenticated(ch, reply, err) }()
	defer c.recovered("Authenticator")
	if ch.done {
		err = c.opts.Authenticator.Finish(ch.data)
	} else {
		reply, err = c.opts.Authenticator.Continue(ch.data)
	}
}

// authenticated takes what the authenticator said to a challenge.
func (c *Client) authenticated(ch *challenge, reply []byte, err error) {
	if err != nil && !errors.Is(err, ErrAuthentication) {
		err = errors.Join(ErrAuthentication, err)
	}
	now := c.lock()
	defer c.unlock(now)
	if c.link != ch.link {
		return
	}
	switch {
	case !ch.done:
		c.engine.Authenticate(now, reply, err)
	case err != nil:
		c.renewed(err)
		c.engine.RejectServer(now, err)
	default:
		c.engine.AcceptServer(now)
		c.renewed(nil)
	}
}

var errGoexit = errors.New("mqtt5: the goroutine of the attempt was ended")

var errNoConnection = errors.New("mqtt5: Dial returned neither a connection nor an error")

// connectTransport prepares the CONNECT of one attempt and opens its transport.
func (c *Client) connectTransport(ctx context.Context) (connect *wire.Connect, conn net.Conn, err error) {
	callback := "PrepareConnect"
	defer func() {
		if v := recover(); v != nil {
			e := &PanicError{Callback: callback, Value: v, Stack: debug.Stack()}
			c.log.Error("panic in an attempt to connect", zap.String("handler", callback), zap.String("panic", fmt.Sprint(v)), zap.ByteString("stack", e.Stack))
			err = &DialError{Address: c.opts.Address, Err: e}
		}
	}()
	packet := c.opts.Connect
	if c.opts.PrepareConnect != nil {
		packet = packet.clone() // it may change what the fields point to
		if err := c.opts.PrepareConnect(ctx, &packet); err != nil {
			return nil, nil, &DialError{Address: c.opts.Address, Err: attemptError(ctx, err)}
		}
		v := problems{subject: "CONNECT from PrepareConnect"}
		c.opts.Limits.checkConnect(&v, &packet)
		v.connect(&packet)
		if err := v.err(); err != nil {
			return nil, nil, err
		}
	}
	connect = wireConnect(&packet)
	if a := c.opts.Authenticator; a != nil {
		callback = "Authenticator"
		data, err := a.Begin(ctx)
		if err != nil {
			return nil, nil, errors.Join(ErrAuthentication, attemptError(ctx, err))
		}
		method := a.Method()
		connect.AuthenticationMethod, connect.AuthenticationData = &method, data
		v := problems{subject: "CONNECT with Authenticator"}
		v.violations("Connect.", wire.CheckConnect(connect))
		if err := v.err(); err != nil {
			return nil, nil, errors.Join(ErrAuthentication, err)
		}
	}
	callback = "Dial"
	conn, err = c.opts.Dial(ctx, "tcp", c.opts.Address)
	if err == nil && absent(conn) {
		err = errNoConnection
	}
	if err != nil {
		return nil, nil, &DialError{Address: c.opts.Address, Err: attemptError(ctx, err)}
	}
	return connect, conn, nil
}

// absent reports whether there is no connection: none at all, or a nil pointer,
// which is what a typed variable that was never set becomes.
func absent(conn net.Conn) bool {
	v := reflect.ValueOf(conn)
	return conn == nil || v.Kind() == reflect.Pointer && v.IsNil()
}

// attemptError names the timeout in the error of an attempt that ran into it.
func attemptError(ctx context.Context, err error) error {
	if ctx.Err() != nil && !errors.Is(err, ErrConnectTimeout) && errors.Is(context.Cause(ctx), ErrConnectTimeout) {
		return errors.Join(ErrConnectTimeout, err)
	}
	return err
}
