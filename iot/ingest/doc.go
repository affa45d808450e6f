// SPDX-License-Identifier: Apache-2.0

// Package ingest builds the topics of basic ingest: messages that go to a rule of
// AWS IoT directly. No subscriber gets them, and the broker does not charge for
// them.
//
// The acknowledgement says that the rules engine has the message, not that its
// actions succeeded, nor that there is such a rule: a rule that does not exist
// appears in the metric RuleNotFound and the logs only. The policy has to allow
// iot:Publish on topic/$aws/rules/RULE/*; nothing there can be subscribed to or
// retained.
package ingest

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"
)

// ErrInvalidArgument is the name of a rule or a topic that the service would
// refuse.
var ErrInvalidArgument = errors.New("ingest: invalid argument")

var ruleNames = regexp.MustCompile(`^[a-zA-Z0-9_]{1,128}$`)

// The limits of the service for a topic, not counting $aws/rules/RULE/.
const (
	maxBytes   = 256
	maxSlashes = 7
)

// Topic returns the topic for messages to a rule. The rule sees topic as the topic
// of the message; it may be empty. It fails with [ErrInvalidArgument].
func Topic(rule, topic string) (string, error) {
	switch {
	case !ruleNames.MatchString(rule):
		return "", fmt.Errorf("%w: rule %q: 1 to 128 letters, digits or '_'", ErrInvalidArgument, rule)
	case strings.ContainsAny(topic, "+#\x00") || !utf8.ValidString(topic):
		return "", fmt.Errorf("%w: topic %q has wildcards or is not UTF-8", ErrInvalidArgument, topic)
	case strings.HasPrefix(topic, "$") || strings.HasPrefix(topic, "/"):
		return "", fmt.Errorf("%w: topic %q begins with '$' or '/'", ErrInvalidArgument, topic)
	case len(topic) > maxBytes || strings.Count(topic, "/") > maxSlashes:
		return "", fmt.Errorf("%w: topic %q: at most %d bytes and %d slashes", ErrInvalidArgument, topic, maxBytes, maxSlashes)
	case topic == "":
		return "$aws/rules/" + rule, nil
	}
	return "$aws/rules/" + rule + "/" + topic, nil
}
