// SPDX-License-Identifier: Apache-2.0

package request_test

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/request"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/request/requesttest"
)

// This file has what happens when two things meet.

// slowConn is a connection whose first SUBSCRIBE or PUBLISH takes its time.
type slowConn struct {
	*requesttest.Conn
	subscribe, unsubscribe, publish func(ctx context.Context) error // of the first one; nil: no delay
}

func (c *slowConn) Subscribe(ctx context.Context, p *mqtt5.SubscribePacket) (*mqtt5.SubackPacket, error) {
	if f := c.subscribe; f != nil {
		c.subscribe = nil
		return &mqtt5.SubackPacket{ReasonCodes: make([]mqtt5.SubackReasonCode, len(p.Subscriptions))}, f(ctx)
	}
	return c.Conn.Subscribe(ctx, p)
}

func (c *slowConn) Unsubscribe(ctx context.Context, p *mqtt5.UnsubscribePacket) (*mqtt5.UnsubackPacket, error) {
	if f := c.unsubscribe; f != nil {
		c.unsubscribe = nil
		return nil, f(ctx)
	}
	return c.Conn.Unsubscribe(ctx, p)
}

func (c *slowConn) Publish(ctx context.Context, p *mqtt5.PublishPacket) (*mqtt5.PublishResult, error) {
	if f := c.publish; f != nil {
		c.publish = nil
		return nil, f(ctx)
	}
	return c.Conn.Publish(ctx, p)
}

func runSlow(t *testing.T, test func(r *rig, slow *slowConn)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		slow := &slowConn{Conn: requesttest.New()}
		defer slow.Close()
		client, err := request.New(slow, request.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close(context.Background())
		test(&rig{t, slow.Conn, client}, slow)
	})
}

// A SUBACK of the last session says nothing about the present one.
func TestRace_subackOfTheLastSession(t *testing.T) {
	runSlow(t, func(r *rig, slow *slowConn) {
		late := make(chan struct{})
		slow.subscribe = func(context.Context) error { <-late; return nil }
		l := r.listen("a")
		r.offline()
		r.conn.Hold("SUBSCRIBE")
		r.online(false)
		r.log("SUBSCRIBE a")
		close(late)
		l.heard()
		r.conn.Release("SUBSCRIBE")
		l.heard("established")
		r.log("SUBSCRIBE a")
	})
}

// Nor does the failure of a SUBSCRIBE of the last connection, which may be known
// after the next SUBSCRIBE was sent.
func TestRace_failureOfTheLastSession(t *testing.T) {
	runSlow(t, func(r *rig, slow *slowConn) {
		late := make(chan struct{})
		slow.subscribe = func(context.Context) error { <-late; return mqtt5.ErrConnectionLost }
		l := r.listen("a")
		r.offline()
		r.conn.Hold("SUBSCRIBE")
		r.online(false)
		close(late)
		l.close()
		r.conn.Release("SUBSCRIBE")
		r.log("SUBSCRIBE a", "UNSUBSCRIBE a")
	})
}

// An UNSUBSCRIBE that failed is repeated, also if the failure is known after the
// next connection.
func TestRace_failedUnsubscribe(t *testing.T) {
	runSlow(t, func(r *rig, slow *slowConn) {
		late := make(chan struct{})
		slow.unsubscribe = func(context.Context) error { <-late; return mqtt5.ErrConnectionLost }
		r.listen("a").close()
		r.offline()
		r.online(true)
		r.log("SUBSCRIBE a")
		close(late)
		r.log("SUBSCRIBE a", "UNSUBSCRIBE a")
	})
}

// A SUBSCRIBE whose answer is lost may have happened: what nobody needs any more is
// unsubscribed, at the latest by Close.
func TestRace_connectionLostWhileSubscribing(t *testing.T) {
	t.Run("stream", func(t *testing.T) {
		run(t, request.Options{}, func(r *rig) {
			r.conn.Hold("SUBSCRIBE")
			l := r.listen("a")
			r.offline()
			l.close()
			r.conn.Release("SUBSCRIBE")
			r.online(true)
			r.log("SUBSCRIBE a", "UNSUBSCRIBE a")
		})
	})
	t.Run("request", func(t *testing.T) {
		run(t, request.Options{}, func(r *rig) {
			r.conn.Hold("SUBSCRIBE")
			f := r.start("a")
			r.offline()
			f.release()
			r.conn.Release("SUBSCRIBE")
			r.online(true)
			if err := r.client.Close(r.Context()); err != nil || len(r.conn.Filters()) > 0 {
				r.Errorf("%v, the server has %q", err, r.conn.Filters())
			}
		})
	})
}

// A request that has to subscribe again leaves its turn to others meanwhile.
func TestRace_turnOfARequestThatSubscribesAgain(t *testing.T) {
	run(t, request.Options{}, func(r *rig) {
		limited := func(filter string) *flight {
			req := on(filter)
			req.Topic, req.Idempotent, req.Quota = "ask "+filter, true, request.Quota{Name: "s", InFlight: 1}
			return r.do(req)
		}
		r.start("b").release()
		limited("a")
		limited("b")
		r.log("SUBSCRIBE b", "PUBLISH ask", "SUBSCRIBE a", "PUBLISH ask a")
		r.offline()
		r.conn.RefuseSubscribe("a", slices.Repeat([]mqtt5.SubackReasonCode{mqtt5.SubackQuotaExceeded}, 100)...)
		r.online(false)
		time.Sleep(time.Second)
		if !r.sent("PUBLISH ask b") {
			r.Errorf("the other request waits for the subscription of the first: %q", r.conn.Log())
		}
	})
}

// A message that has not left when the session is lost leaves later, even if it
// must not be sent twice.
func TestRace_sessionLostBeforeTheMessageLeft(t *testing.T) {
	runSlow(t, func(r *rig, slow *slowConn) {
		slow.publish = func(ctx context.Context) error {
			<-ctx.Done()
			return &mqtt5.OperationError{Operation: "publish", Err: context.Cause(ctx)}
		}
		f := r.start("a")
		r.offline()
		r.online(false)
		time.Sleep(time.Second)
		f.pending()
		r.log("SUBSCRIBE a", "SUBSCRIBE a", "PUBLISH ask")
	})
}

// What arrives before the message was sent is no answer to it.
func TestRace_answerBeforeTheQuestion(t *testing.T) {
	run(t, request.Options{}, func(r *rig) {
		r.listen("a")
		r.conn.Hold("SUBSCRIBE")
		req := on("a", "b")
		req.Token = "T"
		f := r.do(req)
		r.conn.Deliver("a", []byte(`{"token":"T"}`))
		f.pending()
		r.conn.Release("SUBSCRIBE")
		f.pending()
		r.conn.Deliver("b", []byte(`{"token":"T"}`))
		f.answered("b", `{"token":"T"}`)
	})
}

// An UNSUBSCRIBE whose answer is lost may have happened: the filter is
// subscribed anew before it is used.
func TestRace_connectionLostWhileUnsubscribing(t *testing.T) {
	run(t, request.Options{MaxSubscriptions: 1}, func(r *rig) {
		r.start("a").release()
		r.conn.Hold("UNSUBSCRIBE")
		other := r.start("b")
		r.offline()
		other.release()
		r.online(true)
		r.conn.ResetLog()
		r.start("a")
		r.log("SUBSCRIBE a", "PUBLISH ask")
	})
}
