// SPDX-License-Identifier: Apache-2.0

// Package credentials obtains AWS credentials from every source that a device
// or its gateway may have: fixed values, the environment, profiles, a program,
// STS, a container or instance metadata endpoint, a Cognito identity, IAM
// Identity Center (SSO), and the device's own X.509 certificate through an AWS
// IoT role alias.
//
// Each constructor returns a [*Provider], which fits package sigv4 and, being an
// [aws.CredentialsProvider], every client of the AWS SDK for Go v2. In the other
// direction [FromProvider] and [FromConfig] take providers of the AWS SDK.
// [NewDefault] is the chain that the other device SDKs use.
//
// # Caching
//
// Providers that ask a network service, run a program or read profiles are
// cached, see [CacheOptions]: concurrent callers share one request, credentials
// are renewed five minutes before they expire, and while a renewal fails the
// last good ones serve for as long as they are valid. [Provider.Invalidate]
// drops them, for example after a service refused them. The others ([NewStatic],
// [NewAnonymous], [NewEnvironment], [NewDelegate], [NewChain]) cost nothing to
// ask; wrap a slow delegate in [NewCached].
//
// # Network
//
// Every request goes through the dialer and the TLS hook of [HTTPOptions], so
// the proxy, the interface and the trust store of the MQTT connection serve the
// credentials too. Both are asked anew for each connection; connections are not
// kept. Redirects are not followed, environment proxies are not consulted, and
// replies are limited to 64 KiB, and their headers too. The link-local metadata
// endpoints have their own HTTPOptions, since a proxy cannot reach them.
//
// # Secrets
//
// Providers, options and errors can be printed and logged with any verb: no
// key, token or login is part of their text. That does not hold for the
// [aws.Credentials] that a provider returns, nor for options that package fmt
// finds in an unexported field of some other struct: do not keep those.
package credentials
