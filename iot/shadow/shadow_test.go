// SPDX-License-Identifier: Apache-2.0

package shadow

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/request"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/request/requesttest"
)

// lamp is the state of the tests.
type lamp struct {
	On    Field[bool]   `json:"on,omitzero"`
	Color Field[string] `json:"color,omitzero"`
	Level Field[int]    `json:"level,omitzero"`
}

// bench is a shadow on the service of the tests, in a bubble of synctest.
type bench struct {
	*testing.T
	service *service
	conn    *requesttest.Conn
	client  *request.Client
	shadow  *Shadow[lamp]
}

func run(t *testing.T, test func(b *bench)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := &bench{T: t, service: newService(t)}
		b.conn = b.service.connect()
		defer b.conn.Close()
		var err error
		if b.client, err = request.New(b.conn, request.Options{Timeout: 10 * time.Second}); err != nil {
			t.Fatal(err)
		}
		defer b.client.Close(context.Background())
		if b.shadow, err = Classic[lamp](b.client, "lamp"); err != nil {
			t.Fatal(err)
		}
		test(b)
	})
}

func (b *bench) must(err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

func TestShadow_calls(t *testing.T) {
	run(t, func(b *bench) {
		ctx := b.Context()
		_, err := b.shadow.Get(ctx)
		if !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), "404") || !strings.Contains(err.Error(), "an update creates the shadow") {
			b.Errorf("get: %v", err)
		}
		accepted, err := b.shadow.Update(ctx, Update[lamp]{Reported: Value(lamp{On: Value(true), Level: Value(3)}), ClientToken: "mine"})
		b.must(err)
		if accepted.Version != 1 || accepted.ClientToken != "mine" || !accepted.Reported.On.Or(false) || accepted.Desired != nil {
			b.Errorf("accepted %+v", accepted)
		}
		_, err = b.shadow.Update(ctx, Update[lamp]{Desired: Value(lamp{Color: Value("red")}), Reported: Value(lamp{On: Null[bool]()})})
		b.must(err)
		document, err := b.shadow.Get(ctx)
		b.must(err)
		if diff := cmp.Diff(lamp{Level: Value(3)}, *document.Reported, cmp.AllowUnexported(Field[bool]{}, Field[string]{}, Field[int]{})); diff != "" {
			b.Errorf("reported (-want +got):\n%s", diff)
		}
		if document.Version != 2 || document.Delta.Color.Or("") != "red" || !document.Delta.On.IsZero() {
			b.Errorf("document %+v", document)
		}
		_, err = b.shadow.Update(ctx, Update[lamp]{Reported: Value(lamp{}), Version: 1})
		var rejected *RejectedError
		if !errors.Is(err, ErrVersionConflict) || !errors.As(err, &rejected) || rejected.Code != 409 || rejected.Message != "Version conflict" {
			b.Errorf("stale version: %v", err)
		}
		deleted, err := b.shadow.Delete(ctx)
		b.must(err)
		if deleted.Version != 2 {
			b.Errorf("deleted version %d", deleted.Version)
		}
		if _, err := b.shadow.Delete(ctx); !errors.Is(err, ErrNotFound) {
			b.Errorf("second delete: %v", err)
		}
		want := []string{"$aws/things/lamp/shadow/delete/+", "$aws/things/lamp/shadow/get/+",
			"$aws/things/lamp/shadow/update/accepted", "$aws/things/lamp/shadow/update/rejected"}
		if diff := cmp.Diff(want, b.conn.Filters()); diff != "" {
			b.Errorf("filters (-want +got):\n%s", diff)
		}
	})
}

