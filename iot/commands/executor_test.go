// SPDX-License-Identifier: Apache-2.0

package commands_test

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/iot/commands"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/request"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/request/requesttest"
)

func TestExecutor_statuses(t *testing.T) {
	for name, tt := range map[string]struct {
		options commands.Options
		want    string
	}{
		"nothing": {returns(nil, nil), `{"status":"SUCCEEDED"}`},
		"result": {
			returns(commands.Result{"a": commands.String("x"), "b": commands.Bool(false), "c": commands.Bytes([]byte{1, 2}), "d": commands.String("")}, nil),
			`{"status":"SUCCEEDED","result":{"a":{"s":"x"},"b":{"b":false},"c":{"bin":"AQI="},"d":{"s":""}}}`,
		},
		"empty result":    {returns(commands.Result{}, nil), `{"status":"SUCCEEDED"}`},
		"wrong result":    {returns(commands.Result{"a": {}}, nil), `{"status":"FAILED","statusReason":{"reasonCode":"FAILED","reasonDescription":"commands: invalid argument: the result \"a\" needs exactly one value"}}`},
		"error":           {returns(nil, errors.New("no\nroom")), `{"status":"FAILED","statusReason":{"reasonCode":"FAILED","reasonDescription":"no room"}}`},
		"fail":            {returns(nil, commands.Fail("NO_ROOM", "the disk is full")), `{"status":"FAILED","statusReason":{"reasonCode":"NO_ROOM","reasonDescription":"the disk is full"}}`},
		"fail, no reason": {returns(nil, commands.Fail("", "")), `{"status":"FAILED"}`},
		"wrong code":      {returns(nil, commands.Fail("no room", "full")), `{"status":"FAILED","statusReason":{"reasonCode":"DEVICE","reasonDescription":"no room full"}}`},
		"reject":          {returns(nil, commands.Reject("NOT_NOW", "")), `{"status":"REJECTED","statusReason":{"reasonCode":"NOT_NOW"}}`},
		"wrong status":    {returns(nil, &commands.StatusError{Status: commands.Succeeded}), `{"status":"FAILED"}`},
		"long":            {returns(nil, errors.New(strings.Repeat("é", 2000))), `{"status":"FAILED","statusReason":{"reasonCode":"FAILED","reasonDescription":"` + strings.Repeat("é", 1024) + `"}}`},
		"panic":           {all(func(context.Context, *commands.Command) (commands.Result, error) { panic("oh") }), `{"status":"FAILED","statusReason":{"reasonCode":"FAILED","reasonDescription":"the handler panicked: oh"}}`},
		"unknown command": {commands.Options{Handlers: map[string]commands.Handler{"other": returns(nil, nil).Default}}, `{"status":"REJECTED","statusReason":{"reasonCode":"UNKNOWN_COMMAND","reasonDescription":"this device does not know the command \"blink\""}}`},
		"known command":   {commands.Options{Handlers: map[string]commands.Handler{"blink": returns(nil, nil).Default}}, `{"status":"SUCCEEDED"}`},
	} {
		bubble(t, name, func(t *testing.T) {
			s := newService(t)
			r := start(t, s, tt.options)
			s.send("id-1", "/json", `{"command":"blink"}`, 60)
			s.want("id-1 " + tt.want)
			status := object(t, []byte(tt.want))["status"]
			r.wantEvents("ready", "received id-1", fmt.Sprint("reported id-1 ", status))
		})
	}
}

