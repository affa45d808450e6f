// SPDX-License-Identifier: Apache-2.0

package mqtttest

import (
	"fmt"
	"reflect"
	"strings"
)

// Describe returns the name of the packet and its fields, without those that
// are absent or zero.
func Describe(p Packet) string {
	if r, ok := p.(Raw); ok {
		return fmt.Sprintf("RAW % x", []byte(r[:min(len(r), 64)]))
	}
	v := reflect.Indirect(reflect.ValueOf(p))
	if !v.IsValid() {
		return "no packet"
	}
	var b strings.Builder
	b.WriteString(p.PacketType().String())
	b.WriteByte('{')
	first := true
	for i := range v.NumField() {
		if v.Field(i).IsZero() {
			continue
		}
		if !first {
			b.WriteString(", ")
		}
		first = false
		b.WriteString(v.Type().Field(i).Name)
		b.WriteString(": ")
		b.WriteString(format(v.Field(i)))
	}
	b.WriteByte('}')
	return b.String()
}

// Diff compares two packets field by field and returns the differences, a line
// each, or "" when there are none. A nil slice and an empty one are the same
// payload, but not the same optional field: absent or empty.
func Diff(want, got Packet) string {
	w, g := reflect.Indirect(reflect.ValueOf(want)), reflect.Indirect(reflect.ValueOf(got))
	if !w.IsValid() || !g.IsValid() || w.Type() != g.Type() {
		return fmt.Sprintf("want %s\ngot  %s\n", describe(want), describe(got))
	}
	var b strings.Builder
	if w.Kind() == reflect.Struct {
		for i := range w.NumField() {
			diffValue(&b, w.Type().Field(i).Name, w.Field(i), g.Field(i))
		}
	} else {
		diffValue(&b, "bytes", w, g)
	}
	return b.String()
}

func describe(p Packet) string {
	if p == nil {
		return "no packet"
	}
	return Describe(p)
}

func diffValue(b *strings.Builder, path string, want, got reflect.Value) {
	if strings.HasSuffix(path, "Payload") && want.Len() == 0 && got.Len() == 0 {
		return
	}
	if want.Kind() == reflect.Pointer && !want.IsNil() && !got.IsNil() {
		want, got = want.Elem(), got.Elem()
		if want.Kind() == reflect.Struct {
			for i := range want.NumField() {
				diffValue(b, path+"."+want.Type().Field(i).Name, want.Field(i), got.Field(i))
			}
			return
		}
	}
	if want.Kind() == reflect.Slice && want.Type().Elem().Kind() == reflect.Struct && want.Len() == got.Len() {
		for i := range want.Len() {
			diffValue(b, fmt.Sprintf("%s[%d]", path, i), want.Index(i), got.Index(i))
		}
		return
	}
	if !reflect.DeepEqual(want.Interface(), got.Interface()) {
		fmt.Fprintf(b, "%s: want %s, got %s\n", path, format(want), format(got))
	}
}

// maxShown is how many bytes of a value are worth printing.
const maxShown = 64

func format(v reflect.Value) string {
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return "absent"
		}
		return format(v.Elem())
	case reflect.String:
		s := v.String()
		if len(s) > maxShown {
			return fmt.Sprintf("%q... (%d bytes)", s[:maxShown], len(s))
		}
		return fmt.Sprintf("%q", s)
	case reflect.Slice:
		if v.IsNil() {
			return "absent"
		}
		if v.Type().Elem().Kind() == reflect.Uint8 && v.Type().Elem() == reflect.TypeFor[byte]() {
			if v.Len() > maxShown {
				return fmt.Sprintf("%q... (%d bytes)", v.Bytes()[:maxShown], v.Len())
			}
			return fmt.Sprintf("%q", v.Bytes())
		}
		parts := make([]string, v.Len())
		for i := range parts {
			parts[i] = format(v.Index(i))
		}
		return "[" + strings.Join(parts, ", ") + "]"
	case reflect.Struct:
		var parts []string
		for i := range v.NumField() {
			if !v.Field(i).IsZero() {
				parts = append(parts, v.Type().Field(i).Name+": "+format(v.Field(i)))
			}
		}
		return "{" + strings.Join(parts, ", ") + "}"
	}
	return fmt.Sprintf("%v", v.Interface())
}