// TestShadow_golden checks the sent payloads byte by byte.
func TestShadow_golden(t *testing.T) {
	run(t, func(b *bench) {
		var sent []string
		b.conn.OnPublish(func(p *mqtt5.PublishPacket) error {
			sent = append(sent, p.Topic+" "+string(p.Payload))
			return &mqtt5.AckError{Operation: "publish", ReasonCode: uint8(mqtt5.PubackNotAuthorized)}
		})
		named, err := Named[lamp](b.client, "lamp", "night")
		b.must(err)
		for _, u := range []Update[lamp]{
			{Desired: Value(lamp{On: Value(false), Color: Null[string]()}), ClientToken: "t"},
			{Desired: Null[lamp](), Reported: Value(lamp{Level: Value(1)}), Version: 7, ClientToken: "t"},
		} {
			if _, err := named.Update(b.Context(), u); !strings.Contains(err.Error(), "iot:Publish on topic/$aws/things/lamp/shadow/name/night/update") {
				b.Errorf("the error has no hint: %v", err)
			}
		}
		want := []string{
			`$aws/things/lamp/shadow/name/night/update {"state":{"desired":{"on":false,"color":null}},"clientToken":"t"}`,
			`$aws/things/lamp/shadow/name/night/update {"state":{"desired":null,"reported":{"level":1}},"version":7,"clientToken":"t"}`,
		}
		if diff := cmp.Diff(want, sent); diff != "" {
			b.Errorf("sent (-want +got):\n%s", diff)
		}
	})
}

func TestShadow_checksBeforeSending(t *testing.T) {
	run(t, func(b *bench) {
		for name, c := range map[string]struct {
			update Update[lamp]
			target error
		}{
			"nothing":          {Update[lamp]{}, ErrInvalidRequest},
			"negative version": {Update[lamp]{Reported: Value(lamp{}), Version: -1}, ErrInvalidRequest},
			"long token":       {Update[lamp]{Reported: Value(lamp{}), ClientToken: strings.Repeat("t", 65)}, ErrInvalidRequest},
			"large":            {Update[lamp]{Reported: Value(lamp{Color: Value(strings.Repeat("x", 8192))})}, ErrTooLarge},
		} {
			if _, err := b.shadow.Update(b.Context(), c.update); !errors.Is(err, c.target) {
				b.Errorf("%s: %v", name, err)
			}
		}
		raw, err := Classic[json.RawMessage](b.client, "lamp", Options{MaxDocumentBytes: -1})
		b.must(err)
		for _, text := range []string{`[]`, `5`, `{`} {
			if _, err := raw.Update(b.Context(), Update[json.RawMessage]{Reported: Value(json.RawMessage(text))}); !errors.Is(err, ErrInvalidRequest) {
				b.Errorf("state %s: %v", text, err)
			}
		}
		small, err := Classic[lamp](b.client, "lamp", Options{MaxDocumentBytes: 21})
		b.must(err)
		if _, err := small.Update(b.Context(), Update[lamp]{Reported: Value(lamp{Color: Value("1234567890")})}); !errors.Is(err, ErrTooLarge) {
			b.Errorf("22 of 21 bytes: %v", err)
		}
		if log := b.conn.Log(); len(log) > 0 {
			b.Errorf("sent %q", log)
		}
		_, err = small.Update(b.Context(), Update[lamp]{Reported: Value(lamp{Color: Value("123456789")})})
		b.must(err)
		large := json.RawMessage(`{"x":"` + strings.Repeat("x", 10_000) + `"}`)
		_, err = raw.Update(b.Context(), Update[json.RawMessage]{Reported: Value(large)})
		b.must(err)
		for _, thing := range []string{"", "a/b", "a+", strings.Repeat("a", 129)} {
			if _, err := Classic[lamp](b.client, thing); !errors.Is(err, ErrInvalidRequest) {
				b.Errorf("thing %q: %v", thing, err)
			}
		}
		if _, err := Named[lamp](b.client, "lamp", strings.Repeat("a", 65)); !errors.Is(err, ErrInvalidRequest) {
			b.Errorf("long shadow name: %v", err)
		}
	})
}

