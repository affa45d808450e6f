// SPDX-License-Identifier: Apache-2.0

package iottest

import (
	"bytes"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// This file is the Device Shadow service: classic and named shadows on
// $aws/things/<thing>/shadow/.

// tombstoneLife is how long the version of a deleted shadow is remembered: a
// shadow of the same name continues it.
const tombstoneLife = 48 * time.Hour

type shadowKey struct{ thing, name string } // name is empty for the classic shadow

// shadow is the state of one shadow, or the memory of a deleted one.
type shadow struct {
	shadowDocument
	Deleted time.Time // zero: it exists

	encoded []byte // metadata, state and version as a get returns them; made when it is asked for
	bytes   int    // of state
}

// lookupShadow returns a shadow that exists, or nil, and the version it has or
// had.
func (c *Core) lookupShadow(key shadowKey) (*shadow, int64) {
	s := c.device.shadows[key]
	switch {
	case s == nil:
		return nil, 0
	case s.Deleted.IsZero():
		return s, s.Version
	case c.nowLocked().Sub(s.Deleted) < tombstoneLife:
		return nil, s.Version
	}
	c.forgetShadow(key)
	return nil, 0
}

func shadowError(code int, message string) *ServiceError {
	names := map[int]string{400: "InvalidRequest", 401: "Unauthorized", 403: "Forbidden", 404: "ResourceNotFound", 409: "Conflict",
		413: "RequestEntityTooLarge", 415: "UnsupportedDocumentEncoding", 429: "Throttling", 500: "InternalFailure"}
	return &ServiceError{Service: ServiceShadow, Status: code, Code: names[code], Message: message}
}

func noShadow(key shadowKey) *ServiceError {
	if key.name == "" {
		return shadowError(404, "No shadow exists with name: '"+key.thing+"'")
	}
	return shadowError(404, "No shadow exists with name: '"+key.name+"'")
}

// handleShadow handles a message on $aws/things/<thing>/shadow/; levels is what
// follows.
func (c *Core) handleShadow(r *request, levels []string) {
	r.Service = ServiceShadow
	if levels[0] == "name" && len(levels) > 2 && shadowName.MatchString(levels[1]) {
		r.Key, levels = levels[1], levels[2:]
	}
	if len(levels) != 1 || levels[0] != "get" && levels[0] != "update" && levels[0] != "delete" {
		return // topics of answers and what nobody knows
	}
	r.Operation = levels[0]
	c.shadowRequest(r)
}

// shadowRequest carries out a request and sends what follows from it: to all
// who subscribed, not only to the client that asked. It returns the answer.
func (c *Core) shadowRequest(r *request) ([]byte, *ServiceError) {
	rejected, answered := c.admit(r)
	if !answered {
		c.received(r, nil)
		return nil, shadowError(500, "Internal service failure")
	}
	var token json.RawMessage
	var done shadowResult
	err := rejected
	if body, invalid := readShadowRequest(r); invalid != nil {
		if err == nil {
			err = invalid
		}
	} else {
		token = body.token
		if err == nil {
			done, err = c.shadowCall(r, body)
		}
	}
	c.received(r, err)
	if err != nil {
		c.answer(r, answer{operation: r.Operation, topic: r.topic + "/rejected", payload: shadowMessage(
			c.nowLocked().Unix(), token, map[string]any{"code": err.Status, "message": err.Message})})
		return nil, err
	}
	if r.Operation != "get" {
		c.emitService(ServiceChanged, &r.ServiceEvent, nil, nil)
	}
	answers := []answer{{operation: r.Operation, topic: r.topic + "/accepted", payload: done.accepted}}
	if done.delta != nil {
		answers = append(answers, answer{operation: "delta", topic: r.topic + "/delta", payload: done.delta})
		if c.device.opts.DeltaBeforeAccepted {
			slices.Reverse(answers)
		}
	}
	if done.documents != nil {
		answers = append(answers, answer{operation: "documents", topic: r.topic + "/documents", payload: done.documents})
	}
	for _, a := range answers {
		c.answer(r, a)
	}
	return done.accepted, nil
}

// shadowBody is a parsed request.
type shadowBody struct {
	token   json.RawMessage // nil: none
	members map[string]any
}

// readShadowRequest parses what all requests have.
func readShadowRequest(r *request) (shadowBody, *ServiceError) {
	var body shadowBody
	if !utf8.Valid(r.payload) {
		return body, shadowError(415, "Unsupported documented encoding; supported encoding is UTF-8")
	}
	if r.Operation != "update" && len(bytes.TrimSpace(r.payload)) == 0 {
		return body, nil
	}
	if decodeJSON(r.payload, &body.members) != nil || body.members == nil {
		if r.Operation == "delete" {
			return shadowBody{}, nil // its content does not matter
		}
		return shadowBody{}, shadowError(400, "Invalid JSON")
	}
	if token, ok := body.members["clientToken"]; ok && token != nil {
		s, isString := token.(string)
		if !isString || len(s) > 64 {
			return shadowBody{}, shadowError(400, "Invalid clientToken")
		}
		body.token = encodeJSON(s)
	}
	return body, nil
}

// shadowResult is what an accepted request leads to.
type shadowResult struct {
	accepted, delta, documents []byte
}

func (c *Core) shadowCall(r *request, body shadowBody) (shadowResult, *ServiceError) {
	key := shadowKey{r.Thing, r.Key}
	s, version := c.lookupShadow(key)
	now := c.nowLocked().Unix()
	if r.Operation == "update" {
		return c.updateShadow(key, s, version, body)
	}
	if s == nil {
		return shadowResult{}, noShadow(key)
	}
	if r.Operation == "get" {
		return shadowResult{accepted: s.whole(now, body.token)}, nil
	}
	if want, ok, err := wantedVersion(body.members); err != nil {
		return shadowResult{}, err
	} else if ok && want != version {
		return shadowResult{}, shadowError(409, "Version conflict")
	}
	c.buryShadow(key, version)
	return shadowResult{accepted: shadowMessage(now, body.token, map[string]any{"version": version})}, nil
}

// whole is the answer to a get. Most of it is the same until the shadow
// changes.
func (s *shadow) whole(now int64, token json.RawMessage) []byte {
	if s.encoded == nil {
		state, metadata := s.sections()
		if delta, _ := s.delta(); len(delta) > 0 {
			state["delta"] = delta
		}
		s.encoded = encodeJSON(map[string]any{"state": state, "metadata": metadata, "version": s.Version})
	}
	b := make([]byte, 0, len(s.encoded)+len(token)+64)
	b = append(b, '{')
	if token != nil {
		b = append(b, `"clientToken":`...)
		b = append(append(b, token...), ',')
	}
	b = strconv.AppendInt(append(b, `"timestamp":`...), now, 10)
	b = append(b, ',')
	return append(b, s.encoded[1:]...)
}

// buryShadow deletes a shadow and forgets those that were deleted long ago.
func (c *Core) buryShadow(key shadowKey, version int64) {
	now := c.nowLocked()
	for k, s := range c.device.shadows {
		if !s.Deleted.IsZero() && now.Sub(s.Deleted) >= tombstoneLife {
			c.forgetShadow(k)
		}
	}
	c.setShadow(key, &shadow{shadowDocument: shadowDocument{Version: version}, Deleted: now})
}

const bucketShadows = "shadows"

// setShadow changes a shadow, and stores it for the next start.
func (c *Core) setShadow(key shadowKey, s *shadow) {
	c.holdShadow(key, s)
	c.state.put(bucketShadows, key.thing+"/"+key.name, s)
}

func (c *Core) forgetShadow(key shadowKey) {
	c.holdShadow(key, nil)
	c.state.remove(bucketShadows, key.thing+"/"+key.name)
}

// holdShadow replaces a shadow in memory, nil removes it.
func (c *Core) holdShadow(key shadowKey, s *shadow) {
	d := &c.device
	if old := d.shadows[key]; old != nil {
		d.shadowBytes -= old.bytes
		delete(d.shadows, key)
	}
	if s != nil {
		d.shadowBytes += s.bytes
		d.shadows[key] = s
	}
}

// shadowRoom reports whether there is room for a shadow of that many bytes of
// state. What is remembered of deleted ones makes room, the longest deleted
// first.
func (c *Core) shadowRoom(key shadowKey, bytes int) bool {
	d := &c.device
	more := 1
	if old := d.shadows[key]; old != nil {
		more, bytes = 0, bytes-old.bytes
	}
	if bytes > 0 && d.shadowBytes+bytes > d.opts.ShadowMaxTotalBytes {
		return false
	}
	if len(d.shadows)+more <= d.opts.ShadowMaxCount {
		return true
	}
	var oldest shadowKey
	var since time.Time
	for k, s := range d.shadows {
		if !s.Deleted.IsZero() && (since.IsZero() || s.Deleted.Before(since)) {
			oldest, since = k, s.Deleted
		}
	}
	if since.IsZero() {
		return false
	}
	c.forgetShadow(oldest)
	return true
}

// loadShadows restores the shadows of the last run.
func (c *Core) loadShadows() error {
	return c.state.load(bucketShadows, func(key string, raw []byte) error {
		s := &shadow{}
		if err := decodeJSON(raw, s); err != nil {
			return err
		}
		thing, name, _ := strings.Cut(key, "/")
		if s.Deleted.IsZero() {
			s.bytes = s.size()
		}
		c.holdShadow(shadowKey{thing, name}, s)
		return nil
	})
}

// updateShadow applies an update to a shadow, which is created if it is nil.
func (c *Core) updateShadow(key shadowKey, s *shadow, version int64, body shadowBody) (shadowResult, *ServiceError) {
	patch, err := readShadowPatch(body.members, c.device.opts.ShadowMaxDepth)
	if err != nil {
		return shadowResult{}, err
	}
	now := c.nowLocked().Unix()
	var old shadowDocument
	if s != nil {
		old = s.shadowDocument
	}
	next := old.apply(patch, now)
	size := next.size()
	switch {
	case size > c.device.opts.ShadowMaxBytes:
		return shadowResult{}, shadowError(413, "The payload exceeds the maximum size allowed")
	case patch.hasVersion && patch.version != version:
		return shadowResult{}, shadowError(409, "Version conflict")
	case !c.shadowRoom(key, size):
		return shadowResult{}, shadowError(429, "The core keeps no more shadows: see ShadowMaxCount and ShadowMaxTotalBytes")
	}
	next.Version = version + 1
	c.setShadow(key, &shadow{shadowDocument: next, bytes: size})

	state, metadata := patch.echo(now)
	result := shadowResult{
		accepted: shadowMessage(now, body.token, map[string]any{
			"state": state, "metadata": metadata, "version": next.Version}),
		documents: shadowMessage(now, body.token, map[string]any{
			"previous": old.snapshot(), "current": next.snapshot()}),
	}
	if delta, meta := next.delta(); len(delta) > 0 {
		result.delta = shadowMessage(now, body.token, map[string]any{
			"state": delta, "metadata": meta, "version": next.Version})
	}
	return result, nil
}

// shadowMessage is the body of a message of the service: its members, the time,
// and the token if there is one.
func shadowMessage(now int64, token json.RawMessage, members map[string]any) []byte {
	members["timestamp"] = now
	if token != nil {
		members["clientToken"] = token
	}
	return encodeJSON(members)
}

// GetShadow returns a shadow as GetThingShadow of the data plane does. name is
// empty for the classic shadow. Errors are of type [*ServiceError].
func (c *Core) GetShadow(thing, name string) ([]byte, error) {
	return c.callShadow("get", thing, name, nil)
}

// UpdateShadow applies an update,
// {"state":{"desired":...,"reported":...},"version":...}, as UpdateThingShadow
// of the data plane does, and returns its answer. Devices get the messages of
// an update.
func (c *Core) UpdateShadow(thing, name string, document []byte) ([]byte, error) {
	return c.callShadow("update", thing, name, document)
}

// DeleteShadow deletes a shadow as DeleteThingShadow of the data plane does.
func (c *Core) DeleteShadow(thing, name string) ([]byte, error) {
	return c.callShadow("delete", thing, name, nil)
}

func (c *Core) callShadow(operation, thing, name string, document []byte) ([]byte, error) {
	if !thingName.MatchString(thing) || name != "" && !shadowName.MatchString(name) {
		return nil, shadowError(400, "Invalid thing or shadow name")
	}
	topic := "$aws/things/" + thing + "/shadow/"
	if name != "" {
		topic += "name/" + name + "/"
	}
	r := &request{topic: topic + operation, payload: document}
	r.ServiceEvent = ServiceEvent{Service: ServiceShadow, Operation: operation, Thing: thing, Key: name}
	c.mu.Lock()
	defer c.mu.Unlock()
	out, err := c.shadowRequest(r)
	if err != nil {
		return nil, err
	}
	return out, nil
}

// ListNamedShadows returns the names of the named shadows of a thing, sorted.
func (c *Core) ListNamedShadows(thing string) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	names := []string{}
	for key, s := range c.device.shadows {
		if key.thing == thing && key.name != "" && s.Deleted.IsZero() {
			names = append(names, key.name)
		}
	}
	slices.Sort(names)
	return names
}