// TestExecutor_formats checks what a handler gets, the topics and the bytes.
func TestExecutor_formats(t *testing.T) {
	for _, tt := range []struct {
		suffix, payload, name, contentType, response string
		format                                       commands.Format
	}{
		{"/json", `{"command":"blink"}`, "blink", "application/json", "json", commands.JSON},
		{"/cbor", "\xa1\x67command\x65blink", "blink", "application/cbor", "cbor", commands.CBOR},
		{"", "\x00\x01", "", "", "json", commands.Generic},
	} {
		bubble(t, tt.format.String(), func(t *testing.T) {
			s := newService(t)
			var got commands.Command
			start(t, s, all(func(_ context.Context, c *commands.Command) (commands.Result, error) {
				got = *c
				return commands.Result{"ok": commands.Bool(true), "raw": commands.Bytes([]byte{9})}, nil
			}))
			s.send("id-1", tt.suffix, tt.payload, 60)
			synctest.Wait()
			if got.ExecutionID != "id-1" || got.Name != tt.name || got.Format != tt.format || got.ContentType != tt.contentType || string(got.Payload) != tt.payload ||
				got.Deadline.Sub(got.ReceivedAt) != time.Minute {
				t.Errorf("%+v", got)
			}
			p := s.packets[0]
			if p.Topic != "$aws/commands/things/thermostat/executions/id-1/response/"+tt.response || *p.ContentType != "application/"+tt.response {
				t.Errorf("%s, %s", p.Topic, *p.ContentType)
			}
			// {"result": {"ok": {"b": true}, "raw": {"bin": h'09'}}, "status":
			// "SUCCEEDED"}
			const cbor = "a2" + "66726573756c74" + "a2" + "626f6b" + "a1" + "6162" + "f5" + "63726177" + "a1" + "6362696e" + "4109" + "66737461747573" + "69535543434545444544"
			if tt.response == "cbor" && hex.EncodeToString(p.Payload) != cbor {
				t.Errorf("%x", p.Payload)
			}
			want := []string{
				"$aws/commands/things/thermostat/executions/+/request", "$aws/commands/things/thermostat/executions/+/request/cbor",
				"$aws/commands/things/thermostat/executions/+/request/json", "$aws/commands/things/thermostat/executions/+/response/accepted/" + tt.response,
				"$aws/commands/things/thermostat/executions/+/response/rejected/" + tt.response,
			}
			if f := s.Filters(); !slices.Equal(f, want) {
				t.Errorf("subscribed to %q", f)
			}
		})
	}
}

