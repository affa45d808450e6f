// SPDX-License-Identifier: Apache-2.0

package iottest

import (
	"encoding/json"
	"maps"
	"strconv"
)

// shadowDocument is the content of a shadow. A document is never modified: an
// update makes a new one, which may share parts with the old one.
type shadowDocument struct {
	Desired, Reported         map[string]any // nil: there is no such section
	DesiredMeta, ReportedMeta map[string]any // the same shape, with {"timestamp": seconds} for each value
	Version                   int64
}

// shadowPatch is the content of an update.
type shadowPatch struct {
	desired, reported section
	version           int64
	hasVersion        bool
}

// section is desired or reported state in an update.
type section struct {
	named bool           // the update names it
	state map[string]any // nil although named: remove it
}

// readShadowPatch checks an update in the order in which the service does.
func readShadowPatch(members map[string]any, maxDepth int) (shadowPatch, *ServiceError) {
	var p shadowPatch
	value, ok := members["state"]
	if !ok {
		return p, shadowError(400, "Missing required node: state")
	}
	state, ok := value.(map[string]any)
	if !ok {
		return p, shadowError(400, "State node must be an object")
	}
	for _, part := range []struct {
		name, error string
		into        *section
	}{
		{"desired", "Desired node must be an object", &p.desired},
		{"reported", "Reported node must be an object", &p.reported},
	} {
		value, named := state[part.name]
		object, isObject := value.(map[string]any)
		if named && value != nil && !isObject {
			return p, shadowError(400, part.error)
		}
		*part.into = section{named, object}
	}
	version, hasVersion, err := wantedVersion(members)
	if err != nil {
		return p, err
	}
	p.version, p.hasVersion = version, hasVersion
	for _, s := range []section{p.desired, p.reported} {
		if depth(s.state) > maxDepth {
			return p, shadowError(400, "JSON contains too many levels of nesting; maximum is "+strconv.Itoa(maxDepth))
		}
		if nullInArray(s.state, false) {
			return p, shadowError(400, "State contains an invalid node")
		}
	}
	return p, nil
}

// wantedVersion reads the version that a request expects.
func wantedVersion(members map[string]any) (version int64, ok bool, _ *ServiceError) {
	value, ok := members["version"]
	if !ok || value == nil {
		return 0, false, nil
	}
	if n, isNumber := value.(json.Number); isNumber {
		if version, err := n.Int64(); err == nil && version >= 0 {
			return version, true, nil
		}
	}
	return 0, false, shadowError(400, "Invalid version")
}

// depth is the number of levels of objects and arrays. The parser limits recursion.
func depth(v any) int {
	deepest := 0
	switch v := v.(type) {
	case map[string]any:
		if v == nil {
			return 0
		}
		for _, e := range v {
			deepest = max(deepest, depth(e))
		}
	case []any:
		for _, e := range v {
			deepest = max(deepest, depth(e))
		}
	default:
		return 0
	}
	return deepest + 1
}

// nullInArray reports a null in an array, at any depth: an array is one value,
// of which nothing can be removed.
func nullInArray(v any, inArray bool) bool {
	switch v := v.(type) {
	case nil:
		return inArray
	case map[string]any:
		for _, e := range v {
			if nullInArray(e, inArray) {
				return true
			}
		}
	case []any:
		for _, e := range v {
			if nullInArray(e, true) {
				return true
			}
		}
	}
	return false
}

// apply returns the document after an update.
func (d shadowDocument) apply(p shadowPatch, now int64) shadowDocument {
	d.Desired, d.DesiredMeta = p.desired.apply(d.Desired, d.DesiredMeta, now)
	d.Reported, d.ReportedMeta = p.reported.apply(d.Reported, d.ReportedMeta, now)
	return d
}

func (s section) apply(state, meta map[string]any, now int64) (map[string]any, map[string]any) {
	switch {
	case !s.named:
		return state, meta
	case s.state == nil:
		return nil, nil
	}
	return merge(state, meta, s.state, now)
}

// merge returns state and metadata with a patch applied: objects are merged,
// null removes, anything else replaces.
func merge(state, meta, patch map[string]any, now int64) (map[string]any, map[string]any) {
	state, meta = maps.Clone(state), maps.Clone(meta)
	if state == nil {
		state, meta = map[string]any{}, map[string]any{}
	}
	for name, value := range patch {
		switch value := value.(type) {
		case nil:
			delete(state, name)
			delete(meta, name)
		case map[string]any:
			inner, isObject := state[name].(map[string]any)
			var innerMeta map[string]any
			if isObject {
				innerMeta, _ = meta[name].(map[string]any)
			}
			state[name], meta[name] = merge(inner, innerMeta, value, now)
		default:
			state[name], meta[name] = value, stamps(value, now)
		}
	}
	return state, meta
}

