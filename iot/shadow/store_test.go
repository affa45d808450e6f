// SPDX-License-Identifier: Apache-2.0

package shadow

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
)

func TestMirror_offlineAndRestart(t *testing.T) {
	run(t, func(b *bench) {
		store := new(memoryStore)
		b.conn.Disconnect(mqtt5.ErrConnectionLost)
		synctest.Wait()
		m := b.mirror(MirrorOptions[lamp]{Store: &handle{store: store}})
		b.must(m.Report(lamp{On: Value(true), Level: Value(1)}))
		b.must(m.Update(func(l *lamp) { l.Level, l.Color = Field[int]{}, Value("red") }))
		b.must(m.Close())
		b.has(`{}`, `{}`)
		if err := m.Report(lamp{}); !errors.Is(err, ErrMirrorClosed) {
			b.Errorf("report after close: %v", err)
		}

		m = b.mirror(MirrorOptions[lamp]{Store: &handle{store: store}})
		defer m.Close()
		reported, err := m.Reported()
		b.must(err)
		if want := (lamp{On: Value(true), Color: Value("red")}); reported != want {
			b.Errorf("restored %+v", reported)
		}
		b.conn.Connect(false)
		b.must(m.WaitSynced(b.Context()))
		b.has(`{}`, `{"color":"red","on":true}`)
	})
}

func TestMirror_removalSurvivesALostAnswer(t *testing.T) {
	run(t, func(b *bench) {
		m := b.mirror(MirrorOptions[lamp]{})
		defer m.Close()
		synctest.Wait()
		b.service.lose(100)
		b.must(m.Report(lamp{Level: Value(1)}))
		time.Sleep(time.Second)
		b.has(`{}`, `{"level":1}`)
		b.must(m.Report(lamp{Level: Null[int]()}))
		time.Sleep(time.Minute)
		b.service.lose(0)
		b.must(m.WaitSynced(b.Context()))
		b.has(`{}`, `{}`)
	})
}

// A field is removed after a crash during the update that added it.
func TestMirror_removalAfterACrash(t *testing.T) {
	at := target{thing: "lamp"}
	r := replica{synced: true, local: object{"a": "1"}}
	u, _ := r.nextUpdate(false)
	r.beginUpdate(u)
	var next replica
	if err := next.load(at, r.save(at)); err != nil {
		t.Fatal(err)
	}
	next.local = merge(next.local, object{"a": nil})
	next.gotDocument(parsedDocument{reported: object{"a": "1"}, version: 1})
	if u, _ := next.nextUpdate(false); !equal(u.reported, object{"a": nil}) {
		t.Errorf("the update is %s", encode(u.reported))
	}
}

func TestMirror_storeFails(t *testing.T) {
	run(t, func(b *bench) {
		h := &handle{store: new(memoryStore)}
		var c calls
		m := b.mirror(MirrorOptions[lamp]{OnDesired: c.accept, Store: h})
		defer m.Close()
		synctest.Wait()
		disk := errors.New("disk full")
		setFail := func(err error) {
			h.store.mu.Lock()
			defer h.store.mu.Unlock()
			h.fail = err
		}
		setFail(disk)
		if err := m.Report(lamp{On: Value(true)}); !errors.Is(err, disk) {
			b.Errorf("report: %v", err)
		}
		b.set(`{"desired":{"level":1}}`)
		time.Sleep(time.Second)
		b.called(&c) // what may be forgotten is not applied
		setFail(nil)
		b.must(m.WaitSynced(b.Context()))
		b.called(&c, `{"level":1}`)
		b.has(`{"level":1}`, `{"level":1,"on":true}`)
	})
}

func TestMirror_crashWhileApplying(t *testing.T) {
	run(t, func(b *bench) {
		store := new(memoryStore)
		h := &handle{store: store}
		var c calls
		m := b.mirror(MirrorOptions[lamp]{Store: h, OnDesired: func(ctx context.Context, d *Desired[lamp]) error {
			h.store.mu.Lock()
			h.dead = true
			h.store.mu.Unlock()
			return c.accept(ctx, d)
		}})
		b.set(`{"desired":{"on":true}}`)
		synctest.Wait()
		m.Close()
		b.called(&c, `{"on":true}`)
		m = b.mirror(MirrorOptions[lamp]{Store: &handle{store: store}, OnDesired: c.accept})
		defer m.Close()
		b.must(m.WaitSynced(b.Context()))
		b.called(&c, `{"on":true}`, `{"on":true} again`)
	})
}

func TestFileStore(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	store := FileStore(filepath.Join(folder, "lamp.json"))
	if data, err := store.Load(); data != nil || err != nil {
		t.Errorf("empty store: %q %v", data, err)
	}
	for _, text := range []string{"one", "two"} {
		if err := store.Save([]byte(text)); err != nil {
			t.Fatal(err)
		}
		if data, err := store.Load(); string(data) != text || err != nil {
			t.Errorf("loaded %q %v", data, err)
		}
	}
	info, err := os.Stat(string(store))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	entries, err := os.ReadDir(folder)
	if err != nil || len(entries) != 1 {
		t.Errorf("left %v, %v", entries, err)
	}
	if err := FileStore(filepath.Join(folder, "none", "f")).Save(nil); err == nil {
		t.Error("saved into a folder that is not there")
	}
}

func TestOpenMirror_badStore(t *testing.T) {
	run(t, func(b *bench) {
		other, err := Named[json.RawMessage](b.client, "lamp", "other")
		b.must(err)
		foreign := (&replica{}).save(other.target)
		for name, data := range map[string]string{"garbage": "{", "format": `{"format":9,"thing":"lamp"}`, "another shadow": string(foreign)} {
			_, err := OpenMirror(b.shadow, MirrorOptions[lamp]{Store: &handle{store: &memoryStore{data: []byte(data)}}})
			if !errors.Is(err, ErrStore) {
				b.Errorf("%s: %v", name, err)
			}
		}
		if _, err := OpenMirror(b.shadow, MirrorOptions[lamp]{Coalesce: -1}); !errors.Is(err, ErrInvalidRequest) {
			b.Errorf("negative duration: %v", err)
		}
		if _, err := OpenMirror[lamp](nil, MirrorOptions[lamp]{}); !errors.Is(err, ErrInvalidRequest) {
			b.Errorf("no shadow: %v", err)
		}
	})
}

// TestOpenMirror_file checks that a file that cannot keep the state is found when
// the mirror is opened, and that the error names it.
func TestOpenMirror_file(t *testing.T) {
	damaged := filepath.Join(t.TempDir(), "damaged.json")
	if err := os.WriteFile(damaged, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	missing := filepath.Join(t.TempDir(), "missing")
	run(t, func(b *bench) {
		for file, want := range map[string]string{"": "no file name", damaged: "move " + damaged + " away", filepath.Join(missing, "f"): missing} {
			_, err := OpenMirror(b.shadow, MirrorOptions[lamp]{Store: FileStore(file)})
			if !errors.Is(err, ErrStore) || !strings.Contains(err.Error(), want) {
				b.Errorf("%q: %v, want %q", file, err, want)
			}
		}
	})
}
