// SPDX-License-Identifier: Apache-2.0

package shadow

import (
	"encoding/json"
	"fmt"
	"maps"

	"github.com/gocrt/aws-iot-device-sdk-go/iot/internal/jsonobject"
)

// object is a JSON object whose numbers are json.Number, so that they keep their
// text. Objects are never modified once they are part of a replica.
type object = map[string]any

// decode reads a JSON object.
func decode(data []byte) (object, error) {
	var o object
	if err := jsonobject.DecodeNumbers(data, &o); err != nil {
		return nil, err
	}
	return o, nil
}

// toObject encodes a value of the user as an object.
func toObject(v any) (object, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalidRequest, err)
	}
	o, err := decode(data)
	if err != nil {
		return nil, fmt.Errorf("%w: the state is not a JSON object", ErrInvalidRequest)
	}
	return o, nil
}

// encode returns the JSON of an object. Only what decode returned is in it, so
// it cannot fail.
func encode(o object) json.RawMessage {
	if o == nil {
		o = object{}
	}
	data, err := json.Marshal(o)
	if err != nil {
		panic("shadow: " + err.Error())
	}
	return data
}

// equal compares two values. Numbers are equal if their texts are: 1 and 1.0
// are not, for the service may think so, too.
func equal(a, b any) bool {
	switch a := a.(type) {
	case object:
		b, ok := b.(object)
		return ok && maps.EqualFunc(a, b, equal)
	case []any:
		b, ok := b.([]any)
		if !ok || len(a) != len(b) {
			return false
		}
		for i := range a {
			if !equal(a[i], b[i]) {
				return false
			}
		}
		return true
	}
	if _, ok := b.(object); ok {
		return false
	}
	if _, ok := b.([]any); ok {
		return false
	}
	return a == b
}

// merge returns doc with patch applied, as the service does: only named fields
// change, null removes a field, arrays are replaced.
func merge(doc, patch object) object {
	out := maps.Clone(doc)
	if out == nil {
		out = object{}
	}
	for k, v := range patch {
		switch v := v.(type) {
		case nil:
			delete(out, k)
		case object:
			old, _ := out[k].(object)
			out[k] = merge(old, v)
		default:
			out[k] = v
		}
	}
	return out
}

// compose returns a patch that does what first and then second do. It keeps
// nulls.
func compose(first, second object) object {
	out := maps.Clone(first)
	if out == nil {
		out = object{}
	}
	for k, v := range second {
		if b, isObject := v.(object); isObject {
			a, _ := out[k].(object)
			out[k] = compose(a, b)
		} else {
			out[k] = v
		}
	}
	return out
}

// diff returns the patch that turns from into to.
func diff(from, to object) object {
	out := object{}
	for k, old := range from {
		v, there := to[k]
		if !there {
			out[k] = nil
			continue
		}
		a, isObject := old.(object)
		b, both := v.(object)
		switch {
		case isObject && both:
			if d := diff(a, b); len(d) > 0 {
				out[k] = d
			}
		case !equal(old, v):
			out[k] = v
		}
	}
	for k, v := range to {
		if _, there := from[k]; !there {
			out[k] = v
		}
	}
	return out
}

// pick returns the parts of o whose leaves are wanted. want gets each leaf and
// what the objects along have at its place; nil if nothing.
func pick(o object, along []object, want func(v any, along []any) bool) object {
	out := object{}
	for k, v := range o {
		others := make([]any, len(along))
		for i, a := range along {
			others[i] = a[k] // nil if a is nil
		}
		if inner, ok := v.(object); ok && len(inner) > 0 {
			deeper := make([]object, len(along))
			for i := range others {
				deeper[i], _ = others[i].(object)
			}
			if p := pick(inner, deeper, want); len(p) > 0 {
				out[k] = p
			}
			continue
		}
		if want(v, others) {
			out[k] = v
		}
	}
	return out
}

// overlay returns doc with the values of patch, but without its removals.
func overlay(doc, patch object) object {
	out := maps.Clone(doc)
	if out == nil {
		out = object{}
	}
	for k, v := range patch {
		switch v := v.(type) {
		case nil:
		case object:
			old, _ := out[k].(object)
			out[k] = overlay(old, v)
		default:
			out[k] = v
		}
	}
	return out
}

// without returns doc without the leaves of o.
func without(doc, o object) object {
	out := maps.Clone(doc) // nil if doc is
	for k, v := range o {
		a, isObject := out[k].(object)
		b, both := v.(object)
		if isObject && both && len(b) > 0 {
			if rest := without(a, b); len(rest) > 0 {
				out[k] = rest
				continue
			}
		}
		delete(out, k)
	}
	return out
}

// adopt returns local with what is new in remote: fields that neither local nor
// known has. A field that is known and not in local was removed locally.
func adopt(local, known, remote object) object {
	out := maps.Clone(local)
	if out == nil {
		out = object{}
	}
	for k, v := range remote {
		mine, there := out[k]
		before, wasKnown := known[k]
		if !there {
			if !wasKnown {
				out[k] = v
			}
			continue
		}
		a, isObject := mine.(object)
		b, both := v.(object)
		if isObject && both {
			inner, _ := before.(object)
			out[k] = adopt(a, inner, b)
		}
	}
	return out
}

// shape returns the parts of meta that belong to the fields of o.
func shape(meta, o object) object {
	out := object{}
	for k, v := range o {
		m, there := meta[k]
		if !there {
			continue
		}
		inner, isObject := v.(object)
		deeper, both := m.(object)
		if isObject && both {
			m = shape(deeper, inner)
		}
		out[k] = m
	}
	return out
}
