// SPDX-License-Identifier: Apache-2.0

// Package shadow is a client for the Device Shadow service of AWS IoT Core.
//
// A shadow is a JSON document that the service keeps for a thing. Its desired
// section holds what applications want, its reported section what the device
// reports, and the service computes the delta between them. [Classic] and
// [Named] return a [Shadow], which gets, updates and deletes the document and
// receives its changes:
//
//	requests, err := request.New(client, request.Options{}) // client is a *mqtt5.Client
//	lamp, err := shadow.Classic[Lamp](requests, "lamp-1")
//	document, err := lamp.Get(ctx)
//
// The type parameter is the type of the user's state. Fields of type [Field]
// distinguish an absent field, null and a value; [json.RawMessage] as the whole
// type gives the JSON itself.
//
// # Mirror
//
// A device that only wants to be in step with its shadow uses a [Mirror]:
// desired changes arrive as calls of a function, reported changes are sent, and
// whatever got lost meanwhile is repaired. It works without a connection and,
// with a [Store], across restarts.
//
// # Errors
//
// What the service rejects is an [*RejectedError] with its code and message. Requests
// that got no answer fail with a [*request.Error].
package shadow
