// SPDX-License-Identifier: Apache-2.0

package mqtttest

import (
	"strings"
	"unicode/utf8"
)

const sharePrefix = "$share/"

// checkString returns the rule that s breaks as an MQTT string, or "". Control
// characters and non-characters pass: the standard only advises against them.
func checkString(s string) (rule, detail string) {
	if !utf8.ValidString(s) {
		return "MQTT-1.5.4-1", "is not valid UTF-8"
	}
	if strings.IndexByte(s, 0) >= 0 {
		return "MQTT-1.5.4-2", "contains U+0000"
	}
	return "", ""
}

// checkFilter returns the rules that a topic filter breaks.
func checkFilter(filter string, noLocal bool) (rules []string, detail string) {
	if filter == "" {
		return []string{"MQTT-4.7.3-1"}, "the topic filter is empty"
	}
	rest := filter
	if strings.HasPrefix(filter, sharePrefix) || filter == "$share" {
		name, f, found := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(filter, "$share"), "/"), "/")
		switch {
		case name == "":
			return []string{"MQTT-4.8.2-1"}, "the shared filter has no share name"
		case strings.ContainsAny(name, "+#"):
			return []string{"MQTT-4.8.2-2"}, "the share name has a wildcard in it"
		case !found || f == "":
			return []string{"MQTT-4.8.2-2"}, "the share name is not followed by a topic filter"
		case noLocal:
			return []string{"MQTT-3.8.3-4"}, "No Local is set for a shared filter"
		}
		rest = f
	}
	levels := strings.Split(rest, "/")
	for i, level := range levels {
		if strings.Contains(level, "#") && (level != "#" || i != len(levels)-1) {
			return []string{"MQTT-4.7.1-1"}, "# is not alone on the last level"
		}
		if strings.Contains(level, "+") && level != "+" {
			return []string{"MQTT-4.7.1-2"}, "+ is not alone on its level"
		}
	}
	return nil, ""
}

func hasWildcard(topic string) bool { return strings.ContainsAny(topic, "+#") }

// splitShared returns the share name, empty for an ordinary filter, and the
// filter to match with.
func splitShared(filter string) (name, rest string) {
	if s, ok := strings.CutPrefix(filter, sharePrefix); ok {
		name, rest, _ = strings.Cut(s, "/")
		return name, rest
	}
	return "", filter
}

// matches reports whether topic matches a valid filter that has no share name (§4.7).
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
		if !fMore && !tMore {
			return true
		}
		if !tMore {
			return fRest == "#" // "a/#" matches its parent "a"
		}
		if !fMore {
			return false
		}
		filter, topic = fRest, tRest
	}
}
