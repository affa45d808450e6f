// SPDX-License-Identifier: Apache-2.0

package wire

import "strings"

// SharedPrefix begins the topic filter of a shared subscription (section 4.8.2).
const SharedPrefix = "$share/"

// plainTopicWord is plainWord which also stops at '+' and '#'. An exclusive or
// with an ASCII character turns that character into 0 and leaves the top bits alone.
func plainTopicWord(w uint64) bool {
	const plus, hash = '+' * eachOne, '#' * eachOne
	return (w|(w-eachOne)|((w^plus)-eachOne)|((w^hash)-eachOne))&eachHigh == 0
}

// plainTopic reports whether s is ASCII without U+0000 and wildcards.
func plainTopic[T []byte | string](s T) bool {
	if len(s) < 8 {
		for i := range len(s) {
			if c := s[i]; c-1 >= 0x7F || c == '+' || c == '#' {
				return false
			}
		}
		return true
	}
	for i := 0; i <= len(s)-8; i += 8 {
		if !plainTopicWord(load(s, i)) {
			return false
		}
	}
	return plainTopicWord(load(s, len(s)-8))
}

// hasWildcard reports whether s contains '+' or '#', which no topic name does.
func hasWildcard[T []byte | string](s T) bool {
	for i := range len(s) {
		if s[i] == '+' || s[i] == '#' {
			return true
		}
	}
	return false
}

// ValidTopicName reports whether s is a topic name (section 4.7). CheckTopicName
// says what is wrong.
func ValidTopicName(s string) bool {
	return s != "" && len(s) <= maxFieldLength && (plainTopic(s) || ValidString(s) && !hasWildcard(s))
}

// HasWildcard reports whether a topic filter contains a wildcard.
func HasWildcard(filter string) bool { return hasWildcard(filter) }

// isShared reports whether a filter is, or is meant to be, a shared one.
func isShared(filter string) bool { return strings.HasPrefix(filter, SharedPrefix) }

// SharedFilter splits the filter of a shared subscription, "$share/name/filter",
// into the share name and the filter that messages are matched with. ok is false
// if s does not begin with "$share/", or if the name or the filter is missing;
// what the name and the filter contain is not looked at.
func SharedFilter(s string) (share, filter string, ok bool) {
	rest, found := strings.CutPrefix(s, SharedPrefix)
	if !found {
		return "", "", false
	}
	share, filter, found = strings.Cut(rest, "/")
	if !found || share == "" || filter == "" {
		return "", "", false
	}
	return share, filter, true
}

// CheckTopicName returns the fault of s as a topic name, or nil.
func CheckTopicName(s string) *Violation {
	if ValidTopicName(s) {
		return nil
	}
	if s == "" {
		return &Violation{Rule: "MQTT-4.7.3-1", Text: "topic name is empty"}
	}
	if len(s) > maxFieldLength {
		return &Violation{Rule: "MQTT-4.7.3-3", Text: "topic name is longer than 65535 bytes"}
	}
	if v := CheckString(s); v != nil {
		return v
	}
	return &Violation{Rule: "MQTT-4.7.0-1", Text: "topic name contains a wildcard character"}
}

// CheckTopicFilter returns the fault of s as a topic filter, or nil.
func CheckTopicFilter(s string) *Violation {
	if s == "" {
		return &Violation{Rule: "MQTT-4.7.3-1", Text: "topic filter is empty"}
	}
	if len(s) > maxFieldLength {
		return &Violation{Rule: "MQTT-4.7.3-3", Text: "topic filter is longer than 65535 bytes"}
	}
	if v := CheckString(s); v != nil {
		return v
	}
	return filterViolation(s)
}

// filterViolation checks the form of a filter whose characters are fine.
func filterViolation(s string) *Violation {
	if s == "" {
		return &Violation{Rule: "MQTT-4.7.3-1", Text: "topic filter is empty"}
	}
	if isShared(s) {
		share, _, _ := strings.Cut(s[len(SharedPrefix):], "/")
		if share == "" {
			return &Violation{Rule: "MQTT-4.8.2-1", Text: "share name is empty"}
		}
		if hasWildcard(share) {
			return &Violation{Rule: "MQTT-4.8.2-2", Text: "share name contains a wildcard character"}
		}
		var ok bool
		if _, s, ok = SharedFilter(s); !ok {
			return &Violation{Rule: "MQTT-4.8.2-2", Text: "shared subscription has no topic filter after the share name"}
		}
	}
	for i := range len(s) {
		switch s[i] {
		case '#':
			if i != len(s)-1 || i > 0 && s[i-1] != '/' {
				return &Violation{Rule: "MQTT-4.7.1-1", Text: "# is not the last level of the topic filter"}
			}
		case '+':
			if i > 0 && s[i-1] != '/' || i < len(s)-1 && s[i+1] != '/' {
				return &Violation{Rule: "MQTT-4.7.1-2", Text: "+ does not fill a whole level of the topic filter"}
			}
		}
	}
	return nil
}
