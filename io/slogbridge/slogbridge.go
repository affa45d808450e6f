// SPDX-License-Identifier: Apache-2.0

package slogbridge

import (
	"context"
	"log/slog"
	"maps"
	"math"
	"slices"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// NameKey is the key of the attribute that holds the name of the logger, such as
// "mqtt5".
const NameKey = "logger"

// Logger returns a zap logger that writes to l. It asks the handler of l for
// every entry whether the level is enabled, so that a [slog.LevelVar] takes
// effect at once. Debug, Info, Warn and Error keep their level; what zap has
// above Error becomes Error+4. The name of a named logger is an attribute, see
// [NameKey]. Fields become attributes of the same kind, and namespaces become
// groups. Values print as they do with zap: a type that hides a secret from
// package fmt and encoding/json hides it here, too.
//
// Nil gives a logger that writes nothing.
func Logger(l *slog.Logger) *zap.Logger {
	if l == nil {
		return zap.NewNop()
	}
	return zap.New(&core{handler: l.Handler()}, zap.AddCaller())
}

// core writes the entries of zap to a handler of slog.
type core struct{ handler slog.Handler }

func (c *core) Enabled(level zapcore.Level) bool {
	return c.handler.Enabled(context.Background(), slogLevel(level))
}

func (c *core) With(fields []zapcore.Field) zapcore.Core {
	h := c.handler
	for len(fields) > 0 {
		n := slices.IndexFunc(fields, isNamespace)
		if n < 0 {
			n = len(fields)
		}
		if attrs := attributes(fields[:n]); len(attrs) > 0 {
			h = h.WithAttrs(attrs)
		}
		if fields = fields[n:]; len(fields) > 0 {
			h = h.WithGroup(fields[0].Key)
			fields = fields[1:]
		}
	}
	return &core{handler: h}
}

func (c *core) Check(e zapcore.Entry, checked *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Enabled(e.Level) {
		return checked.AddCore(e, c)
	}
	return checked
}

func (c *core) Write(e zapcore.Entry, fields []zapcore.Field) error {
	var pc uintptr
	if e.Caller.Defined {
		pc = e.Caller.PC
	}
	r := slog.NewRecord(e.Time, slogLevel(e.Level), e.Message, pc)
	if e.LoggerName != "" {
		r.AddAttrs(slog.String(NameKey, e.LoggerName))
	}
	r.AddAttrs(attributes(fields)...)
	if e.Stack != "" {
		r.AddAttrs(slog.String("stack", e.Stack))
	}
	return c.handler.Handle(context.Background(), r)
}

func (c *core) Sync() error { return nil }

func slogLevel(level zapcore.Level) slog.Level {
	if level > zapcore.ErrorLevel {
		return slog.LevelError + 4
	}
	return slog.Level(level) * 4
}

func isNamespace(f zapcore.Field) bool { return f.Type == zapcore.NamespaceType }

// attributes converts fields. What follows a namespace is a group of its name.
func attributes(fields []zapcore.Field) []slog.Attr {
	attrs := make([]slog.Attr, 0, len(fields))
	for i, f := range fields {
		if isNamespace(f) {
			return append(attrs, slog.Attr{Key: f.Key, Value: slog.GroupValue(attributes(fields[i+1:])...)})
		}
		if f.Type != zapcore.SkipType {
			attrs = append(attrs, attribute(f))
		}
	}
	return attrs
}

func attribute(f zapcore.Field) slog.Attr {
	switch f.Type {
	case zapcore.StringType:
		return slog.String(f.Key, f.String)
	case zapcore.BoolType:
		return slog.Bool(f.Key, f.Integer == 1)
	case zapcore.DurationType:
		return slog.Duration(f.Key, time.Duration(f.Integer))
	case zapcore.Int64Type, zapcore.Int32Type, zapcore.Int16Type, zapcore.Int8Type:
		return slog.Int64(f.Key, f.Integer)
	case zapcore.Uint64Type, zapcore.Uint32Type, zapcore.Uint16Type, zapcore.Uint8Type, zapcore.UintptrType:
		return slog.Uint64(f.Key, uint64(f.Integer))
	case zapcore.Float64Type:
		return slog.Float64(f.Key, math.Float64frombits(uint64(f.Integer)))
	case zapcore.Float32Type:
		return slog.Float64(f.Key, float64(math.Float32frombits(uint32(f.Integer))))
	case zapcore.ErrorType, zapcore.ReflectType:
		return slog.Any(f.Key, f.Interface)
	case zapcore.ByteStringType:
		return slog.String(f.Key, string(f.Interface.([]byte)))
	}
	// The rest (times, stringers, objects, arrays, ...) has rules of zap's own.
	m := zapcore.NewMapObjectEncoder()
	f.AddTo(m)
	if v, ok := m.Fields[f.Key]; ok && len(m.Fields) == 1 {
		return slog.Attr{Key: f.Key, Value: value(v)}
	}
	// An inline object has no key of its own: slog inlines a group without one.
	return slog.Attr{Key: inlineKey(f), Value: value(m.Fields)}
}

func inlineKey(f zapcore.Field) string {
	if f.Type == zapcore.InlineMarshalerType {
		return ""
	}
	return f.Key
}

// value makes groups of objects, with their keys in order.
func value(v any) slog.Value {
	m, ok := v.(map[string]any)
	if !ok {
		return slog.AnyValue(v)
	}
	attrs := make([]slog.Attr, 0, len(m))
	for _, k := range slices.Sorted(maps.Keys(m)) {
		attrs = append(attrs, slog.Attr{Key: k, Value: value(m[k])})
	}
	return slog.GroupValue(attrs...)
}
