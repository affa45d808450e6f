// SPDX-License-Identifier: Apache-2.0

package shadow

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// flat is a second implementation of documents, which shares nothing with the
// first: a document is the set of its paths.
type flat map[string]any

// branch marks a path that is an object.
type branch struct{}

func flatten(o object) flat {
	f := flat{}
	var walk func(prefix string, v any)
	walk = func(prefix string, v any) {
		inner, ok := v.(object)
		if !ok {
			f[prefix] = v
			return
		}
		f[prefix] = branch{}
		for k, v := range inner {
			walk(prefix+"/"+k, v)
		}
	}
	walk("", o)
	return f
}

// paths returns the paths, parents first.
func (f flat) paths() []string { return slices.Sorted(maps.Keys(f)) }

func (f flat) cut(path string) {
	for p := range f {
		if p == path || strings.HasPrefix(p, path+"/") {
			delete(f, p)
		}
	}
}

// patched returns the document after an update.
func (f flat) patched(patch flat) flat {
	out := maps.Clone(f)
	for _, path := range patch.paths() {
		switch v := patch[path]; v {
		case nil:
			out.cut(path)
		case branch{}:
			if out[path] != v {
				out.cut(path)
				out[path] = v
			}
		default:
			out.cut(path)
			out[path] = v
		}
	}
	return out
}

// delta returns what desired has and reported has not.
func (f flat) delta(reported flat) flat {
	out := flat{}
	for path, v := range f {
		if v == (branch{}) && len(f.below(path)) > 0 {
			continue
		}
		if have, ok := reported[path]; ok && have == v {
			continue
		}
		out[path] = v
		for parent := path; parent != ""; {
			parent = parent[:strings.LastIndex(parent, "/")]
			out[parent] = branch{}
		}
	}
	return out
}

func (f flat) below(path string) []string {
	var found []string
	for p := range f {
		if strings.HasPrefix(p, path+"/") {
			found = append(found, p)
		}
	}
	return found
}

// nested turns a flat document back.
func (f flat) nested() object {
	out := object{}
	for _, path := range f.paths() {
		if path == "" {
			continue
		}
		at := out
		levels := strings.Split(path[1:], "/")
		for _, level := range levels[:len(levels)-1] {
			at = at[level].(object)
		}
		if v := f[path]; v == (branch{}) {
			at[levels[len(levels)-1]] = object{}
		} else {
			at[levels[len(levels)-1]] = v
		}
	}
	return out
}

// randomObject makes small documents in which the same paths meet often.
func randomObject(r *rand.Rand, depth int, nulls bool) object {
	o := object{}
	for range r.IntN(4) {
		k := string(rune('a' + r.IntN(4)))
		switch n := r.IntN(10); {
		case n < 4 && depth > 0:
			o[k] = randomObject(r, depth-1, nulls)
		case n < 5 && nulls:
			o[k] = nil
		case n < 7:
			o[k] = json.Number(fmt.Sprint(r.IntN(3)))
		case n < 8:
			o[k] = "s"
		case n < 9:
			o[k] = r.IntN(2) == 0
		default:
			// Text, so that values of both implementations can be compared with ==.
			o[k] = "[1,2]"
		}
	}
	return o
}

func TestMerge_againstSecondImplementation(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	for range 4_000 {
		doc, patch := randomObject(r, 3, false), randomObject(r, 3, true)
		got, want := merge(doc, patch), flatten(doc).patched(flatten(patch)).nested()
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("%s merged into %s (-want +got):\n%s", encode(patch), encode(doc), diff)
		}
	}
}

func TestDiff_isUndoneByMerge(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(3, 4))
	for range 4_000 {
		from, to := randomObject(r, 3, false), randomObject(r, 3, false)
		d := diff(from, to)
		if got := merge(from, d); !equal(got, to) {
			t.Fatalf("%s + %s = %s, want %s", encode(from), encode(d), encode(got), encode(to))
		}
		// The patch names nothing that stays.
		for path, v := range flatten(d) {
			if v != nil && v != (branch{}) && flatten(from)[path] == v {
				t.Fatalf("the patch from %s to %s names %s: %s", encode(from), encode(to), path, encode(d))
			}
		}
	}
}

