// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/iot/iottest"
	"github.com/gocrt/aws-iot-device-sdk-go/iot/shadow"
)

// lamp is the state of the shadows here.
type lamp struct {
	On    shadow.Field[bool]   `json:"on,omitzero"`
	Color shadow.Field[string] `json:"color,omitzero"`
	Level shadow.Field[int]    `json:"level,omitzero"`
}

func openLamp(t *testing.T, c *iottest.Core, clientID string) *shadow.Shadow[lamp] {
	t.Helper()
	_, requests := dialCore(t, c.TCPAddr(), clientID)
	s, err := shadow.Classic[lamp](requests, "lamp")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func plainCore(t *testing.T) *iottest.Core {
	t.Helper()
	return iottest.Start(t, func(o *iottest.Options) { o.PlainTCP = true })
}

func TestShadow_calls(t *testing.T) {
	t.Parallel()
	c := plainCore(t)
	s, ctx := openLamp(t, c, "device"), within(t)
	if _, err := s.Get(ctx); !errors.Is(err, shadow.ErrNotFound) {
		t.Errorf("get: %v", err)
	}
	accepted, err := s.Update(ctx, shadow.Update[lamp]{
		Desired:  shadow.Value(lamp{On: shadow.Value(true), Color: shadow.Value("red")}),
		Reported: shadow.Value(lamp{On: shadow.Value(false)}), ClientToken: "mine"})
	if err != nil || accepted.Version != 1 || accepted.ClientToken != "mine" {
		t.Fatalf("update: %+v %v", accepted, err)
	}
	document, err := s.Get(ctx)
	if err != nil || !document.Delta.On.Or(false) || document.Delta.Color.Or("") != "red" {
		t.Fatalf("get: %+v %v", document, err)
	}
	if at, ok := document.Metadata.Time("desired", "color"); !ok || time.Since(at) > time.Hour {
		t.Errorf("time of the color: %v %v", at, ok)
	}
	if _, err := s.Update(ctx, shadow.Update[lamp]{Reported: shadow.Value(lamp{}), Version: 9}); !errors.Is(err, shadow.ErrVersionConflict) {
		t.Errorf("conflict: %v", err)
	}
	deep := strings.Repeat(`{"a":`, 20) + "1" + strings.Repeat("}", 20)
	raw, err := shadow.Classic[json.RawMessage](openRequests(t, c), "lamp")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := raw.Update(ctx, shadow.Update[json.RawMessage]{Reported: shadow.Value(json.RawMessage(deep))}); !errors.Is(err, shadow.ErrInvalidRequest) {
		t.Errorf("deep document: %v", err)
	}
	if deleted, err := s.Delete(ctx); err != nil || deleted.Version != 1 {
		t.Errorf("delete: %+v %v", deleted, err)
	}
}

func openRequests(t *testing.T, c *iottest.Core) shadow.Requester {
	_, requests := dialCore(t, c.TCPAddr(), "raw")
	return requests
}

// Ten requests at once and many more behind them: none is lost or throttled.
func TestShadow_parallel(t *testing.T) {
	t.Parallel()
	c := plainCore(t)
	s, ctx := openLamp(t, c, "device"), within(t)
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			if _, err := s.Update(ctx, shadow.Update[lamp]{Reported: shadow.Value(lamp{Level: shadow.Value(i)})}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if document, err := s.Get(ctx); err != nil || document.Version != 50 {
		t.Errorf("%+v %v", document, err)
	}
}

// A mirror against the core, with all that may happen to answers, and with lost
// sessions.
func TestMirror_faults(t *testing.T) {
	t.Parallel()
	c := plainCore(t)
	_, requests := dialCore(t, c.TCPAddr(), "device")
	s, err := shadow.Classic[json.RawMessage](requests, "lamp", shadow.Options{Timeout: 200 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	hardware := map[string]any{}
	mirror, err := shadow.OpenMirror(s, shadow.MirrorOptions[json.RawMessage]{
		MinRetryDelay: time.Millisecond,
		MaxRetryDelay: 10 * time.Millisecond,
		OnDesired: func(_ context.Context, change *shadow.Desired[json.RawMessage]) error {
			mu.Lock()
			defer mu.Unlock()
			return json.Unmarshal(change.JSON, &hardware)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer mirror.Close()
	faults := []iottest.ServiceFault{
		{}, {Lose: true, Times: 2}, {Duplicate: true, Times: 5}, {Reorder: 3, Times: 3}, {Ignore: true, Times: 1},
		{Operation: "update", Reject: &iottest.ServiceError{Status: 500, Message: "Internal service failure"}, Times: 1},
		{Operation: "update", Reject: &iottest.ServiceError{Status: 429, Message: "Too many requests"}, Times: 1},
		{Operation: "delta", Lose: true, Times: 1},
	}
	for i := range 4 * len(faults) {
		f := faults[i%len(faults)]
		if f != (iottest.ServiceFault{}) {
			c.SetServiceFaults(f)
		}
		if i%3 == 0 {
			c.Cut("device") // the session ends with the connection
		}
		if _, err := c.UpdateShadow("lamp", "", fmt.Appendf(nil, `{"state":{"desired":{"n":%d,"k%d":true}}}`, i, i%5)); err != nil {
			t.Logf("application: %v", err)
		}
		if err := mirror.Report(json.RawMessage(fmt.Sprintf(`{"sensor":%d}`, i))); err != nil {
			t.Fatal(err)
		}
	}
	c.SetServiceFaults()
	c.Cut("device")
	if _, err := c.UpdateShadow("lamp", "", []byte(`{"state":{"desired":{"n":1000}}}`)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "both sides agree", func() bool {
		raw, err := c.GetShadow("lamp", "")
		if err != nil {
			return false
		}
		var document struct {
			State struct{ Desired, Reported, Delta map[string]any }
		}
		if err := json.Unmarshal(raw, &document); err != nil {
			t.Fatal(err)
		}
		local, err := mirror.Reported()
		if err != nil {
			t.Fatal(err)
		}
		var mine map[string]any
		if err := json.Unmarshal(local, &mine); err != nil {
			t.Fatal(err)
		}
		mu.Lock()
		defer mu.Unlock()
		return len(document.State.Delta) == 0 && reflect.DeepEqual(mine, document.State.Reported) && reflect.DeepEqual(hardware, document.State.Desired) &&
			mine["sensor"] == float64(4*len(faults)-1) && hardware["n"] == 1000.0
	})
}

// eventually waits until a condition holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	ctx := within(t)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("it did not come to pass that %s", what)
		}
	}
}

// The shadow client of the JavaScript SDK and ours on the same shadow: each sees
// what the other does.
func TestShadow_withTheJavaScriptSDK(t *testing.T) {
	t.Parallel()
	c := plainCore(t)
	n := serviceClients(t, c, c.Device(t, "javascript"), 5)
	n.open("delta", "shadow", "createShadowDeltaUpdatedStream", object{"thingName": "lamp"})
	n.open("documents", "shadow", "createShadowUpdatedStream", object{"thingName": "lamp"})
	s, ctx := openLamp(t, c, "device"), within(t)
	applied := make(chan string, 10)
	mirror, err := shadow.OpenMirror(s, shadow.MirrorOptions[lamp]{OnDesired: func(_ context.Context, change *shadow.Desired[lamp]) error {
		applied <- string(change.JSON)
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer mirror.Close()
	if err := mirror.Report(lamp{Level: shadow.Value(1)}); err != nil {
		t.Fatal(err)
	}
	if err := mirror.WaitSynced(ctx); err != nil {
		t.Fatal(err)
	}
	type answer struct {
		State   struct{ Desired, Reported, Delta object }
		Version int
	}
	var got answer
	n.must("shadow.getShadow", object{"thingName": "lamp"}, &got)
	if !reflect.DeepEqual(got.State.Reported, object{"level": 1.0}) {
		t.Errorf("the JavaScript SDK got %+v", got)
	}
	n.must("shadow.updateShadow", object{"thingName": "lamp", "state": object{"desired": object{"on": true}}}, nil)
	select {
	case change := <-applied:
		if change != `{"on":true}` {
			t.Errorf("applied %s", change)
		}
	case <-ctx.Done():
		t.Fatal("nothing was applied")
	}
	var delta struct{ State object }
	n.next("delta", &delta)
	if !reflect.DeepEqual(delta.State, object{"on": true}) {
		t.Errorf("the JavaScript SDK saw the delta %+v", delta)
	}
	eventually(t, "the JavaScript SDK sees the report", func() bool {
		got = answer{}
		n.must("shadow.getShadow", object{"thingName": "lamp"}, &got)
		return reflect.DeepEqual(got.State.Reported, object{"level": 1.0, "on": true}) && got.State.Delta == nil
	})
	var documents struct{ Previous, Current answer }
	n.next("documents", &documents)
	if !reflect.DeepEqual(documents.Current.State.Reported, object{"level": 1.0}) {
		t.Errorf("the JavaScript SDK saw the documents %+v", documents)
	}
}

// mirrorProcess is the environment variable that makes this test binary a
// device: it holds the address of the core, a folder, and where to die.
const mirrorProcess = "INTEROP_MIRROR_PROCESS"

// TestMirror_process is the device of TestMirror_killed, in a process of its own.
func TestMirror_process(t *testing.T) {
	address, rest, ok := strings.Cut(os.Getenv(mirrorProcess), " ")
	if !ok {
		return
	}
	folder, where, _ := strings.Cut(rest, " ")
	die := func(at string) {
		if at == where {
			self, err := os.FindProcess(os.Getpid())
			if err == nil {
				err = self.Kill()
			}
			t.Fatal(err) // not reached
		}
	}
	_, requests := dialCore(t, address, "device")
	s, err := shadow.Classic[json.RawMessage](requests, "lamp")
	if err != nil {
		t.Fatal(err)
	}
	store := &deadlyStore{FileStore: shadow.FileStore(filepath.Join(folder, "shadow.json")), die: die}
	mirror, err := shadow.OpenMirror(s, shadow.MirrorOptions[json.RawMessage]{
		Store: store,
		OnDesired: func(_ context.Context, change *shadow.Desired[json.RawMessage]) error {
			die("before the application")
			line := string(change.JSON)
			if change.Repeated {
				line += " again"
			}
			log, err := os.OpenFile(filepath.Join(folder, "hardware.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(log, line)
			err = errors.Join(err, log.Sync(), log.Close())
			die("after the application")
			store.mu.Lock()
			store.after = true
			store.mu.Unlock()
			return err
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := mirror.Report(json.RawMessage(`{"sensor":1}`)); err != nil {
		t.Fatal(err)
	}
	if err := mirror.WaitSynced(within(t)); err != nil {
		t.Fatal(err)
	}
}

// deadlyStore kills the process around the save that follows an application.
type deadlyStore struct {
	shadow.FileStore
	die func(at string)

	mu    sync.Mutex
	after bool // a change was applied
}

func (s *deadlyStore) Save(data []byte) error {
	s.mu.Lock()
	after := s.after
	s.mu.Unlock()
	if after {
		s.die("before the save")
	}
	err := s.FileStore.Save(data)
	if after {
		s.die("after the save")
	}
	return err
}

// A device is killed between the application of a desired change and its report.
// The next life reports it; only an application that may not have ended is
// repeated, and says so.
func TestMirror_killed(t *testing.T) {
	t.Parallel()
	for where, want := range map[string]string{
		"before the application": `{"n":1} again`,
		"after the application":  `{"n":1},{"n":1} again`,
		"before the save":        `{"n":1},{"n":1} again`,
		"after the save":         `{"n":1}`,
	} {
		t.Run(where, func(t *testing.T) {
			t.Parallel()
			c, folder := plainCore(t), t.TempDir()
			if _, err := c.UpdateShadow("lamp", "", []byte(`{"state":{"desired":{"n":1}}}`)); err != nil {
				t.Fatal(err)
			}
			life := func(where string) error {
				cmd := exec.CommandContext(within(t), os.Args[0], "-test.run=^TestMirror_process$", "-test.timeout=2m")
				cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s %s %s", mirrorProcess, c.TCPAddr(), folder, where))
				var log output
				cmd.Stdout, cmd.Stderr = &log, &log
				err := cmd.Run()
				if err != nil && where == "" {
					t.Fatalf("the device failed: %v\n%s", err, log.String())
				}
				return err
			}
			if life(where) == nil {
				t.Fatal("the device was not killed")
			}
			if err := life(""); err != nil {
				t.Fatal(err)
			}
			raw, err := c.GetShadow("lamp", "")
			if err != nil {
				t.Fatal(err)
			}
			var document struct {
				State struct{ Reported, Delta map[string]any }
			}
			if err := json.Unmarshal(raw, &document); err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(document.State.Reported, map[string]any{"n": 1.0, "sensor": 1.0}) || document.State.Delta != nil {
				t.Errorf("the service has %s", raw)
			}
			log, err := os.ReadFile(filepath.Join(folder, "hardware.log"))
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(strings.Fields(string(bytes.ReplaceAll(log, []byte("\n"), []byte(",")))), " "); strings.TrimSuffix(got, ",") != want {
				t.Errorf("applied %s, want %s", got, want)
			}
		})
	}
}
