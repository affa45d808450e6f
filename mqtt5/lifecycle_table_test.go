// SPDX-License-Identifier: Apache-2.0

package mqtt5_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
)

// The tables say what becomes of every call (the columns) that is made in every
// state, when each thing that a network can do happens next (the rows). Events
// of the same consequences share a row. The columns that begin with "Late" are
// calls after the event. A call that waits is given two minutes.
//
//	ok      no error                        off     ErrOfflinePolicy
//	stop    ErrStopRequested                closed  ErrClosed
//	lost    ErrConnectionLost               gone    ErrSessionLost
//	acks    ErrAckTimeout                   late    the two minutes were over
//	none    ErrNotConnected                 stale   ErrAckStale
//
// An operation's error that matches ErrNotSent has a "-", one that matches
// ErrOutcomeUnknown a "?". The column cause is what the lifecycle event says of
// the end of the attempt or connection, "-" if that does not end by itself:
//
//	hangup    ErrHangup                     transport  TransportError
//	protocol  ProtocolError                 refused    ErrConnectionRefused
//	ping      ErrPingTimeout                connack    ErrConnackTimeout
//	dial      DialError                     connect    ErrConnectTimeout
//	said      ErrDisconnectReceived         stop       ErrStopRequested

// tableOfCalls is the part for the calls that start, stop and wait.
const tableOfCalls = `
state         cause     Start  Stop   StopWith StopNow Close Wait   Look events
stopped       -         ok     ok     ok       ok      ok    late   ok   nothing
dialing       connect   ok     ok     ok       ok      ok    ok     ok   nothing
dialing       dial      ok     ok     ok       ok      ok    ok     ok   dial-fails
dialing       -         ok     ok     ok       ok      ok    ok     ok   connection-opens
handshake     hangup    ok     ok     ok       ok      ok    ok     ok   close,half-close
handshake     transport ok     ok     ok       ok      ok    ok     ok   reset
handshake     protocol  ok     ok     ok       ok      ok    ok     ok   DISCONNECT,garbage,CONNACK-session-present,PUBLISH,PINGRESP,unknown-acks
handshake     -         ok     ok     ok       ok      ok    ok     ok   CONNACK
handshake     refused   ok     ok     ok       ok      ok    ok     ok   CONNACK-refusal
handshake     connack   ok     ok     ok       ok      ok    ok     ok   AUTH,wrong-ack,answer,silence,nothing
connected     hangup    ok     ok     ok       ok      ok    ok     ok   close,half-close
connected     transport ok     ok     ok       ok      ok    ok     ok   reset
connected     said      ok     ok     ok       ok      ok    ok     ok   DISCONNECT
connected     protocol  ok     ok     ok       ok      ok    ok     ok   garbage,CONNACK,CONNACK-refusal,CONNACK-session-present,AUTH
connected     -         ok     ok     ok       ok      ok    ok     ok   PUBLISH,PINGRESP,unknown-acks,nothing,wrong-ack,answer
connected     ping      ok     ok     ok       ok      ok    ok     ok   silence
draining      hangup    ok     ok     ok       ok      ok    ok     ok   close,half-close
draining      transport ok     ok     ok       ok      ok    ok     ok   reset
draining      said      ok     ok     ok       ok      ok    ok     ok   DISCONNECT
draining      protocol  ok     ok     ok       ok      ok    ok     ok   garbage,CONNACK,CONNACK-refusal,CONNACK-session-present,wrong-ack,AUTH
draining      stop      ok     ok     ok       ok      ok    ok     ok   PUBLISH,PINGRESP,unknown-acks,nothing,answer
draining      ping      ok     ok     ok       ok      ok    ok     ok   silence
disconnecting -         ok     ok     ok       ok      ok    late   ok   close,half-close,reset,DISCONNECT,garbage,CONNACK,CONNACK-refusal
disconnecting -         ok     ok     ok       ok      ok    late   ok   CONNACK-session-present,PUBLISH,PINGRESP,AUTH,unknown-acks,wrong-ack,answer
disconnecting -         ok     ok     ok       ok      ok    late   ok   silence,nothing
waiting       -         ok     ok     ok       ok      ok    ok     ok   nothing
closed        -         closed closed closed   closed  ok    closed ok   nothing
`

