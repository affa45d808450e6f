// SPDX-License-Identifier: Apache-2.0

// Package direct handles direct messages: messages that a backend sends to one
// client with the operation SendDirectMessage, which the client gets without a
// subscription.
//
// The sender may ask for confirmation, which is the client's acknowledgement. So
// a message is acknowledged here after its handler has returned, and with a
// failure if that returned an error. A message that names a response topic is
// answered there.
package direct
