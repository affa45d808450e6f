// SPDX-License-Identifier: Apache-2.0

// Package jobs is a client of AWS IoT Jobs: work that an operator gives to many
// things, and that each of them carries out when it can.
//
// A [Client] calls the operations of the service and receives its notifications.
// A [Runner] does what a device needs on top of that: it takes executions, runs
// handlers, reports progress and results, and resumes after a crash or a reboot.
// [Fetch] downloads files by presigned URLs and verifies them.
//
// # Policy
//
// With T for arn:aws:iot:REGION:ACCOUNT:topic/$aws/things/THING/jobs and F for
// the same with topicfilter, the policy of the thing has to allow
//
//   - iot:Publish on T/get, T/start-next, T/*/get and T/*/update,
//   - iot:Subscribe on F/get/+, F/start-next/+, F/+/get/+, F/+/update/+, F/notify
//     and F/notify-next,
//   - iot:Receive on T/*.
package jobs
