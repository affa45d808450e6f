// SPDX-License-Identifier: Apache-2.0

// Package sigv4 signs the WebSocket upgrade that opens an MQTT connection to
// AWS IoT Core with AWS Signature Version 4.
//
// The service wants the query-parameter form of the signature with four
// peculiarities that general pre-signers get wrong:
//
//   - the service name is "iotdevicegateway",
//   - only the host header is signed, without the port when it is the default one,
//   - the payload hash is that of the empty string,
//   - the session token is left out of the signature and appended to the query
//     after it; a signed token is refused.
//
// A signature is accepted for minutes only, whatever X-Amz-Expires says, so it
// has to be made anew for each connection attempt. [Signer.Transform] is made
// for that: it signs each handshake with the credentials and the time of that
// moment. [Signer.Presign] gives the URL to those who bring another transport.
//
// When the service refuses the upgrade, [Signer.Hint] (or [Hint], without a
// signer) names the likely reason: a wrong clock, a wrong region or endpoint,
// an expired or missing session token, or a missing iot:Connect permission.
//
// A signed URL is a secret for as long as it is accepted: do not log it.
package sigv4
