// SPDX-License-Identifier: Apache-2.0

package jobs

import (
	"fmt"
	"regexp"
)

var (
	thingNames = regexp.MustCompile(`^[a-zA-Z0-9:_-]{1,128}$`)
	jobIDs     = regexp.MustCompile(`^[a-zA-Z0-9_-]{1,64}$`)
	namespaces = regexp.MustCompile(`^[a-zA-Z0-9_-]{1,64}$`)
)

// NextJobID stands for the next pending execution in [Client.Describe].
const NextJobID = "$next"

// topics builds the topics of one thing and namespace.
type topics struct {
	base      string
	namespace string // "" or "namespace-NAME"
}

func newTopics(thing, namespace string) (topics, error) {
	if !thingNames.MatchString(thing) {
		return topics{}, fmt.Errorf("%w: thing name %q: 1 to 128 letters, digits, ':', '_' or '-'", ErrInvalidArgument, thing)
	}
	t := topics{base: "$aws/things/" + thing + "/jobs/"}
	if namespace == "" {
		return t, nil
	}
	if !namespaces.MatchString(namespace) {
		return topics{}, fmt.Errorf("%w: namespace %q: 1 to 64 letters, digits, '_' or '-'", ErrInvalidArgument, namespace)
	}
	t.namespace = "namespace-" + namespace
	return t, nil
}

func (t topics) getPending() string { return t.base + "get" }
func (t topics) startNext() string  { return t.base + "start-next" }

func (t topics) execution(jobID, operation string) string {
	if t.namespace != "" {
		return t.base + jobID + "/" + t.namespace + "/" + operation
	}
	return t.base + jobID + "/" + operation
}

func (t topics) notify() string     { return t.notification("notify") }
func (t topics) notifyNext() string { return t.notification("notify-next") }

func (t topics) notification(name string) string {
	if t.namespace != "" {
		name += "-" + t.namespace
	}
	return t.base + name
}