// stamps is the metadata of a value: a timestamp for each value in it, array
// elements one by one, nothing for null.
func stamps(v any, now int64) any {
	switch v := v.(type) {
	case map[string]any:
		meta := map[string]any{}
		for name, e := range v {
			if e != nil {
				meta[name] = stamps(e, now)
			}
		}
		return meta
	case []any:
		meta := make([]any, len(v))
		for i, e := range v {
			meta[i] = stamps(e, now)
		}
		return meta
	}
	return map[string]any{"timestamp": now}
}

// echo is what the answer to an update repeats: the sections that the update named.
func (p shadowPatch) echo(now int64) (state, metadata map[string]any) {
	state, metadata = map[string]any{}, map[string]any{}
	for name, s := range map[string]section{"desired": p.desired, "reported": p.reported} {
		switch {
		case s.named && s.state == nil:
			state[name] = nil
		case s.named:
			state[name], metadata[name] = s.state, stamps(s.state, now)
		}
	}
	return state, metadata
}

func (d shadowDocument) sections() (state, metadata map[string]any) {
	state, metadata = map[string]any{}, map[string]any{}
	if d.Desired != nil {
		state["desired"], metadata["desired"] = d.Desired, d.DesiredMeta
	}
	if d.Reported != nil {
		state["reported"], metadata["reported"] = d.Reported, d.ReportedMeta
	}
	return state, metadata
}

// snapshot is a document within a message on documents. The version is absent
// before there was a shadow.
func (d shadowDocument) snapshot() any {
	state, metadata := d.sections()
	s := map[string]any{"state": state, "metadata": metadata}
	if d.Version > 0 {
		s["version"] = d.Version
	}
	return s
}

// size is what counts for the quota.
func (d shadowDocument) size() int {
	state, _ := d.sections()
	return len(encodeJSON(state))
}

// delta is what desired state has and reported state has not, or has
// differently, with its metadata.
func (d shadowDocument) delta() (state, metadata map[string]any) {
	return difference(d.Desired, d.DesiredMeta, d.Reported)
}

func difference(desired, meta, reported map[string]any) (map[string]any, map[string]any) {
	state, stateMeta := map[string]any{}, map[string]any{}
	for name, want := range desired {
		have, there := reported[name]
		wantObject, isObject := want.(map[string]any)
		haveObject, hasObject := have.(map[string]any)
		switch {
		case isObject && hasObject:
			innerMeta, _ := meta[name].(map[string]any)
			if inner, innerMeta := difference(wantObject, innerMeta, haveObject); len(inner) > 0 {
				state[name], stateMeta[name] = inner, innerMeta
			}
		case !there || !sameJSON(want, have):
			state[name], stateMeta[name] = want, meta[name]
		}
	}
	return state, stateMeta
}

// sameJSON compares two JSON values. Numbers are the same if they are written
// alike or have the same value.
func sameJSON(a, b any) bool {
	switch a := a.(type) {
	case map[string]any:
		b, ok := b.(map[string]any)
		if !ok || len(a) != len(b) {
			return false
		}
		for name, v := range a {
			if w, there := b[name]; !there || !sameJSON(v, w) {
				return false
			}
		}
		return true
	case []any:
		b, ok := b.([]any)
		if !ok || len(a) != len(b) {
			return false
		}
		for i := range a {
			if !sameJSON(a[i], b[i]) {
				return false
			}
		}
		return true
	case json.Number:
		b, ok := b.(json.Number)
		return ok && sameNumber(a, b)
	}
	return a == b
}

// sameNumber compares integers exactly and other numbers as float64.
func sameNumber(a, b json.Number) bool {
	if a == b {
		return true
	}
	_, errA := strconv.ParseInt(string(a), 10, 64)
	_, errB := strconv.ParseInt(string(b), 10, 64)
	if errA == nil && errB == nil {
		return false // -0 and 0 aside, an integer is written in one way
	}
	x, errA := a.Float64()
	y, errB := b.Float64()
	return errA == nil && errB == nil && x == y
}
