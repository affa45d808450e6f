// SPDX-License-Identifier: Apache-2.0

// Package defender reports metrics of a device to AWS IoT Device Defender: its
// open ports, connections and traffic, and metrics of the application.
//
// [Linux] reads the metrics of a Linux system; other sources are functions. A
// [Reporter] sends reports at intervals of five minutes or more, turns counters
// into differences, and says why the service rejected one.
//
// # Policy
//
// The policy of the thing has to allow, for
// $aws/things/THING/defender/metrics/json, or cbor, iot:Publish on topic/..., and for
// its accepted and rejected iot:Subscribe on topicfilter/... and iot:Receive on
// topic/....
package defender