func TestCompose_doesBoth(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(5, 6))
	for range 4_000 {
		doc := randomObject(r, 3, false)
		first := diff(doc, randomObject(r, 3, false))
		second := diff(merge(doc, first), randomObject(r, 3, false))
		want := merge(merge(doc, first), second)
		got := merge(doc, compose(first, second))
		// A value that becomes an object cannot be distinguished from an object
		// that changes:
		// the composition may keep more.
		for path, v := range flatten(want) {
			if have := flatten(got)[path]; have != v {
				t.Fatalf("%s + %s + %s: %s is %v, want %v", encode(doc), encode(first), encode(second), path, have, v)
			}
		}
	}
}

func TestOverlay_againstSecondImplementation(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(11, 12))
	for range 4_000 {
		doc, patch := randomObject(r, 3, false), randomObject(r, 3, true)
		values := flatten(patch)
		maps.DeleteFunc(values, func(_ string, v any) bool { return v == nil })
		got, want := overlay(doc, patch), flatten(doc).patched(values).nested()
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("%s over %s (-want +got):\n%s", encode(patch), encode(doc), diff)
		}
	}
}

// adopted returns the document with what is new in remote.
func (f flat) adopted(known, remote flat) flat {
	out, added := maps.Clone(f), map[string]bool{}
	for _, path := range remote.paths() {
		if path == "" {
			continue
		}
		parent := path[:strings.LastIndex(path, "/")]
		_, mine := f[path]
		_, old := known[path]
		if added[parent] || f[parent] == (branch{}) && !mine && !old {
			out[path], added[path] = remote[path], true
		}
	}
	return out
}

func TestAdopt_againstSecondImplementation(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(13, 14))
	for range 4_000 {
		local, known, remote := randomObject(r, 3, false), randomObject(r, 3, false), randomObject(r, 3, false)
		got, want := adopt(local, known, remote), flatten(local).adopted(flatten(known), flatten(remote)).nested()
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("%s adopted by %s, which knew %s (-want +got):\n%s", encode(remote), encode(local), encode(known), diff)
		}
	}
}

// What a mirror has to apply is the delta between what the service wants and
// what the device has.
func TestNextApply_againstSecondImplementation(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(7, 8))
	for range 4_000 {
		desired, local := randomObject(r, 3, false), randomObject(r, 3, false)
		rep := replica{local: local}
		rep.gotDocument(parsedDocument{desired: desired, delta: parsedDelta{state: desired, version: 1}, version: 1})
		want := flatten(desired).delta(flatten(rep.local)).nested()
		got := rep.nextApply()
		if got == nil {
			got = object{}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("desired %s, local %s (-want +got):\n%s", encode(desired), encode(local), diff)
		}
		// Once it is applied and reported, both sides agree.
		rep.beginApply(got)
		rep.endApply(got, nil, got, true)
		if open := rep.nextApply(); open != nil {
			t.Fatalf("desired %s, local %s: after the application %s is open", encode(desired), encode(local), encode(open))
		}
		if left := flatten(desired).delta(flatten(rep.local)); len(left) > 1 {
			t.Fatalf("desired %s, local %s: after the application the device has %s", encode(desired), encode(local), encode(rep.local))
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, seed := range []string{`{"state":{"a":1}}`, `{"state":null,"version":1.5}`, `[]`, `{"state":{"reported":[]}}`, ``} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		if d, err := readDelta("t", payload); err == nil {
			r := replica{synced: true}
			r.gotDelta(d)
			r.nextApply()
		}
		if d, err := readDocument("t", payload); err == nil {
			r := replica{local: object{"a": json.Number("1")}}
			r.gotDocument(d)
			r.nextApply()
			r.nextUpdate(true)
		}
		if o, err := decode(payload); err == nil {
			if again, err := decode(encode(o)); err != nil || !equal(again, o) {
				t.Errorf("%s is %s after encoding: %v", payload, encode(o), err)
			}
		}
		_ = (&replica{}).load(target{thing: "t"}, payload)
	})
}