// tableOfOperations is the part for operations.
const tableOfOperations = `
state         Pub0    Pub1    Pub2    Async0  Async1  Async2  Sub     Unsub   LatePub0 LatePub1 events
stopped       off-    late-   late-   off-    late    late    late-   late-   off-     late-    nothing
dialing       off-    ok      ok      off-    ok      ok      ok      ok      off-     ok       nothing,dial-fails
dialing       off-    ok      ok      off-    ok      ok      ok      ok      ok       ok       connection-opens
handshake     off-    ok      ok      off-    ok      ok      ok      ok      off-     ok       close,half-close,reset,DISCONNECT,garbage
handshake     off-    ok      ok      off-    ok      ok      ok      ok      off-     ok       CONNACK-session-present,PUBLISH,PINGRESP,unknown-acks
handshake     off-    ok      ok      off-    ok      ok      ok      ok      off-     ok       CONNACK-refusal,AUTH,wrong-ack,answer,silence,nothing
handshake     off-    acks?   acks?   off-    acks?   acks?   acks?   acks?   ok       acks?    CONNACK
connected     ok      ok      gone?   ok      ok      gone?   ok      ok      off-     ok       close,half-close,reset,DISCONNECT,garbage,CONNACK
connected     ok      ok      gone?   ok      ok      gone?   ok      ok      off-     ok       CONNACK-refusal,CONNACK-session-present,AUTH
connected     ok      acks?   acks?   ok      acks?   acks?   acks?   acks?   ok       acks?    PUBLISH,PINGRESP,unknown-acks,nothing
connected     ok      ok      gone?   ok      ok      gone?   ok      ok      ok       acks?    wrong-ack
connected     ok      ok      ok      ok      ok      ok      ok      ok      ok       ok       answer
connected     ok      ok      gone?   ok      ok      gone?   ok      ok      ok       ok       silence
draining      stop-   stop-   stop-   stop-   stop-   stop-   stop-   stop-   off-     late-    close,half-close,reset,DISCONNECT,garbage,CONNACK
draining      stop-   stop-   stop-   stop-   stop-   stop-   stop-   stop-   off-     late-    CONNACK-refusal,CONNACK-session-present,wrong-ack,AUTH
draining      stop-   stop-   stop-   stop-   stop-   stop-   stop-   stop-   off-     late-    answer
draining      stop-   stop-   stop-   stop-   stop-   stop-   stop-   stop-   stop-    stop-    PUBLISH,PINGRESP,unknown-acks,nothing,silence
disconnecting stop-   stop-   stop-   stop-   stop-   stop-   stop-   stop-   off-     late-    close,half-close,reset
disconnecting stop-   stop-   stop-   stop-   stop-   stop-   stop-   stop-   stop-    stop-    DISCONNECT,garbage,CONNACK,CONNACK-refusal
disconnecting stop-   stop-   stop-   stop-   stop-   stop-   stop-   stop-   stop-    stop-    CONNACK-session-present,PUBLISH,PINGRESP,AUTH
disconnecting stop-   stop-   stop-   stop-   stop-   stop-   stop-   stop-   stop-    stop-    unknown-acks,wrong-ack,answer,silence,nothing
waiting       off-    ok      ok      off-    ok      ok      ok      ok      off-     ok       nothing
closed        closed- closed- closed- closed- closed- closed- closed- closed- closed-  closed-  nothing
`

