// SPDX-License-Identifier: Apache-2.0

package shadow

import (
	"encoding/json"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/iot/internal/jsonobject"
)

// Document is a whole shadow, as [Shadow.Get] returns it.
type Document[S any] struct {
	// Desired and Reported are the sections; nil if there is no such section.
	Desired, Reported *S
	// Delta holds the fields of Desired that differ from Reported; nil if none
	// does.
	Delta *S
	// Metadata has the times of the fields.
	Metadata Metadata
	// Version counts the updates of the shadow.
	Version int64
	// Timestamp is the time of the service when it answered.
	Timestamp time.Time
	// Raw is the message as it arrived.
	Raw json.RawMessage
}

// Update is a change to a shadow: fields that are absent stay as they are.
type Update[S any] struct {
	// Desired and Reported are the changes to the sections. Null removes a whole
	// section.
	Desired, Reported Field[S]
	// Version, if not 0, is the version that the shadow must have; otherwise the
	// service rejects the update with [ErrVersionConflict].
	Version int64
	// ClientToken identifies the update in all messages that follow from it, at
	// most 64 bytes. Empty: a random one.
	ClientToken string
}

// Accepted is the answer to an update.
type Accepted[S any] struct {
	// Desired and Reported are the fields that the update named; nil if it named
	// none in this section.
	Desired, Reported *S
	Metadata          Metadata
	// Version is that of the shadow after the update.
	Version     int64
	Timestamp   time.Time
	ClientToken string
	// Raw is the message as it arrived.
	Raw json.RawMessage
}

// Deleted is the answer to a delete.
type Deleted struct {
	// Version is the last version of the shadow. One that is created again within
	// 48 hours continues it.
	Version   int64
	Timestamp time.Time
}

// Delta is what the service sends after an update that leaves a difference.
type Delta[S any] struct {
	// State holds all fields of the desired section that differ from the reported
	// one, not only those that the update changed.
	State S
	// Metadata has the times of the fields.
	Metadata json.RawMessage
	// Version is that of the shadow after the update. The answer to the update
	// itself carries the same one.
	Version   int64
	Timestamp time.Time
	// ClientToken is that of the update, if it had one.
	ClientToken string
	// Raw is the message as it arrived.
	Raw json.RawMessage
}

// Change is what the service sends after each accepted update.
type Change[S any] struct {
	Previous, Current Snapshot[S]
	Timestamp         time.Time
	// ClientToken is that of the update, if it had one.
	ClientToken string
	// Raw is the message as it arrived.
	Raw json.RawMessage
}

// Snapshot is the content of a shadow before or after an update.
type Snapshot[S any] struct {
	// Desired and Reported are the sections; nil if there is no such section.
	Desired, Reported *S
	Metadata          Metadata
	Version           int64
}

// Metadata has the times at which the fields were last updated.
type Metadata struct {
	// Desired and Reported have the shape of the sections, with an object
	// {"timestamp": seconds} for each value and each element of an array.
	Desired  json.RawMessage `json:"desired"`
	Reported json.RawMessage `json:"reported"`
}

// Time returns when a field was last updated: Time("desired", "color", "red") is
// the time of the field red of color. It returns false if there is no such
// field. The elements of an array have times of their own; use "0", "1", ...
func (m Metadata) Time(section string, path ...string) (time.Time, bool) {
	data := m.Reported
	if section == "desired" {
		data = m.Desired
	}
	for _, name := range path {
		data = child(data, name)
	}
	var leaf struct {
		Timestamp *json.Number `json:"timestamp"`
	}
	if json.Unmarshal(data, &leaf) != nil || leaf.Timestamp == nil {
		return time.Time{}, false
	}
	seconds, err := leaf.Timestamp.Int64()
	if err != nil {
		return time.Time{}, false
	}
	return epoch(seconds), true
}

func child(data json.RawMessage, name string) json.RawMessage {
	var object map[string]json.RawMessage
	if json.Unmarshal(data, &object) == nil {
		return object[name]
	}
	var array []json.RawMessage
	var i int
	if json.Unmarshal(data, &array) == nil && json.Unmarshal([]byte(name), &i) == nil && i >= 0 && i < len(array) {
		return array[i]
	}
	return nil
}

// epoch reads the time of a message. The service sends seconds; values
// that can only be milliseconds are read as such.
func epoch(n int64) time.Time {
	switch {
	case n == 0:
		return time.Time{}
	case n > 1e11:
		return time.UnixMilli(n)
	}
	return time.Unix(n, 0)
}

// sections are the state of a message.
type sections[S any] struct {
	Desired  *S `json:"desired"`
	Reported *S `json:"reported"`
	Delta    *S `json:"delta"`
}

// message is everything that the messages of the service have in common. T is
// the shape of the state, M that of the metadata.
type message[T, M any] struct {
	State       T      `json:"state"`
	Metadata    M      `json:"metadata"`
	Version     int64  `json:"version"`
	Timestamp   int64  `json:"timestamp"`
	ClientToken string `json:"clientToken"`
	Code        int    `json:"code"`
	Message     string `json:"message"`
}

// answer is an accepted get or update.
type answer[S any] = message[sections[S], Metadata]

// bare is a message of which only the common fields matter.
type bare = message[json.RawMessage, json.RawMessage]

// envelope is what the client sends.
type envelope[S any] struct {
	State       *stateUpdate[S] `json:"state,omitempty"`
	Version     int64           `json:"version,omitempty"`
	ClientToken string          `json:"clientToken,omitempty"`
}

type stateUpdate[S any] struct {
	Desired  Field[S] `json:"desired,omitzero"`
	Reported Field[S] `json:"reported,omitzero"`
}

// parse reads a message.
func parse[T any](topic string, payload []byte) (*T, error) {
	m := new(T)
	if err := jsonobject.Decode(payload, m); err != nil {
		return nil, &PayloadError{Topic: topic, Payload: payload, Err: err}
	}
	return m, nil
}