func TestExecutor_time(t *testing.T) {
	bubble(t, "progress", func(t *testing.T) {
		s := newService(t)
		start(t, s, all(func(ctx context.Context, c *commands.Command) (commands.Result, error) {
			time.Sleep(3 * time.Second)
			return nil, c.Progress(ctx, "HALF", "half of it")
		}))
		s.send("a", "/json", `{}`, 60)
		time.Sleep(2 * time.Second)
		s.want(`a {"status":"IN_PROGRESS"}`)
		time.Sleep(2 * time.Second)
		s.want(`a {"status":"IN_PROGRESS"}`, `a {"status":"IN_PROGRESS","statusReason":{"reasonCode":"HALF","reasonDescription":"half of it"}}`, `a {"status":"SUCCEEDED"}`)
	})
	bubble(t, "the handler is too slow", func(t *testing.T) {
		s := newService(t)
		o := all(func(ctx context.Context, _ *commands.Command) (commands.Result, error) {
			<-ctx.Done()
			return nil, context.Cause(ctx)
		})
		o.ProgressAfter = -1
		start(t, s, o)
		s.send("a", "/json", `{}`, 10)
		time.Sleep(9 * time.Second)
		s.want()
		time.Sleep(2 * time.Second)
		s.want(`a {"status":"TIMED_OUT","statusReason":{"reasonCode":"EXPIRED","reasonDescription":"commands: the time of the command is over"}}`)
	})
	bubble(t, "late and successful", func(t *testing.T) { // overrides the time-out of the service
		s := newService(t)
		o := all(func(context.Context, *commands.Command) (commands.Result, error) {
			time.Sleep(time.Minute)
			return nil, nil
		})
		o.ProgressAfter = -1
		start(t, s, o)
		s.send("a", "/json", `{}`, 10)
		time.Sleep(long)
		s.want(`a {"status":"SUCCEEDED"}`)
	})
	bubble(t, "waited for too long", func(t *testing.T) {
		s := newService(t)
		ran := ""
		o := all(func(_ context.Context, c *commands.Command) (commands.Result, error) {
			ran += c.ExecutionID
			time.Sleep(time.Minute)
			return nil, nil
		})
		o.ProgressAfter = -1
		start(t, s, o)
		s.send("a", "/json", `{}`, 100)
		s.send("b", "/json", `{}`, 30)
		s.send("c", "/json", `{}`, -1) // MQTT 3.1.1 senders, or a setting of the service
		s.send("d", "/json", `{}`, 0)
		time.Sleep(long)
		synctest.Wait()
		if ran != "ac" {
			t.Errorf("ran %s", ran)
		}
		const expired = `{"status":"TIMED_OUT","statusReason":{"reasonCode":"EXPIRED","reasonDescription":"the command waited for too long on the device"}}`
		s.want(`a {"status":"SUCCEEDED"}`, "b "+expired, `c {"status":"SUCCEEDED"}`, "d "+expired)
	})
	bubble(t, "default time-out", func(t *testing.T) {
		s := newService(t)
		o := all(func(ctx context.Context, c *commands.Command) (commands.Result, error) {
			if c.Deadline.Sub(c.ReceivedAt) != 5*time.Second {
				t.Errorf("deadline %v", c.Deadline)
			}
			return nil, nil
		})
		o.DefaultTimeout = 5 * time.Second
		start(t, s, o)
		s.send("a", "/json", `{}`, -1)
		s.want(`a {"status":"SUCCEEDED"}`)
	})
	bubble(t, "several at a time", func(t *testing.T) {
		s := newService(t)
		o := all(func(context.Context, *commands.Command) (commands.Result, error) {
			time.Sleep(500 * time.Millisecond)
			return nil, nil
		})
		o.Concurrency = 3
		start(t, s, o)
		for i := range 6 {
			s.send(fmt.Sprint(i), "/json", `{}`, 60)
		}
		time.Sleep(1100 * time.Millisecond)
		synctest.Wait()
		if len(s.statuses) != 6 {
			t.Errorf("%q", s.statuses)
		}
	})
	bubble(t, "too many", func(t *testing.T) {
		s := newService(t)
		o := all(func(context.Context, *commands.Command) (commands.Result, error) {
			time.Sleep(10 * time.Second)
			return nil, nil
		})
		o.MaxQueued, o.ProgressAfter = 2, -1
		start(t, s, o)
		for i := range 5 {
			s.send(fmt.Sprint(i), "/json", `{}`, 60)
			synctest.Wait()
		}
		const full = `{"status":"REJECTED","statusReason":{"reasonCode":"QUEUE_FULL","reasonDescription":"too many commands wait on the device"}}`
		s.want("3 "+full, "4 "+full)
	})
	bubble(t, "the age of a command behind one that was refused", func(t *testing.T) {
		s := newService(t)
		s.fault = func(int) string { return "lose" }
		begin := time.Now()
		var age atomic.Int64
		o := all(func(_ context.Context, c *commands.Command) (commands.Result, error) {
			if c.ExecutionID == "3" {
				age.Store(int64(c.ReceivedAt.Sub(begin)))
			}
			time.Sleep(10 * time.Second)
			return nil, nil
		})
		o.Concurrency, o.MaxQueued, o.ProgressAfter, o.RequestTimeout = 2, 1, -1, time.Minute
		start(t, s, o)
		for _, id := range []string{"0", "1", "2", "refused"} {
			s.send(id, "/json", `{}`, 600)
			synctest.Wait()
		}
		s.mu.Lock()
		s.fault = nil
		s.mu.Unlock()
		time.Sleep(15 * time.Second)
		s.send("3", "/json", `{}`, 600)
		time.Sleep(5 * time.Minute)
		if d := time.Duration(age.Load()); d != 15*time.Second {
			t.Errorf("received after %v", d)
		}
	})
}

func TestExecutor_duplicates(t *testing.T) {
	bubble(t, "while it runs and after", func(t *testing.T) {
		s := newService(t)
		calls := 0
		o := all(func(context.Context, *commands.Command) (commands.Result, error) {
			calls++
			time.Sleep(time.Second / 2)
			return nil, nil
		})
		r := start(t, s, o)
		s.send("a", "/json", `{}`, 60)
		s.send("a", "/json", `{}`, 60)
		time.Sleep(time.Minute)
		s.send("a", "/json", `{}`, 60)
		s.want(`a {"status":"SUCCEEDED"}`, `a {"status":"SUCCEEDED"}`) // the answer to the first may have been lost
		if calls != 1 {
			t.Errorf("%d calls", calls)
		}
		r.wantEvents("ready", "received a", "duplicate a", "reported a SUCCEEDED", "duplicate a", "reported a SUCCEEDED")
	})
	bubble(t, "across restarts", func(t *testing.T) {
		s := newService(t)
		calls := 0
		o := all(func(context.Context, *commands.Command) (commands.Result, error) { calls++; return nil, nil })
		o.StateFile = filepath.Join(t.TempDir(), "state")
		r := start(t, s, o)
		s.send("a", "/json", `{}`, 60)
		synctest.Wait()
		_ = r.stop()
		start(t, s, o)
		s.send("a", "/json", `{}`, 60)
		s.want(`a {"status":"SUCCEEDED"}`, `a {"status":"SUCCEEDED"}`)
		if calls != 1 {
			t.Errorf("%d calls", calls)
		}
	})
	bubble(t, "not reported by the process before", func(t *testing.T) {
		s := newService(t)
		s.fault = func(int) string { return "lose" }
		o := returns(commands.Result{"r": commands.Bytes([]byte("x"))}, nil)
		o.StateFile = filepath.Join(t.TempDir(), "state")
		r := start(t, s, o)
		s.send("a", "/json", `{}`, 60)
		time.Sleep(time.Minute)
		_ = r.stop()
		s.fault = nil
		start(t, s, o)
		time.Sleep(10 * time.Second) // the request client expects late answers for a while
		s.want(`a {"status":"SUCCEEDED","result":{"r":{"bin":"eA=="}}}`)
	})
	bubble(t, "few are remembered", func(t *testing.T) {
		s := newService(t)
		o := returns(nil, nil)
		o.Remember = 2
		start(t, s, o)
		for _, id := range []string{"a", "b", "c", "a"} {
			s.send(id, "/json", `{}`, 60)
			synctest.Wait()
		}
		s.want(`a {"status":"SUCCEEDED"}`, `b {"status":"SUCCEEDED"}`, `c {"status":"SUCCEEDED"}`, `a {"status":"SUCCEEDED"}`)
	})
}

