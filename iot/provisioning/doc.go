// SPDX-License-Identifier: Apache-2.0

// Package provisioning gives devices their identity with AWS IoT fleet
// provisioning: a device that has only a claim, which a whole fleet shares or an
// app of a trusted user fetched for it, gets a certificate and a thing of its
// own.
//
// [Provision] does all of it in one call and survives a crash at any moment. A
// [Client] has the single operations. [JustInTime] is for certificates that
// register themselves when they connect for the first time.
//
// # Policy
//
// The policy of the claim has to allow iot:Connect, and for the topics
// $aws/certificates/create-from-csr/*, $aws/certificates/create/* and
// $aws/provisioning-templates/TEMPLATE/provision/*
//
//   - iot:Publish and iot:Receive on arn:aws:iot:REGION:ACCOUNT:topic/TOPIC,
//   - iot:Subscribe on arn:aws:iot:REGION:ACCOUNT:topicfilter/TOPIC.
//
// create-from-csr is what Provision uses unless the service makes the key.
package provisioning
