// SPDX-License-Identifier: Apache-2.0

package iottest

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// This file is the Commands service as a backend sees it; commandcalls.go is
// what devices send.

// CommandStatus is the state of a command execution.
type CommandStatus string

// States of a command execution. CommandTimedOut is final if the device said
// so, and not if the service did.
const (
	CommandCreated    CommandStatus = "CREATED"
	CommandInProgress CommandStatus = "IN_PROGRESS"
	CommandSucceeded  CommandStatus = "SUCCEEDED"
	CommandFailed     CommandStatus = "FAILED"
	CommandRejected   CommandStatus = "REJECTED"
	CommandTimedOut   CommandStatus = "TIMED_OUT"
)

// Command is what [Core.SendCommand] takes. It is for a thing or for a client,
// not for both.
type Command struct {
	// ID is the name of the command, "command" when empty.
	ID string
	// Thing is the name of the thing that is the target.
	Thing string
	// ClientID is the client id that is the target.
	ClientID string
	// Payload is what the device gets. In a JSON payload
	// ${aws:iot:commandexecution::parameter:NAME} and
	// ${aws:iot:commandexecution::executionTimeoutSec} are replaced.
	Payload []byte
	// ContentType is "application/json" when empty. "application/json" and
	// "application/cbor" have topics of their own.
	ContentType string
	// Parameters are the values for placeholders.
	Parameters map[string]string
	// Timeout is how long the device has for an answer, 10 s when zero, at most 12 hours.
	Timeout time.Duration
	// Token makes the call idempotent: the same command with the same token is
	// sent once. Another one is refused.
	Token string
}

// CommandExecution is a command that was sent.
type CommandExecution struct {
	ID            string // execution id
	CommandID     string
	Thing         string
	ClientID      string
	Status        CommandStatus
	ReasonCode    string
	ReasonText    string
	Result        map[string]CommandValue // do not modify
	CreatedAt     time.Time
	LastUpdatedAt time.Time
}

// CommandValue is a value in the result of a command.
type CommandValue struct {
	Kind  string // "s", "b" or "bin": which of the following it is
	Text  string
	Flag  bool
	Bytes []byte
}

type commandExecution struct {
	CommandExecution
	Deadline time.Time
	Final    bool
	Token    string
	Same     []byte // hash of the command of a token
	alarm    *alarm
}

const (
	maxCommandTimeout = 12 * time.Hour
	noResponse        = "$NO_RESPONSE_FROM_DEVICE"
)

var (
	commandID        = regexp.MustCompile(`^[a-zA-Z0-9_-]{1,64}$`)
	commandParameter = regexp.MustCompile(`\$\{aws:iot:commandexecution::(?:parameter:([^}]*)|executionTimeoutSec)\}`)
)

// SendCommand sends a command, as StartCommandExecution of the service does,
// and returns the id of its execution.
func (c *Core) SendCommand(cmd Command) (string, error) {
	setDefault(&cmd.ID, "command")
	setDefault(&cmd.ContentType, "application/json")
	setDefault(&cmd.Timeout, 10*time.Second)
	payload, err := cmd.check()
	if err != nil {
		return "", err
	}
	same := sha256.Sum256(encodeJSON(cmd))
	c.mu.Lock()
	defer c.mu.Unlock()
	if cmd.Token != "" {
		for _, x := range c.device.commands {
			switch {
			case x.Token == cmd.Token && bytes.Equal(x.Same, same[:]):
				return x.ID, nil
			case x.Token == cmd.Token:
				return "", commandError("Conflict", "The token was used for another command")
			}
		}
	}
	now := c.nowLocked()
	x := &commandExecution{Deadline: now.Add(cmd.Timeout), Token: cmd.Token, Same: same[:], CommandExecution: CommandExecution{ID: uuid(), CommandID: cmd.ID,
		Thing: cmd.Thing, ClientID: cmd.ClientID, Status: CommandCreated, CreatedAt: now, LastUpdatedAt: now}}
	c.addCommand(x)
	c.setCommand(x, CommandCreated, false, func() {})
	topic := x.topic() + "/request"
	switch cmd.ContentType {
	case "application/json":
		topic += "/json"
	case "application/cbor":
		topic += "/cbor"
	}
	c.answer(&request{ServiceEvent: x.event()}, answer{operation: "request", topic: topic, payload: payload, contentType: cmd.ContentType,
		expiry: cmd.Timeout})
	return x.ID, nil
}