// An error event has an error, and each error has an event.
func TestExecutor_events(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := newService(t)
		var errs []error
		o := all(func(context.Context, *commands.Command) (commands.Result, error) {
			time.Sleep(5 * time.Second)
			return nil, nil
		})
		r := start(t, s, o, func(e commands.Event) {
			if e.Type == commands.EventError {
				errs = append(errs, e.Err)
			}
		})
		s.send("a", "/json", `{}`, 60)
		time.Sleep(10 * time.Second)
		s.send("no id", "/json", `{}`, 60)
		synctest.Wait()
		r.wantEvents("ready", "received a", "reported a SUCCEEDED", "error")
		if len(errs) != 1 || !errors.Is(errs[0], commands.ErrInvalidPayload) {
			t.Error(errs)
		}
	})
}

func TestExecutor_reports(t *testing.T) {
	for fault, tt := range map[string]struct {
		faults int
		want   []string
	}{
		"lose":                            {3, []string{`a {"status":"SUCCEEDED"}`}},
		"answer":                          {2, []string{`a {"status":"SUCCEEDED"}`, `a {"status":"SUCCEEDED"}`, `a {"status":"SUCCEEDED"}`}},
		commands.CodeInternalError:        {2, []string{`a {"status":"SUCCEEDED"}`}},
		commands.CodeRequestThrottled:     {2, []string{`a {"status":"SUCCEEDED"}`}},
		commands.CodeResourceNotFound:     {99, nil},
		commands.CodeTerminalStateReached: {99, nil},
	} {
		bubble(t, fault, func(t *testing.T) {
			s := newService(t)
			s.fault = func(n int) string {
				if n <= tt.faults {
					return fault
				}
				return ""
			}
			start(t, s, returns(nil, nil))
			s.send("a", "/json", `{}`, 60)
			time.Sleep(long)
			s.want(tt.want...)
			if tt.want == nil && s.n != 1 {
				t.Errorf("%d attempts", s.n)
			}
		})
	}
	for name, failure := range map[string]error{
		"too large for a message": &mqtt5.ValidationError{Subject: "PublishPacket", Problems: []mqtt5.Problem{{Field: "packet", Rule: "is too large"}}},
		"not accepted":            nil,
	} {
		bubble(t, name, func(t *testing.T) {
			s := newService(t)
			s.OnPublish(func(p *mqtt5.PublishPacket) error {
				if len(p.Payload) < 1000 {
					s.fault = nil
				} else if s.fault = func(int) string { return commands.CodeInvalidRequest }; failure != nil {
					return failure
				}
				return s.handle(p)
			})
			r := start(t, s, returns(commands.Result{"r": commands.String(strings.Repeat("x", 1000))}, nil))
			s.send("a", "/json", `{}`, 60)
			s.want(`a {"status":"SUCCEEDED"}`)
			r.wantEvents("ready", "received a", "error a", "reported a SUCCEEDED")
		})
	}
	bubble(t, "never accepted", func(t *testing.T) {
		s := newService(t)
		s.fault = func(int) string { return commands.CodeInvalidRequest }
		r := start(t, s, returns(nil, commands.Fail("X", "y")))
		s.send("a", "/json", `{}`, 60)
		time.Sleep(long)
		s.want()
		r.wantEvents("ready", "received a", "error a", "error a")
		if s.n != 2 {
			t.Errorf("%d attempts", s.n)
		}
	})
	bubble(t, "offline", func(t *testing.T) {
		s := newService(t)
		start(t, s, all(func(context.Context, *commands.Command) (commands.Result, error) {
			s.Disconnect(mqtt5.ErrConnectionLost)
			return nil, nil
		}))
		s.send("a", "/json", `{}`, 60)
		time.Sleep(10 * time.Minute)
		s.want()
		s.Connect(false)
		time.Sleep(10 * time.Minute)
		s.want(`a {"status":"SUCCEEDED"}`)
	})
}

