// SPDX-License-Identifier: Apache-2.0

package slogbridge_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/gocrt/aws-iot-device-sdk-go/io/slogbridge"
)

// secret hides itself from package fmt and from encoding/json, as the types of
// the SDK do.
type secret struct{ value string }

func (secret) Format(f fmt.State, _ rune)   { fmt.Fprint(f, "hidden") }
func (secret) MarshalJSON() ([]byte, error) { return []byte(`"hidden"`), nil }

type object struct{}

func (object) MarshalLogObject(e zapcore.ObjectEncoder) error {
	e.AddString("topic", "a/b")
	e.AddInt("qos", 1)
	return nil
}

// options leaves out what changes with every run.
func options(level slog.Leveler) *slog.HandlerOptions {
	return &slog.HandlerOptions{Level: level, ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
		if len(groups) == 0 && a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}
}

func TestLogger_fields(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, tt := range []struct {
		field      zap.Field
		text, json string
	}{
		{zap.String("k", "v"), `k=v`, `"k":"v"`},
		{zap.Bool("k", true), `k=true`, `"k":true`},
		{zap.Int("k", -3), `k=-3`, `"k":-3`},
		{zap.Int8("k", -3), `k=-3`, `"k":-3`},
		{zap.Uint64("k", 1<<63), `k=9223372036854775808`, `"k":9223372036854775808`},
		{zap.Uint16("k", 7), `k=7`, `"k":7`},
		{zap.Float64("k", 1.5), `k=1.5`, `"k":1.5`},
		{zap.Float32("k", 1.5), `k=1.5`, `"k":1.5`},
		{zap.Duration("k", time.Second), `k=1s`, `"k":1000000000`},
		{zap.Time("k", at), `k=2026-01-02T03:04:05.000Z`, `"k":"2026-01-02T03:04:05Z"`},
		{zap.Error(errors.New("boom")), `error=boom`, `"error":"boom"`},
		{zap.Error(nil), ``, ``},
		{zap.ByteString("k", []byte("v")), `k=v`, `"k":"v"`},
		{zap.Binary("k", []byte{1}), "k=\"\\x01\"", `"k":"AQ=="`},
		{zap.Strings("k", []string{"a", "b"}), `k="[a b]"`, `"k":["a","b"]`},
		{zap.Stringer("k", slog.LevelWarn), `k=WARN`, `"k":"WARN"`},
		{zap.Any("k", struct{ A int }{1}), `k={A:1}`, `"k":{"A":1}`},
		{zap.Any("k", nil), `k=<nil>`, `"k":null`},
		{zap.Any("k", secret{"hush"}), `k=hidden`, `"k":"hidden"`},
		{zap.Object("k", object{}), `k.qos=1 k.topic=a/b`, `"k":{"qos":1,"topic":"a/b"}`},
		{zap.Inline(object{}), `qos=1 topic=a/b`, `"qos":1,"topic":"a/b"`},
		{zap.Dict("k", zap.Int("a", 1), zap.Dict("b", zap.Bool("c", false))), `k.a=1 k.b.c=false`, `"k":{"a":1,"b":{"c":false}}`},
		{zap.Skip(), ``, ``},
	} {
		var text, json bytes.Buffer
		slogbridge.Logger(slog.New(slog.NewTextHandler(&text, options(nil)))).Info("m", tt.field)
		slogbridge.Logger(slog.New(slog.NewJSONHandler(&json, options(nil)))).Info("m", tt.field)
		if want := strings.TrimSpace("level=INFO msg=m "+tt.text) + "\n"; text.String() != want {
			t.Errorf("%v: got %swant %s", tt.field, text.String(), want)
		}
		want := `{"level":"INFO","msg":"m"}`
		if tt.json != "" {
			want = `{"level":"INFO","msg":"m",` + tt.json + `}`
		}
		if json.String() != want+"\n" {
			t.Errorf("%v: got %swant %s", tt.field, json.String(), want)
		}
	}
}

func TestLogger_levels(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	level := new(slog.LevelVar)
	l := slogbridge.Logger(slog.New(slog.NewTextHandler(&out, options(level))))
	all := func() {
		l.Debug("d")
		l.Info("i")
		l.Warn("w")
		l.Error("e")
		l.DPanic("p")
	}
	level.Set(slog.LevelDebug)
	all()
	level.Set(slog.LevelWarn)
	all()
	want := []string{"DEBUG msg=d", "INFO msg=i", "WARN msg=w", "ERROR msg=e", "ERROR+4 msg=p", "WARN msg=w", "ERROR msg=e", "ERROR+4 msg=p"}
	got := strings.Split(strings.ReplaceAll(strings.TrimSpace(out.String()), "level=", ""), "\n")
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if l.Core().Enabled(zapcore.InfoLevel) || l.Check(zapcore.DebugLevel, "x") != nil {
		t.Error("a level that the handler does not want costs its fields")
	}
}

func TestLogger_namesAndContext(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	base := slog.New(slog.NewTextHandler(&out, options(nil))).With("app", "gateway")
	l := slogbridge.Logger(base).Named("mqtt5").With(zap.String("client", "a"), zap.Namespace("net"), zap.Int("port", 1)).Named("tls")
	l.Info("m", zap.String("peer", "x"), zap.Namespace("deep"), zap.Bool("b", true))
	want := "level=INFO msg=m app=gateway client=a net.port=1 net.logger=mqtt5.tls net.peer=x net.deep.b=true\n"
	if d := cmp.Diff(want, out.String()); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

// The source of an entry is the line that logged it, not the bridge.
func TestLogger_source(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	slogbridge.Logger(slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{AddSource: true}))).Info("m")
	if !strings.Contains(out.String(), filepath.Base("slogbridge_test.go")+":") {
		t.Errorf("got %s", out.String())
	}
}

type failing struct{ slog.Handler }

func (failing) Enabled(context.Context, slog.Level) bool  { return true }
func (failing) Handle(context.Context, slog.Record) error { return errors.New("disk full") }
func (f failing) WithAttrs([]slog.Attr) slog.Handler      { return f }
func (f failing) WithGroup(string) slog.Handler           { return f }

func TestLogger_nilAndFailure(t *testing.T) {
	t.Parallel()
	slogbridge.Logger(nil).Error("nobody hears it")
	slogbridge.Logger(slog.New(failing{})).Error("zap reports the failure on its error output")
}

func ExampleLogger() {
	l := slog.New(slog.NewTextHandler(os.Stdout, options(nil)))
	slogbridge.Logger(l).Named("mqtt5").Warn("attempt to connect failed", zap.Int("attempt", 1))
	// Output: level=WARN msg="attempt to connect failed" logger=mqtt5 attempt=1
}
