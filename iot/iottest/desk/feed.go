// SPDX-License-Identifier: Apache-2.0

package desk

import (
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/gocrt/aws-iot-device-sdk-go/iot/iottest"
)

// feedSize is how many events a [Feed] keeps, and how many refusals besides.
const (
	feedSize     = 2000
	refusalsSize = 200
	previewBytes = 512
)

// Feed keeps the newest events of a core for consoles. Its Add is for
// [iottest.Options.OnEvent].
type Feed struct {
	mu       sync.Mutex
	next     int64 // number of the next event
	events   []FeedEvent
	refusals []FeedEvent
	changed  chan struct{}
}

// NewFeed returns an empty feed.
func NewFeed() *Feed { return &Feed{next: 1, changed: make(chan struct{})} }

// FeedEvent is an event of the control API.
type FeedEvent struct {
	N        int64     `json:"n"`
	Time     time.Time `json:"time"`
	Type     string    `json:"type"`
	Conn     int64     `json:"conn,omitempty"`
	ClientID string    `json:"clientId,omitempty"`
	Topic    string    `json:"topic,omitempty"`
	Filter   string    `json:"filter,omitempty"`
	QoS      *byte     `json:"qos,omitempty"`
	Retain   bool      `json:"retain,omitempty"`
	Bytes    *int      `json:"bytes,omitempty"`
	Payload  string    `json:"payload,omitempty"` // the beginning; in hexadecimal when it is no text
	Reason   string    `json:"reason,omitempty"`
	Cause    string    `json:"cause,omitempty"` // of a disconnection
	Status   int       `json:"status,omitempty"`
	Service  string    `json:"service,omitempty"`
	Error    string    `json:"error,omitempty"`
	Count    int       `json:"count,omitempty"`
}

// Add takes an event.
func (f *Feed) Add(e iottest.Event) {
	v := FeedEvent{Time: e.Time, Type: e.Type.String(), Conn: e.Conn, ClientID: e.ClientID, Filter: e.Filter, Status: e.Status,
		Cause: e.DisconnectReason, Count: e.Count}
	if e.Reason != 0 {
		v.Reason = e.Reason.String()
	}
	if e.Err != nil {
		v.Error = strings.TrimPrefix(e.Err.Error(), "iottest: ")
	}
	if m := e.Message; m != nil {
		n := len(m.Payload)
		v.Topic, v.QoS, v.Retain, v.Bytes, v.Payload = m.Topic, &m.QoS, m.Retain, &n, preview(m.Payload)
	}
	if s := e.Service; s != nil {
		v.Service = strings.TrimSpace(s.Service + " " + s.Operation + " " + s.Thing + " " + s.Key)
		if s.Status != "" {
			v.Status, v.Reason = 0, s.Status
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	v.N = f.next
	f.next++
	f.events = appendBounded(f.events, v, feedSize)
	if refusal(e) {
		f.refusals = appendBounded(f.refusals, v, refusalsSize)
	}
	close(f.changed)
	f.changed = make(chan struct{})
}

// refusal reports whether an event says that somebody was refused something.
func refusal(e iottest.Event) bool {
	switch e.Type {
	case iottest.HandshakeFailed, iottest.RequestRefused, iottest.ConnectRefused, iottest.PublishRefused, iottest.Dropped, iottest.EventsDropped:
		return true
	case iottest.Subscribed, iottest.ServiceRequest:
		return e.Err != nil
	case iottest.Disconnected:
		return e.Reason >= 0x80
	}
	return false
}

// appendBounded drops the oldest half when there are twice as many as wanted.
func appendBounded(list []FeedEvent, v FeedEvent, size int) []FeedEvent {
	if len(list) >= 2*size {
		n := copy(list, list[size:])
		clear(list[n:])
		list = list[:n]
	}
	return append(list, v)
}

func preview(payload []byte) string {
	b := payload[:min(len(payload), previewBytes)]
	cut := len(b) < len(payload)
	for cut && len(b) > 0 && !utf8.Valid(b) && len(b) > previewBytes-utf8.UTFMax { // in the middle of a character
		b = b[:len(b)-1]
	}
	if !utf8.Valid(b) || strings.ContainsFunc(string(b), func(r rune) bool { return r < ' ' && r != '\n' && r != '\t' && r != '\r' }) {
		const hex = "0123456789abcdef"
		out := make([]byte, 0, 3*len(b))
		for _, v := range payload[:min(len(payload), 64)] {
			out = append(out, hex[v>>4], hex[v&15], ' ')
		}
		return strings.TrimSpace(string(out))
	}
	return string(b)
}

// since returns the events from number n on, oldest first, the next number, and
// a channel that is closed when there are more.
func (f *Feed) since(n int64) ([]FeedEvent, int64, <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	events := f.events[max(0, len(f.events)-feedSize):]
	i, _ := slices.BinarySearchFunc(events, n, func(e FeedEvent, n int64) int { return int(e.N - n) })
	return append([]FeedEvent{}, events[i:]...), f.next, f.changed
}

// newestRefusals returns the refusals, the newest first.
func (f *Feed) newestRefusals() []FeedEvent {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := append([]FeedEvent{}, f.refusals[max(0, len(f.refusals)-refusalsSize):]...)
	slices.Reverse(out)
	return out
}

// feedInterval is how often a stream of events is written: a console gets many
// at once instead of thousands of writes.
const feedInterval = 150 * time.Millisecond

// events is GET /v1/events.
func (c *Control) events(w http.ResponseWriter, r *http.Request) {
	next := int64(0)
	if s := r.URL.Query().Get("after"); s != "" {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			writeError(w, http.StatusBadRequest, bad("after must be a number"))
			return
		}
		next = n + 1
	}
	if !strings.Contains(r.Header.Get("Accept"), "text/event-stream") {
		events, _, _ := c.feed.since(next)
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(events)
		return
	}
	if s := r.Header.Get("Last-Event-ID"); s != "" {
		if n, err := strconv.ParseInt(s, 10, 64); err == nil {
			next = n + 1
		}
	}
	w.Header().Set("Content-Type", "text/event-stream")
	out := http.NewResponseController(w)
	_ = out.SetWriteDeadline(time.Time{})
	for {
		events, after, more := c.feed.since(next)
		next = after
		if len(events) > 0 {
			b, err := json.Marshal(events)
			if err != nil {
				return
			}
			_ = out.SetWriteDeadline(time.Now().Add(30 * time.Second))
			if _, err := w.Write(slices.Concat([]byte("id: "+strconv.FormatInt(next-1, 10)+"\ndata: "), b, []byte("\n\n"))); err != nil {
				return
			}
		}
		if out.Flush() != nil {
			return
		}
		select {
		case <-more:
		case <-r.Context().Done():
			return
		}
		t := time.NewTimer(feedInterval)
		select {
		case <-t.C:
		case <-r.Context().Done():
			t.Stop()
			return
		}
	}
}
