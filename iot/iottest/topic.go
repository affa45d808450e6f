// SPDX-License-Identifier: Apache-2.0

package iottest

import "strings"

// matches reports whether filter selects topic. As in AWS IoT Core, "a/#" does
// not select "a", and a wildcard in the first level does not select reserved
// topics, which begin with '$'.
func matches(filter, topic string) bool {
	if strings.HasPrefix(topic, "$") && (strings.HasPrefix(filter, "+") || strings.HasPrefix(filter, "#")) {
		return false
	}
	for {
		f, fRest, fMore := strings.Cut(filter, "/")
		if f == "#" {
			return true
		}
		t, tRest, tMore := strings.Cut(topic, "/")
		if f != "+" && f != t {
			return false
		}
		if !fMore || !tMore {
			return fMore == tMore
		}
		filter, topic = fRest, tRest
	}
}

func hasWildcard(filter string) bool { return strings.ContainsAny(filter, "+#") }

// splitShare takes "$share/<name>/<filter>" apart. ok is false when the filter
// is meant as a shared one but is wrong.
func splitShare(filter string) (group, rest string, ok bool) {
	after, shared := strings.CutPrefix(filter, "$share/")
	if !shared {
		return "", filter, filter != "$share"
	}
	group, rest, found := strings.Cut(after, "/")
	if !found || group == "" || rest == "" || len(group) > 128 || hasWildcard(group) {
		return "", "", false
	}
	return group, rest, true
}

// validFilter checks the form of a filter that has no $share prefix any more.
func validFilter(filter string) bool {
	if filter == "" || strings.ContainsRune(filter, 0) {
		return false
	}
	for {
		level, rest, more := strings.Cut(filter, "/")
		if strings.ContainsRune(level, '#') && (level != "#" || more) {
			return false
		}
		if strings.ContainsRune(level, '+') && level != "+" {
			return false
		}
		if !more {
			return true
		}
		filter = rest
	}
}

const basicIngest = "$aws/rules/"

// counted returns the part of a topic or filter that the quotas count; reserved
// topics are exempt and give "".
func counted(topic string) string {
	if after, ok := strings.CutPrefix(topic, basicIngest); ok {
		_, rest, _ := strings.Cut(after, "/")
		return rest
	}
	if strings.HasPrefix(topic, "$aws/") {
		return ""
	}
	return topic
}

// checkShape applies the quotas on length and number of levels; it returns what
// is wrong, or "".
func (q *Quotas) checkShape(topic string) string {
	t := counted(topic)
	if len(t) > q.MaxTopicBytes {
		return "topic is longer than the quota"
	}
	if strings.Count(t, "/") > q.MaxTopicSlashes {
		return "topic has more slashes than the quota"
	}
	return ""
}

// mayPublish applies the rules for reserved topics.
func mayPublish(topic string) bool {
	switch {
	case !strings.HasPrefix(topic, "$"):
		return true
	case strings.HasPrefix(topic, "$aws/events/"):
		return false
	case strings.HasPrefix(topic, basicIngest):
		rule, rest, ok := strings.Cut(strings.TrimPrefix(topic, basicIngest), "/")
		return rule != "" && (!ok || rest != "")
	default:
		return strings.HasPrefix(topic, "$aws/")
	}
}

// maySubscribe applies the rules for reserved topics to a filter without $share prefix.
func maySubscribe(filter string) bool {
	if !strings.HasPrefix(filter, "$") {
		return true
	}
	return strings.HasPrefix(filter, "$aws/") && !strings.HasPrefix(filter, basicIngest)
}