func TestError_conditions(t *testing.T) {
	t.Parallel()
	conditions := []error{ErrInvalidRequest, ErrNotAuthorized, ErrNotFound, ErrVersionConflict, ErrTooLarge, ErrThrottled, ErrService}
	for code, want := range map[int]error{400: ErrInvalidRequest, 401: ErrNotAuthorized, 403: ErrNotAuthorized, 404: ErrNotFound,
		409: ErrVersionConflict, 413: ErrTooLarge, 415: ErrInvalidRequest, 429: ErrThrottled, 500: ErrService, 503: ErrService} {
		for _, condition := range conditions {
			if got := errors.Is(&RejectedError{Code: code}, condition); got != (condition == want) {
				t.Errorf("code %d matches %v: %v", code, condition, got)
			}
		}
	}
}

func TestShadow_throttled(t *testing.T) {
	run(t, func(b *bench) {
		n := 0
		b.service.reject = func(operation string, _ []byte) int {
			if n++; n < 5 { // asked twice each time
				return 429
			}
			return 0
		}
		_, err := b.shadow.Update(b.Context(), Update[lamp]{Reported: Value(lamp{On: Value(true)})})
		b.must(err)
		b.service.reject = func(string, []byte) int { return 429 }
		if _, err := b.shadow.Get(b.Context()); !errors.Is(err, ErrThrottled) {
			b.Errorf("error %v", err)
		}
	})
}

func TestShadow_inFlight(t *testing.T) {
	for option, want := range map[int]int{0: 10, 3: 3, -1: 15} {
		t.Run(fmt.Sprint(option), func(t *testing.T) {
			run(t, func(b *bench) {
				s, err := Classic[lamp](b.client, "lamp", Options{InFlight: option})
				b.must(err)
				b.service.loseRequest = 100
				for range 15 {
					go func() { _, _ = s.Get(b.Context()) }()
				}
				synctest.Wait()
				if n := len(b.conn.Log()) - 1; n != want {
					b.Errorf("%d requests in flight, want %d", n, want)
				}
			})
		})
	}
}

func TestShadow_timeoutHint(t *testing.T) {
	run(t, func(b *bench) {
		b.service.loseAnswer = 100
		_, err := b.shadow.Get(b.Context())
		if !errors.Is(err, request.ErrTimeout) || !strings.Contains(err.Error(), "iot:Receive on topic/$aws/things/lamp/shadow/get/accepted") {
			b.Errorf("error %v", err)
		}
	})
}

func TestShadow_streams(t *testing.T) {
	run(t, func(b *bench) {
		var deltas []*Delta[lamp]
		var changes []*Change[lamp]
		var invalid []error
		first, err := b.shadow.StreamDeltas(StreamOptions[Delta[lamp]]{
			OnMessage: func(_ context.Context, d *Delta[lamp]) { deltas = append(deltas, d) },
			OnInvalid: func(_ context.Context, err error) { invalid = append(invalid, err) },
		})
		b.must(err)
		defer first.Close()
		second, err := b.shadow.StreamDocuments(StreamOptions[Change[lamp]]{OnMessage: func(_ context.Context, c *Change[lamp]) { changes = append(changes, c) }})
		b.must(err)
		defer second.Close()
		synctest.Wait()
		b.service.set(simulated, `{"desired":{"on":true}}`)
		b.conn.Deliver(simulated+"/update/delta", []byte(`{"state":{"on":"what?"}}`))
		b.service.set(simulated, `{"reported":{"on":true}}`)
		synctest.Wait()
		if len(deltas) != 1 || !deltas[0].State.On.Or(false) || deltas[0].Version != 1 || deltas[0].Timestamp.IsZero() {
			b.Errorf("deltas %+v", deltas)
		}
		if len(changes) != 2 || changes[1].Previous.Version != 1 || changes[1].Current.Version != 2 ||
			!changes[1].Current.Reported.On.Or(false) || !changes[1].Previous.Reported.On.IsZero() {
			b.Errorf("changes %+v", changes)
		}
		var bad *PayloadError
		if len(invalid) != 1 || !errors.As(invalid[0], &bad) {
			b.Errorf("invalid %v", invalid)
		}
		if _, err := b.shadow.StreamDeltas(StreamOptions[Delta[lamp]]{}); !errors.Is(err, ErrInvalidRequest) {
			b.Errorf("stream without OnMessage: %v", err)
		}
	})
}

