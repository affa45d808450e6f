// SPDX-License-Identifier: Apache-2.0

package shadow

import (
	"context"
	"encoding/json"
	"errors"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/request"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/request/requesttest"
)

// hostile are payloads that no service would send. T stands for the token.
var hostile = []string{
	``, `null`, `[]`, `7`, `"text"`, `{`, `{}`, `{"clientToken":"T"`, `{"clientToken":"T"} {}`,
	`{"clientToken":"T","version":"1"}`, `{"clientToken":"T","version":1e99}`, `{"clientToken":"T","version":-1}`, `{"clientToken":"T","version":1.5}`,
	`{"clientToken":"T","timestamp":1e300}`, `{"clientToken":"T","timestamp":"now"}`,
	`{"clientToken":"T","state":null}`, `{"clientToken":"T","state":[]}`, `{"clientToken":"T","state":"on"}`,
	`{"clientToken":"T","state":{"desired":[],"reported":7}}`, `{"clientToken":"T","state":{"delta":true}}`,
	`{"clientToken":"T","state":{"desired":{"level":"high"}}}`, `{"clientToken":"T","metadata":[1]}`,
	`{"clientToken":"T","code":"404","message":5}`, `{"clientToken":"T","code":1e99}`,
	`{"clientToken":"T","state":` + strings.Repeat(`{"a":`, 20000) + `1` + strings.Repeat(`}`, 20000) + `}`,
	`{"clientToken":"T","clientToken":"other","clientToken":"T","version":1,"version":2}`,
}

// Each call ends with its answer or a typed error, whatever the service says.
func TestShadow_hostileAnswers(t *testing.T) {
	for _, kind := range []string{"/accepted", "/rejected"} {
		t.Run(kind[1:], func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				conn := requesttest.New()
				defer conn.Close()
				client, err := request.New(conn, request.Options{Timeout: time.Second})
				if err != nil {
					t.Fatal(err)
				}
				defer client.Close(context.Background())
				s, err := Classic[lamp](client, "lamp")
				if err != nil {
					t.Fatal(err)
				}
				for _, text := range hostile {
					conn.OnPublish(func(p *mqtt5.PublishPacket) error {
						var in struct {
							Token string `json:"clientToken"`
						}
						if err := json.Unmarshal(p.Payload, &in); err != nil {
							t.Error(err)
						}
						conn.Deliver(p.Topic+kind, []byte(strings.ReplaceAll(text, `"T"`, `"`+in.Token+`"`)))
						return nil
					})
					for name, call := range map[string]func() error{
						"get":    func() error { _, err := s.Get(t.Context()); return err },
						"delete": func() error { _, err := s.Delete(t.Context()); return err },
						"update": func() error {
							_, err := s.Update(t.Context(), Update[lamp]{Reported: Value(lamp{On: Value(true)})})
							return err
						},
					} {
						var bad *PayloadError
						var rejected *RejectedError
						switch err := call(); {
						case err == nil && kind == "/rejected":
							t.Errorf("%s: %.80s was accepted", name, text)
						case err != nil && !errors.As(err, &bad) && !errors.As(err, &rejected) && !errors.Is(err, request.ErrTimeout):
							t.Errorf("%s: %.80s: error %v", name, text, err)
						}
					}
				}
			})
		})
	}
}

// A message on a stream is an event or an error, never an event without content.
func TestStream_hostileMessages(t *testing.T) {
	run(t, func(b *bench) {
		deltas, changes, invalid := 0, 0, 0
		onInvalid := func(_ context.Context, err error) {
			var bad *PayloadError
			if !errors.As(err, &bad) {
				b.Errorf("error %v", err)
			}
			invalid++
		}
		_, err := b.shadow.StreamDeltas(StreamOptions[Delta[lamp]]{OnMessage: func(context.Context, *Delta[lamp]) { deltas++ }, OnInvalid: onInvalid})
		b.must(err)
		_, err = b.shadow.StreamDocuments(StreamOptions[Change[lamp]]{OnMessage: func(context.Context, *Change[lamp]) { changes++ }, OnInvalid: onInvalid})
		b.must(err)
		synctest.Wait()
		n, right := 0, 1
		for _, text := range hostile {
			if strings.Contains(text, `"state":{"de`) {
				right++ // fields that the type does not have
			}
			if text == `{"clientToken":"T","version":-1}` {
				text = `{"state":{"level":1},"version":1}` // one that is right
			}
			n++
			b.conn.Deliver("$aws/things/lamp/shadow/update/delta", []byte(text))
			synctest.Wait()
		}
		if deltas != right || invalid != n-right {
			b.Errorf("%d deltas and %d errors of %d messages", deltas, invalid, n)
		}
		invalid = 0
		for _, text := range []string{``, `null`, `[]`, `{"current":null`, `{"current":[]}`, `{"current":{"state":{"desired":7}}}`} {
			b.conn.Deliver("$aws/things/lamp/shadow/update/documents", []byte(text))
			synctest.Wait()
		}
		if changes != 0 || invalid != 6 {
			b.Errorf("%d changes and %d errors", changes, invalid)
		}
	})
}

