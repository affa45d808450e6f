// SPDX-License-Identifier: Apache-2.0

package delivery

// topicCache makes strings of topics without allocating for those seen before.
type topicCache struct {
	last string
	seen map[string]string
}

// maxTopics bounds a topicCache. Beyond that it starts over.
const maxTopics = 256

func (t *topicCache) intern(topic []byte) string {
	if string(topic) == t.last {
		return t.last
	}
	if s, ok := t.seen[string(topic)]; ok {
		t.last = s
		return s
	}
	s := string(topic)
	if t.last != "" { // a second topic: worth a table
		if t.seen == nil || len(t.seen) >= maxTopics {
			t.seen = make(map[string]string)
		}
		t.seen[t.last] = t.last
		t.seen[s] = s
	}
	t.last = s
	return s
}
