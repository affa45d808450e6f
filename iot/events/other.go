// SPDX-License-Identifier: Apache-2.0

package events

import (
	"fmt"
	"strings"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
)

// Subscription is an event about the subscriptions of a client.
type Subscription struct {
	Type        Type // Subscribed or Unsubscribed
	ClientID    string
	Time        time.Time
	SessionID   string
	PrincipalID string
	// TopicFilters are those of the packet.
	TopicFilters []string
}

// ParseSubscription reads an event about subscriptions. It fails with
// [ErrInvalidEvent].
func ParseSubscription(m mqtt5.Message) (*Subscription, error) {
	t, clientID, err := split(m.Topic, "$aws/events/subscriptions/")
	if err != nil {
		return nil, err
	}
	var body struct {
		ClientID          string       `json:"clientId"`
		Timestamp         milliseconds `json:"timestamp"`
		SessionIdentifier string       `json:"sessionIdentifier"`
		Principal         string       `json:"principalIdentifier"`
		Topics            []string     `json:"topics"`
	}
	if err := decode(m, &body); err != nil {
		return nil, err
	}
	if body.ClientID == "" {
		body.ClientID = clientID
	}
	return &Subscription{
		Type: t, ClientID: body.ClientID, Time: body.Timestamp.Time, SessionID: body.SessionIdentifier,
		PrincipalID: body.Principal, TopicFilters: body.Topics,
	}, nil
}

// CommandExecution is an event about the execution of a command, see package
// commands.
type CommandExecution struct {
	CommandID   string
	ExecutionID string
	// Status is the new one, such as "SUCCEEDED".
	Status            string
	ReasonCode        string
	ReasonDescription string
	CommandARN        string
	TargetARN         string
	Time              time.Time
}

// CommandFilter returns the topic filter for the events about a command, or
// [All], with a status, or All.
func CommandFilter(commandID, status string) (string, error) {
	for _, level := range []string{commandID, status} {
		if level == "" || level != All && strings.ContainsAny(level, "+#/") {
			return "", fmt.Errorf("%w: %q in the filter of command events", ErrInvalidArgument, level)
		}
	}
	return "$aws/events/commandExecution/" + commandID + "/" + status, nil
}

// ParseCommandExecution reads an event about a command. It fails with
// [ErrInvalidEvent].
func ParseCommandExecution(m mqtt5.Message) (*CommandExecution, error) {
	commandID, status, err := split(m.Topic, "$aws/events/commandExecution/")
	if err != nil {
		return nil, err
	}
	var body struct {
		ExecutionID string       `json:"executionId"`
		Status      string       `json:"status"`
		Timestamp   milliseconds `json:"timestamp"`
		CommandARN  string       `json:"commandArn"`
		TargetARN   string       `json:"targetArn"`
		Reason      struct {
			Code        string `json:"reasonCode"`
			Description string `json:"reasonDescription"`
		} `json:"statusReason"`
	}
	if err := decode(m, &body); err != nil {
		return nil, err
	}
	if body.Status == "" {
		body.Status = status
	}
	return &CommandExecution{
		CommandID: string(commandID), ExecutionID: body.ExecutionID, Status: body.Status, Time: body.Timestamp.Time,
		ReasonCode: body.Reason.Code, ReasonDescription: body.Reason.Description, CommandARN: body.CommandARN, TargetARN: body.TargetARN,
	}, nil
}