func (cmd *Command) check() (payload []byte, _ error) {
	switch {
	case (cmd.Thing == "") == (cmd.ClientID == ""):
		return nil, fmt.Errorf("iottest: command %s: want a thing or a client id", cmd.ID)
	case cmd.Thing != "" && !thingName.MatchString(cmd.Thing), strings.ContainsAny(cmd.ClientID, "/+#"):
		return nil, fmt.Errorf("iottest: command %s: %q cannot be a target", cmd.ID, cmd.Thing+cmd.ClientID)
	case !commandID.MatchString(cmd.ID):
		return nil, fmt.Errorf("iottest: command id %q: want 1 to 64 letters, digits, '-' and '_'", cmd.ID)
	case cmd.Timeout < time.Second || cmd.Timeout > maxCommandTimeout:
		return nil, fmt.Errorf("iottest: command %s: the time-out must be 1 s to 12 h", cmd.ID)
	case len(cmd.Token) > 64:
		return nil, fmt.Errorf("iottest: command %s: the token is longer than 64 bytes", cmd.ID)
	case cmd.ContentType != "application/json":
		return slices.Clone(cmd.Payload), nil
	}
	missing := ""
	payload = commandParameter.ReplaceAllFunc(cmd.Payload, func(b []byte) []byte {
		name := string(commandParameter.FindSubmatch(b)[1])
		if name == "" {
			return strconv.AppendInt(nil, int64(cmd.Timeout/time.Second), 10)
		}
		value, ok := cmd.Parameters[name]
		if !ok {
			missing = name
		}
		return []byte(jsonText(value))
	})
	if missing != "" {
		return nil, fmt.Errorf("iottest: command %s: parameter %s has no value", cmd.ID, missing)
	}
	if !json.Valid(payload) {
		return nil, fmt.Errorf("iottest: command %s: the payload is not JSON", cmd.ID)
	}
	return payload, nil
}

// maxCommands is how many executions are kept.
const maxCommands = 10000

// addCommand adds an execution and forgets the oldest one if there are too
// many. c.mu is held.
func (c *Core) addCommand(x *commandExecution) {
	c.device.commands[x.ID] = x
	c.device.commandOrder = append(c.device.commandOrder, x.ID)
	if len(c.device.commandOrder) > maxCommands {
		oldest := c.device.commandOrder[0]
		c.device.commandOrder = c.device.commandOrder[1:]
		c.cancelAlarm(c.device.commands[oldest].alarm)
		delete(c.device.commands, oldest)
		c.state.remove(bucketCommands, oldest)
	}
	if x.Status == CommandCreated || x.Status == CommandInProgress {
		x.alarm = c.alarmAt(x.Deadline, func() {
			c.setCommand(x, CommandTimedOut, false, func() { x.ReasonCode, x.ReasonText = noResponse, "" })
		})
	}
}

const bucketCommands = "commands"

// loadCommands restores the executions of the last run.
func (c *Core) loadCommands() error {
	var all []*commandExecution
	err := c.state.load(bucketCommands, func(_ string, raw []byte) error {
		x := &commandExecution{}
		all = append(all, x)
		return json.Unmarshal(raw, x)
	})
	slices.SortFunc(all, func(a, b *commandExecution) int { return a.CreatedAt.Compare(b.CreatedAt) })
	for _, x := range all {
		c.addCommand(x)
	}
	return err
}

// topic is what all topics of an execution begin with.
func (x *commandExecution) topic() string {
	target := "things/" + x.Thing
	if x.ClientID != "" {
		target = "clients/" + x.ClientID
	}
	return "$aws/commands/" + target + "/executions/" + x.ID
}

func (x *commandExecution) event() ServiceEvent {
	return ServiceEvent{Service: ServiceCommands, Operation: "request", Thing: x.Thing + x.ClientID, Key: x.ID}
}

// setCommand changes an execution, and publishes the event of the service. c.mu is held.
func (c *Core) setCommand(x *commandExecution, status CommandStatus, final bool, change func()) {
	change()
	x.Status, x.Final, x.LastUpdatedAt = status, final, c.nowLocked()
	c.state.put(bucketCommands, x.ID, x)
	if final {
		c.cancelAlarm(x.alarm)
	}
	changed := x.event()
	changed.Operation, changed.Status = "", string(status)
	c.emitService(ServiceChanged, &changed, nil, nil)
	arn := "arn:aws:iot:" + c.opts.Region + ":" + c.opts.AccountID + ":"
	body := map[string]any{"executionId": x.ID, "status": status, "eventType": "COMMAND_EXECUTION", "commandArn": arn + "command/" + x.CommandID,
		"targetArn": arn + "thing/" + x.Thing, "timestamp": x.LastUpdatedAt.UnixMilli()}
	if x.ClientID != "" {
		body["targetArn"] = arn + "client/" + x.ClientID
	}
	if x.ReasonCode != "" {
		body["statusReason"] = map[string]string{"reasonCode": x.ReasonCode, "reasonDescription": x.ReasonText}
	}
	c.route(&Message{Topic: "$aws/events/commandExecution/" + x.CommandID + "/" + string(status), Payload: encodeJSON(body), QoS: 1}, nil)
}

// CommandExecution returns an execution; ok is false when there is none of that id.
func (c *Core) CommandExecution(id string) (x CommandExecution, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	found := c.device.commands[id]
	if found == nil {
		return CommandExecution{}, false
	}
	x = found.CommandExecution
	x.Result = maps.Clone(x.Result)
	return x, true
}