// TestExecutor_name has names that cannot be read: the command is rejected.
func TestExecutor_name(t *testing.T) {
	const unknown = ` {"status":"REJECTED","statusReason":{"reasonCode":"UNKNOWN_COMMAND","reasonDescription":"this device does not know the command \"\""}}`
	for cause, end := range map[string]func(){"panic": func() { panic("of the test") }, "Goexit": runtime.Goexit} {
		bubble(t, cause, func(t *testing.T) {
			s := newService(t)
			r := start(t, s, commands.Options{
				Handlers: map[string]commands.Handler{"x": returns(nil, nil).Default},
				Name:     func(*commands.Command) string { end(); return "x" },
			})
			s.send("a", "/json", `{"command":"x"}`, 60)
			s.want("a" + unknown)
			r.wantEvents("ready", "error a", "received a", "reported a REJECTED")
		})
	}
	bubble(t, "other types", func(t *testing.T) {
		s := newService(t)
		start(t, s, commands.Options{Handlers: map[string]commands.Handler{"x": returns(nil, nil).Default}})
		var want []string
		for i, payload := range []string{``, `null`, `7`, `["x"]`, `{"command":null}`, `{"command":["x"]}`, `{"command":{"x":1}}`, `{"command":"x"`, `{"command":"x"} {}`} {
			s.send(fmt.Sprint(i), "/json", payload, 60)
			synctest.Wait()
			want = append(want, fmt.Sprint(i)+unknown)
		}
		s.want(want...)
	})
}

func TestNew_invalid(t *testing.T) {
	conn := requesttest.New()
	defer conn.Close()
	requests, err := request.New(conn, request.Options{})
	if err != nil {
		t.Fatal(err)
	}
	good := returns(nil, nil)
	for name, f := range map[string]func() error{
		"no client":  func() error { _, err := commands.New(nil, commands.Thing("a"), good); return err },
		"no target":  func() error { _, err := commands.New(requests, commands.Target{}, good); return err },
		"thing":      func() error { _, err := commands.New(requests, commands.Thing("a/b"), good); return err },
		"client":     func() error { _, err := commands.New(requests, commands.MQTTClient("a+b"), good); return err },
		"no handler": func() error { _, err := commands.New(requests, commands.Thing("a"), commands.Options{}); return err },
		"nil handler": func() error {
			o := good
			o.Handlers = map[string]commands.Handler{"x": nil}
			_, err := commands.New(requests, commands.Thing("a"), o)
			return err
		},
		"concurrency": func() error {
			o := good
			o.Concurrency = -1
			_, err := commands.New(requests, commands.Thing("a"), o)
			return err
		},
		"format": func() error {
			o := good
			o.Formats = []commands.Format{7}
			_, err := commands.New(requests, commands.Thing("a"), o)
			return err
		},
	} {
		if err := f(); !errors.Is(err, commands.ErrInvalidArgument) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := commands.New(requests, commands.Target{}, good); err == nil || !strings.Contains(err.Error(), "give Thing or MQTTClient") {
		t.Error(err)
	}
	for name, damage := range map[string]string{"none/state.json": "", "damaged.json": "{"} {
		o := good
		o.StateFile = filepath.Join(t.TempDir(), name)
		if damage != "" {
			if err := os.WriteFile(o.StateFile, []byte(damage), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := commands.New(requests, commands.Thing("a"), o); !errors.Is(err, commands.ErrState) || !strings.Contains(err.Error(), filepath.Dir(o.StateFile)) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := commands.New(requests, commands.MQTTClient("my client.1"), good); err != nil {
		t.Error(err)
	}
}
