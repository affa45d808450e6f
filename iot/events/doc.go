// SPDX-License-Identifier: Apache-2.0

// Package events reads the events that AWS IoT publishes about others: clients
// that connect, disconnect and subscribe, and commands that change their status.
//
// They are ordinary messages on topics below $aws/events/. The policy has to allow
// iot:Subscribe on the topicfilter, such as $aws/events/presence/+/#, and
// iot:Receive on the topic, such as $aws/events/presence/*.
package events
