// SPDX-License-Identifier: Apache-2.0

package commands

import (
	"fmt"
	"regexp"
	"strings"
)

var (
	thingNames   = regexp.MustCompile(`^[a-zA-Z0-9:_-]{1,128}$`)
	executionIDs = regexp.MustCompile(`^[a-zA-Z0-9_-]{1,64}$`)
)

// Target is the receiver of commands: a thing or an MQTT client.
type Target struct {
	kind, name string
}

// Thing is the target of a thing.
func Thing(name string) Target { return Target{"things", name} }

// MQTTClient is the target of an MQTT client, by its client identifier. The
// connection has to have that identifier.
func MQTTClient(id string) Target { return Target{"clients", id} }

// String returns the target as in topics, such as "things/thermostat-7".
func (t Target) String() string { return t.kind + "/" + t.name }

func (t Target) check() error {
	switch {
	case t.kind == "things" && thingNames.MatchString(t.name):
		return nil
	case t.kind == "clients" && t.name != "" && len(t.name) <= 128 && !strings.ContainsAny(t.name, "/+#\x00"):
		return nil
	}
	switch t.kind {
	case "things":
		return fmt.Errorf("%w: thing name %q: 1 to 128 letters, digits, ':', '_' or '-'", ErrInvalidArgument, t.name)
	case "clients":
		return fmt.Errorf("%w: client identifier %q: 1 to 128 bytes without '/', '+' and '#'", ErrInvalidArgument, t.name)
	}
	return fmt.Errorf("%w: the target is the zero value; give Thing or MQTTClient", ErrInvalidArgument)
}

// prefix is the topic up to the identifier of an execution.
func (t Target) prefix() string { return "$aws/commands/" + t.String() + "/executions/" }

// executionID finds the identifier in the topic of a request.
func (t Target) executionID(topic string) (string, bool) {
	rest, ok := strings.CutPrefix(topic, t.prefix())
	if !ok {
		return "", false
	}
	id, _, _ := strings.Cut(rest, "/")
	return id, executionIDs.MatchString(id)
}