// A mirror goes on and loses no desired change, whatever arrives.
func TestMirror_hostileMessages(t *testing.T) {
	run(t, func(b *bench) {
		b.set(`{"desired":{"level":1}}`)
		var c calls
		var ready atomic.Bool
		m := b.mirror(MirrorOptions[lamp]{Removals: true, OnDesired: func(ctx context.Context, d *Desired[lamp]) error {
			if !ready.Load() {
				return errors.New("not yet")
			}
			return c.accept(ctx, d)
		}})
		defer m.Close()
		time.Sleep(time.Second)
		for _, text := range append(hostile, `{"version":9000000000000000000}`, `{"state":{},"version":9000000000000000000}`, `{"current":{"version":9000000000000000000}}`) {
			for _, topic := range []string{"update/delta", "update/documents", "delete/accepted"} {
				b.conn.Deliver("$aws/things/lamp/shadow/"+topic, []byte(text))
				synctest.Wait()
			}
			time.Sleep(time.Minute)
		}
		ready.Store(true)
		b.must(m.WaitSynced(b.Context()))
		b.called(&c, `{"level":1}`)
		b.has(`{"level":1}`, `{"level":1}`)
		b.must(m.Report(lamp{On: Value(true)}))
		b.must(m.WaitSynced(b.Context()))
		b.has(`{"level":1}`, `{"level":1,"on":true}`)
	})
}

// A change whose application panics is tried again; the process lives on.
func TestMirror_panicWhileApplying(t *testing.T) {
	run(t, func(b *bench) {
		b.set(`{"desired":{"level":1}}`)
		var c calls
		var errs failures
		n := 0
		m := b.mirror(MirrorOptions[lamp]{OnError: errs.add, OnDesired: func(ctx context.Context, d *Desired[lamp]) error {
			switch n++; n {
			case 1:
				panic("of the test")
			case 2:
				runtime.Goexit()
			}
			return c.accept(ctx, d)
		}})
		defer m.Close()
		b.must(m.WaitSynced(b.Context()))
		b.called(&c, `{"level":1}`)
		b.has(`{"level":1}`, `{"level":1}`)
		got := errs.list()
		if len(got) != 2 || !strings.Contains(got[0].Error(), "of the test") || !strings.Contains(got[1].Error(), "Goexit") {
			b.Errorf("errors %v", got)
		}
	})
}

// Nothing is left to try when the connection was closed for good.
func TestMirror_closedConnection(t *testing.T) {
	t.Run("at once", func(t *testing.T) { testClosedConnection(t, func(*bench) {}) })
	t.Run("at rest", func(t *testing.T) { testClosedConnection(t, func(b *bench) { b.conn.Stop() }) })
}

func testClosedConnection(t *testing.T, before func(*bench)) {
	run(t, func(b *bench) {
		var errs failures
		m := b.mirror(MirrorOptions[lamp]{OnError: errs.add})
		defer m.Close()
		synctest.Wait()
		before(b)
		synctest.Wait()
		b.conn.Close()
		time.Sleep(24 * time.Hour)
		got := errs.list()
		if len(got) == 0 || len(got) > 4 {
			b.Errorf("%d errors: %v", len(got), got)
		}
		for _, err := range got {
			if !errors.Is(err, mqtt5.ErrClosed) {
				b.Errorf("error %v", err)
			}
		}
	})
}
