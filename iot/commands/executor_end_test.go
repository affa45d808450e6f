// SPDX-License-Identifier: Apache-2.0

package commands_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/iot/commands"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
)

// Commands that wait when the executor ends run when it runs again.
func TestExecutor_runsAgain(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := newService(t)
		const n = 32
		ran := 0
		o := all(func(ctx context.Context, _ *commands.Command) (commands.Result, error) {
			ran++
			if ran == 1 {
				<-ctx.Done()
			}
			return nil, nil
		})
		x, err := commands.New(s.requests, commands.Thing("thermostat"), o)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan struct{})
			go func() { _ = x.Run(ctx); close(ended) }()
			synctest.Wait()
			for i := range n {
				s.send(fmt.Sprint(i), "/json", `{}`, 60)
			}
			synctest.Wait()
			time.Sleep(10 * time.Second)
			cancel()
			<-ended
		}
		if ran != n {
			t.Errorf("%d of %d commands ran", ran, n)
		}
	})
}

// TestExecutor_hungUp ends the connection whenever it sees the subscription, as
// the service does where commands are not available.
func TestExecutor_hungUp(t *testing.T) {
	bubble(t, "always", func(t *testing.T) {
		s := newService(t)
		s.Hold("SUBSCRIBE")
		o := returns(nil, nil)
		r := start(t, s, o)
		losses := 0
		for range 24 * 3600 {
			time.Sleep(time.Second)
			synctest.Wait()
			if len(s.Filters()) > 0 { // the server saw a SUBSCRIBE
				losses++
				s.Disconnect(mqtt5.ErrHangup)
				synctest.Wait()
				s.Connect(false)
			}
		}
		if losses < 10 || losses > 120 {
			t.Errorf("%d connections lost in a day", losses)
		}
		if !slices.Contains(r.events, "error") {
			t.Errorf("events %q", r.events)
		}
		s.Release("SUBSCRIBE")
		time.Sleep(2 * time.Hour)
		s.send("a", "/json", `{}`, 60)
		s.want(`a {"status":"SUCCEEDED"}`)
	})
	bubble(t, "other losses", func(t *testing.T) {
		s := newService(t)
		o := returns(nil, nil)
		r := start(t, s, o)
		for range 100 {
			time.Sleep(10 * time.Second)
			s.Disconnect(mqtt5.ErrConnectionLost)
			time.Sleep(time.Second)
			s.Connect(true)
			time.Sleep(time.Second)
			s.Disconnect(mqtt5.ErrConnectionLost)
			time.Sleep(time.Second)
			s.Connect(true)
		}
		s.send("a", "/json", `{}`, 60)
		s.want(`a {"status":"SUCCEEDED"}`)
		r.wantEvents("ready", "received a", "reported a SUCCEEDED")
	})
}

func TestExecutor_refused(t *testing.T) {
	bubble(t, "for good", func(t *testing.T) {
		s := newService(t)
		s.RefuseSubscribe("$aws/commands/things/thermostat/executions/+/request/json", 0x87)
		r := start(t, s, returns(nil, nil))
		var refused *mqtt5.AckError
		if err := <-r.ended; !errors.As(err, &refused) {
			t.Error(err)
		}
		r.ended <- nil
	})
}

// TestExecutor_closed: an executor ends with its connection.
func TestExecutor_closed(t *testing.T) {
	for _, stops := range []bool{false, true} {
		bubble(t, fmt.Sprintf("connection, stopped before: %v", stops), func(t *testing.T) {
			s := newService(t)
			r := start(t, s, returns(nil, nil))
			if stops {
				s.Stop()
				synctest.Wait()
			}
			_ = s.Close()
			select {
			case err := <-r.ended:
				if !errors.Is(err, mqtt5.ErrClosed) {
					t.Error(err)
				}
				r.ended <- err
			case <-time.After(time.Hour):
				t.Error("the executor does not end")
			}
		})
	}
}