// tableOfAcknowledgements is the part for acknowledgements, and authentication.
const tableOfAcknowledgements = `
state         Reauth         Accept Reject LateAccept events
stopped       none           stale  stale  stale      nothing
dialing       none           stale  stale  stale      nothing,dial-fails,connection-opens
handshake     none           stale  stale  stale      close,half-close,reset,DISCONNECT,garbage,CONNACK-session-present,PUBLISH,PINGRESP,unknown-acks
handshake     none           stale  stale  stale      CONNACK,CONNACK-refusal,AUTH,wrong-ack,answer,silence,nothing
connected     lost:hangup    ok     ok     stale      close,half-close
connected     lost:transport ok     ok     stale      reset
connected     lost:said      ok     ok     stale      DISCONNECT
connected     lost:protocol  ok     ok     stale      garbage,CONNACK,CONNACK-refusal,CONNACK-session-present
connected     lost:auth      ok     ok     stale      AUTH
connected     lost:auth      ok     ok     ok         PUBLISH,PINGRESP,unknown-acks,nothing,wrong-ack
connected     ok             ok     ok     ok         answer
connected     lost:ping      ok     ok     ok         silence
draining      lost:hangup    ok     ok     stale      close,half-close
draining      lost:transport ok     ok     stale      reset
draining      lost:said      ok     ok     stale      DISCONNECT
draining      lost:protocol  ok     ok     stale      garbage,CONNACK,CONNACK-refusal,CONNACK-session-present,wrong-ack
draining      lost:auth      ok     ok     stale      AUTH
draining      lost:auth      ok     ok     ok         PUBLISH,PINGRESP,unknown-acks,nothing
draining      stop           ok     ok     stale      answer
draining      lost:ping      ok     ok     ok         silence
disconnecting none           stale  stale  stale      close,half-close,reset,DISCONNECT,garbage,CONNACK,CONNACK-refusal,CONNACK-session-present
disconnecting none           stale  stale  stale      PUBLISH,PINGRESP,AUTH,unknown-acks,wrong-ack,answer,silence,nothing
waiting       none           stale  stale  stale      nothing
closed        none           stale  stale  stale      nothing
`

// verdict is an error as the table writes it: a lost connection with its cause,
// and whether an operation was sent.
func verdict(err error) string {
	s := cause(err)
	switch {
	case err == nil:
		return "ok"
	case errors.Is(err, mqtt5.ErrConnectionLost):
		return "lost:" + s
	case errors.Is(err, mqtt5.ErrNotSent):
		return s + "-"
	case errors.Is(err, mqtt5.ErrOutcomeUnknown):
		return s + "?"
	}
	return s
}

func cause(err error) string {
	var transport *mqtt5.TransportError
	var protocol *mqtt5.ProtocolError
	var dial *mqtt5.DialError
	switch {
	case errors.As(err, &transport):
		return "transport"
	case errors.As(err, &protocol):
		return "protocol"
	case errors.As(err, &dial) && errors.Is(err, errProof):
		return "dial"
	}
	for _, v := range []struct {
		s   string
		err error
	}{
		{"off", mqtt5.ErrOfflinePolicy}, {"stop", mqtt5.ErrStopRequested}, {"closed", mqtt5.ErrClosed},
		{"gone", mqtt5.ErrSessionLost}, {"acks", mqtt5.ErrAckTimeout}, {"none", mqtt5.ErrNotConnected},
		{"stale", mqtt5.ErrAckStale}, {"said", mqtt5.ErrDisconnectReceived}, {"hangup", mqtt5.ErrHangup}, {"refused", mqtt5.ErrConnectionRefused},
		{"ping", mqtt5.ErrPingTimeout}, {"connack", mqtt5.ErrConnackTimeout}, {"connect", mqtt5.ErrConnectTimeout}, {"auth", mqtt5.ErrAuthentication}, {"late", context.DeadlineExceeded},
	} {
		if errors.Is(err, v.err) {
			return v.s
		}
	}
	return strings.ReplaceAll(fmt.Sprint(err), " ", "_")
}