func TestShadow_iterator(t *testing.T) {
	run(t, func(b *bench) {
		go func() {
			synctest.Wait()
			b.service.set(simulated, `{"desired":{"level":1}}`)
			synctest.Wait()
			b.conn.Disconnect(mqtt5.ErrConnectionLost)
			b.conn.Connect(false)
			synctest.Wait()
			b.service.set(simulated, `{"desired":{"level":2}}`)
		}()
		var got []string
		for d, err := range b.shadow.Deltas(b.Context()) {
			if err != nil {
				got = append(got, err.Error())
				continue
			}
			got = append(got, fmt.Sprint("level ", d.State.Level.Or(0)))
			if d.State.Level.Or(0) == 2 {
				break
			}
		}
		if diff := cmp.Diff([]string{"level 1", ErrGap.Error(), "level 2"}, got); diff != "" {
			b.Errorf("events (-want +got):\n%s", diff)
		}
		synctest.Wait()
		if filters := b.conn.Filters(); len(filters) > 0 {
			b.Errorf("after the loop: %q", filters)
		}
		ctx, cancel := context.WithCancel(b.Context())
		time.AfterFunc(time.Second, cancel)
		for _, err := range b.shadow.Deltas(ctx) {
			b.Errorf("error %v", err)
		}
		b.conn.RefuseSubscribe(simulated+"/update/delta", mqtt5.SubackNotAuthorized)
		for _, err := range b.shadow.Deltas(b.Context()) {
			var refused *mqtt5.AckError
			if !errors.As(err, &refused) {
				b.Errorf("error %v", err)
			}
		}
	})
}

func TestField(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]lamp{
		`{}`:                                  {},
		`{"on":null}`:                         {On: Null[bool]()},
		`{"on":false,"color":"","level":0}`:   {On: Value(false), Color: Value(""), Level: Value(0)},
		`{"on":true,"color":null,"level":12}`: {On: Value(true), Color: Null[string](), Level: Value(12)},
	} {
		var got lamp
		if err := json.Unmarshal([]byte(text), &got); err != nil || got != want {
			t.Errorf("%s is %+v, %v", text, got, err)
		}
		if back, err := json.Marshal(want); err != nil || string(back) != text {
			t.Errorf("%+v is %s, want %s: %v", want, back, text, err)
		}
	}
	if err := json.Unmarshal([]byte(`{"on":5}`), new(lamp)); err == nil {
		t.Error("a number was taken for a bool")
	}
}

func TestMetadata_time(t *testing.T) {
	t.Parallel()
	var m Metadata
	if err := json.Unmarshal([]byte(`{"desired":{"color":{"red":{"timestamp":1700000000}},"half":{"timestamp":1700000000.5},"list":[{"timestamp":1700000001},{"timestamp":1700000002}]},"reported":{"on":{"timestamp":1700000003000}}}`), &m); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		section string
		path    []string
		want    int64
	}{
		{"desired", []string{"color", "red"}, 1700000000},
		{"desired", []string{"list", "1"}, 1700000002},
		{"reported", []string{"on"}, 1700000003}, // milliseconds
		{"desired", []string{"list", "2"}, 0},
		{"desired", []string{"list", "-1"}, 0},
		{"desired", []string{"half"}, 0},
		{"desired", []string{"color"}, 0},
		{"reported", nil, 0},
	} {
		got, ok := m.Time(c.section, c.path...)
		if ok != (c.want != 0) || ok && got.Unix() != c.want {
			t.Errorf("%s %q: %v %v", c.section, c.path, got, ok)
		}
	}
}
