// SPDX-License-Identifier: Apache-2.0

package iottest

import (
	"encoding/base64"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// This file is the Commands service as devices see it, on $aws/commands/.

func commandError(code, format string, args ...any) *ServiceError {
	e := jobError(code, format, args...)
	e.Service = ServiceCommands
	if code == "Conflict" {
		e.Status = 409
	}
	return e
}

// handleCommands handles a message on $aws/commands/; levels is what follows:
// things/<thing>/executions/<id>/response/json, or clients/<client>/...
func (c *Core) handleCommands(r *request, levels []string) {
	if len(levels) < 5 || levels[0] != "things" && levels[0] != "clients" || levels[2] != "executions" || levels[4] != "response" {
		return
	}
	format, suffix := formatJSON, ""
	switch {
	case len(levels) == 5:
	case len(levels) == 6 && (levels[5] == formatJSON || levels[5] == formatCBOR):
		format, suffix = levels[5], "/"+levels[5]
	default:
		return // topics of answers
	}
	r.ServiceEvent = ServiceEvent{Service: ServiceCommands, Operation: "response", Thing: levels[1], Key: levels[3]}
	prefix := strings.TrimSuffix(r.topic, suffix)
	rejected, answered := c.admit(r)
	if !answered {
		c.received(r, nil)
		return
	}
	err := rejected
	if err == nil {
		err = c.updateCommand(r, format, strings.TrimSuffix(prefix, "/response"))
	}
	c.received(r, err)
	a := answer{operation: r.Operation, topic: prefix + "/accepted" + suffix}
	body := map[string]any{"executionId": r.Key}
	if err != nil {
		a.topic = prefix + "/rejected" + suffix
		body["error"], body["errorMessage"] = err.Code, err.Message
	}
	a.payload = encodeAs(format, body)
	c.answer(r, a)
}

// commandResponse is what a device says of a command.
type commandResponse struct {
	Status string `json:"status"`
	Reason *struct {
		Code        string `json:"reasonCode"`
		Description string `json:"reasonDescription"`
	} `json:"statusReason"`
	Result map[string]map[string]any `json:"result"`
}

var reasonCode = regexp.MustCompile(`^[A-Z0-9_-]{1,64}$`)

// updateCommand applies the response of a device. c.mu is held.
func (c *Core) updateCommand(r *request, format, topic string) *ServiceError {
	var response commandResponse
	if err := decodeAs(format, r.payload, &response); err != nil {
		if format == formatJSON && !validJSON(r.payload) {
			return commandError("InvalidJson", "The payload is not valid JSON")
		}
		return commandError("InvalidRequest", "The payload is not a valid response")
	}
	status := CommandStatus(response.Status)
	switch status {
	case CommandInProgress, CommandSucceeded, CommandFailed, CommandRejected, CommandTimedOut:
	default:
		return commandError("InvalidRequest", "A device cannot set status %q", response.Status)
	}
	if why := response.Reason; why != nil {
		if !reasonCode.MatchString(why.Code) || utf8.RuneCountInString(why.Description) > 1024 || strings.ContainsFunc(why.Description, unicode.IsControl) {
			return commandError("InvalidRequest", "statusReason is not valid")
		}
	}
	result, err := commandResult(format, response.Result)
	if err != nil {
		return err
	}
	x := c.device.commands[r.Key]
	switch {
	case x == nil || x.topic() != topic:
		return commandError("ResourceNotFound", "Command execution %s does not exist", r.Key)
	case x.Final:
		return commandError("TerminalStateReached", "Command execution %s is %s", r.Key, x.Status)
	case status == CommandInProgress && x.Status == CommandTimedOut:
		return commandError("InvalidStateTransition", "Command execution %s has timed out", r.Key)
	}
	c.setCommand(x, status, status != CommandInProgress, func() {
		x.ReasonCode, x.ReasonText = "", ""
		if why := response.Reason; why != nil {
			x.ReasonCode, x.ReasonText = why.Code, why.Description
		}
		if result != nil {
			x.Result = result
		}
	})
	return nil
}

// commandResult turns {"key":{"s":"text"}} into values; nil when there is no result.
func commandResult(format string, in map[string]map[string]any) (map[string]CommandValue, *ServiceError) {
	if in == nil {
		return nil, nil
	}
	if len(in) == 0 {
		return nil, commandError("InvalidRequest", "At least 1 command execution result is required")
	}
	out := map[string]CommandValue{}
	for key, typed := range in {
		if len(typed) != 1 || key == "" {
			return nil, commandError("InvalidRequest", "Result %q needs one of s, b and bin", key)
		}
		for kind, value := range typed {
			v, ok := resultValue(format, kind, value)
			if !ok {
				return nil, commandError("InvalidRequest", "Result %q has no valid value", key)
			}
			out[key] = v
		}
	}
	return out, nil
}

// resultValue checks a value: text, a flag, or bytes, which are base64 in JSON.
func resultValue(format, kind string, value any) (CommandValue, bool) {
	out := CommandValue{Kind: kind}
	switch v := value.(type) {
	case string:
		if kind == "bin" && format == formatJSON {
			b, err := base64.StdEncoding.DecodeString(v)
			out.Bytes = b
			return out, err == nil
		}
		out.Text = v
		return out, kind == "s"
	case bool:
		out.Flag = v
		return out, kind == "b"
	case []byte:
		out.Bytes = v
		return out, kind == "bin"
	}
	return out, false
}
