// SPDX-License-Identifier: Apache-2.0

// Package commands receives AWS IoT commands: instructions for one device that
// are useful now, unlike jobs, which wait for the device.
//
// An [Executor] runs a handler for each command and reports its status and
// result. A command that comes twice runs once, and one that comes too late does
// not run.
//
// Where commands are not available, the service ends the connection of a device
// that subscribes to them. An executor whose connection is lost right after the
// subscription, twice in a row, waits for half a minute to a minute before it
// tries again, later for up to an hour.
//
// # Policy
//
// With D for things/THING or clients/CLIENT, below $aws/commands/D/executions/, the
// policy has to allow
//
//   - iot:Subscribe on topicfilter/.../+/request/json, .../+/request/cbor and
//     .../+/request, as far as Options.Formats has them, and on
//     topicfilter/.../+/response/accepted/json, .../+/response/rejected/json and
//     the same with cbor,
//   - iot:Receive on topic/.../*/request, .../*/request/*, .../*/response/accepted/*
//     and .../*/response/rejected/*,
//   - iot:Publish on topic/.../*/response/json and .../*/response/cbor.
package commands
