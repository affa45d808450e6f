// SPDX-License-Identifier: Apache-2.0

package request

import "strings"

func hasWildcard(topic string) bool { return strings.ContainsAny(topic, "+#") }

// matches reports whether a topic filter, without the prefix of a shared
// subscription, matches a topic.
func matches(filter, topic string) bool {
	if strings.HasPrefix(topic, "$") != strings.HasPrefix(filter, "$") {
		return false
	}
	for {
		level, filterRest, filterMore := strings.Cut(filter, "/")
		if level == "#" {
			return !filterMore
		}
		name, topicRest, topicMore := strings.Cut(topic, "/")
		if level != "+" && level != name {
			return false
		}
		if !topicMore {
			return !filterMore || filterRest == "#"
		}
		if !filterMore {
			return false
		}
		filter, topic = filterRest, topicRest
	}
}
