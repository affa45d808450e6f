// SPDX-License-Identifier: Apache-2.0

// Package authtest provides HTTP handlers that speak the protocols of the
// services which give out AWS credentials: Cognito identity, STS, the EC2
// instance metadata service, the ECS and EKS container endpoint, the SSO portal
// and the AWS IoT role-alias endpoint. They are for tests and local runs.
//
// Each handler is an [http.Handler] to be served by [net/http/httptest], or by a
// [Network], which connects clients and servers in memory and so works inside
// testing/synctest bubbles. [Options] decides what each call is answered with,
// how late, and whether it fails; calls are counted and recorded.
//
// [Verifier] checks AWS signatures of requests, among them the pre-signed
// WebSocket upgrades of AWS IoT, with the signer of the AWS SDK.
package authtest