// TestEverything goes through the tables.
func TestEverything(t *testing.T) {
	covered := map[string]int{}
	calls := 0
	for _, table := range []string{tableOfCalls, tableOfOperations, tableOfAcknowledgements} {
		lines := strings.Split(strings.Trim(table, "\n"), "\n")
		columns := strings.Fields(lines[0])
		for _, column := range columns {
			if slices.ContainsFunc(deeds, func(d deed) bool { return d.name == column }) {
				calls++
			}
		}
		for _, line := range lines[1:] {
			cells := strings.Fields(line)
			if len(cells) != len(columns) {
				t.Fatalf("%d cells in %q", len(cells), line)
			}
			state, events := cells[0], strings.Split(cells[len(cells)-1], ",")
			for _, event := range events {
				covered[state+" "+event]++
				checkRow(t, state, event, columns, cells)
			}
		}
	}
	if calls != len(deeds) {
		t.Errorf("%d of %d calls are in the tables", calls, len(deeds))
	}
	// Every state has its row, and with a connection one for every event.
	for _, stage := range stages {
		for event := range happenings {
			dial := event == "dial-fails" || event == "connection-opens"
			possible := event == "nothing"
			switch stage.name {
			case "dialing":
				possible = possible || dial
			case "handshake", "connected", "draining", "disconnecting":
				possible = !dial
			}
			if n := covered[stage.name+" "+event]; possible && n != 3 || !possible && n != 0 {
				t.Errorf("%s %s: in %d tables, possible %v", stage.name, event, n, possible)
			}
		}
	}
}

// checkRow makes the calls of a row.
func checkRow(t *testing.T, state, event string, columns, cells []string) {
	t.Helper()
	for i, column := range columns {
		at := slices.IndexFunc(deeds, func(d deed) bool { return d.name == column })
		if at < 0 {
			continue
		}
		bubble(t, state+"/"+event+"/"+column, func(t *testing.T) {
			result, cause := perform(t, state, event, deeds[at])
			if result != cells[i] {
				t.Errorf("%s, want %s", result, cells[i])
			}
			if column == "Look" && cause != cells[1] { // it disturbs nothing
				t.Errorf("the cause is %s, want %s", cause, cells[1])
			}
		})
	}
}

// perform is one cell of a table.
func perform(t *testing.T, state, event string, call deed) (result, cause string) {
	at := slices.IndexFunc(stages, func(s struct {
		name  string
		state mqtt5.State
		reach func(t *testing.T) *stage
	}) bool {
		return s.name == state
	})
	s := stages[at].reach(t)
	synctest.Wait()
	if got := s.State(); got != stages[at].state {
		t.Fatalf("state %v, want %v", got, stages[at].state)
	}
	failures, losses := len(s.failures), len(s.losses)
	ctx, cancel := context.WithTimeout(s.ctx, 2*time.Minute)
	defer cancel()
	happen := func() {
		happenings[event](s)
		synctest.Wait()
	}
	if call.after {
		happen()
	}
	begun := time.Now()
	made := s.do(func() error { return call.do(ctx, s) })
	if !call.after {
		happen()
	}
	err := made.wait()
	if took := time.Since(begun); took > 2*time.Minute {
		t.Errorf("took %v", took)
	}
	// Whatever it was, the client comes to rest, and leaves nothing behind.
	time.Sleep(5 * time.Minute)
	final := mqtt5.StateConnected
	switch {
	case state == "closed" || call.name == "Close":
		final = mqtt5.StateClosed
	case strings.HasPrefix(call.name, "Stop") || call.name != "Start" && slices.Contains([]string{"stopped", "draining", "disconnecting"}, state):
		final = mqtt5.StateStopped
	}
	if got := s.State(); got != final {
		t.Errorf("after five minutes %v, want %v", got, final)
	}
	cause = "-"
	if len(s.failures) > failures {
		cause = verdict(s.failures[failures].Err)
	} else if len(s.losses) > losses {
		cause = verdict(s.losses[losses].Err)
	}
	if err := s.Stop(s.ctx, nil); err != nil && !errors.Is(err, mqtt5.ErrClosed) {
		t.Errorf("stop: %v", err)
	}
	want(t, "close", s.Close(), nil)
	synctest.Wait()
	if st := s.Stats(); st.IncompleteOperations != 0 || st.IncompleteOperationBytes != 0 || st.QueuedOperations != 0 || st.UnackedOperations != 0 {
		t.Errorf("left over: %+v", st)
	}
	return verdict(err), cause
}
