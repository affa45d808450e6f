// SPDX-License-Identifier: Apache-2.0

// Package iottest is an in-process emulation of AWS IoT Core: for tests and
// samples that need no AWS account, in the manner of net/http/httptest.
//
//	core := iottest.Start(t)              // ends with the test
//	device := core.Device(t, "my-thing")  // a certificate the core knows
//
// A client under test connects to [Core.Endpoint], a name like that of a real
// endpoint, through [Core.DialContext], and trusts [Core.CAPEM]; or it connects
// to localhost on [Core.Port] or [Core.MTLSPort]. Certificates and keys are
// made at run time. All ports are on 127.0.0.1.
//
// # Limits
//
// A core may run for days. Sessions, retained messages and credentials are
// forgotten when they expire on the core's clock. What waits for a client, for
// a session without a connection, for [Options.OnEvent] and for the handlers of
// [Core.Subscribe] is bounded in bytes; what finds no room is dropped, and a
// [Dropped] or [EventsDropped] event says so. So is the log of events
// ([Options.EventBytes]). A client that takes nothing for 30 seconds is
// disconnected.
//
// # Ways to connect
//
// One port stands for 443 and distinguishes clients by ALPN: "x-amzn-mqtt-ca"
// is MQTT with a client certificate, "mqtt" is MQTT with a custom authorizer
// (and a client certificate besides, if the client sends one), and no ALPN or
// "http/1.1" is HTTPS with WebSockets on the path /mqtt, where a client is
// known by a signature or by a custom authorizer (and again by a client
// certificate besides). "x-amzn-http-ca" is HTTPS with a client certificate.
// Another port stands for 8883, MQTT with a client certificate. [Options.PlainTCP]
// opens a third one without TLS.
//
// All credentials are verified. A certificate must be registered
// ([Core.CreateDevice], [Core.RegisterCertificate]), valid and active. A
// signature (AWS Signature Version 4, query or header) must be of a known key
// ([Core.CreateAccessKey]) that has not expired, made within 5 minutes of the
// core's clock for the right host, region and service, and the session token
// must follow it unsigned. A custom authorizer ([Core.AddAuthorizer]) has the
// RSA signature of the token verified before its function is asked.
//
// HTTPS also has the data plane: publishing with all fields of MQTT 5, retained
// messages, DeleteConnection.
//
// On the same port, by host name, are the endpoints that issue credentials: for
// devices ([Core.AddRoleAlias]), Amazon Cognito ([Core.AddIdentityPool]), AWS
// STS ([Core.AddRole]) and the portal of IAM Identity Center
// ([Core.AddSSORole]). [Core.StartMetadata] serves the metadata of an instance
// and of a container. What they issue is accepted in signatures. Servers for
// the same protocols that fail on demand are in package auth/authtest.
//
// # Dialect
//
// The core speaks MQTT 5 and 3.1.1 as AWS IoT Core does, where that is known:
//
//   - CONNACK carries the limits of the service. [Quotas] has them all, and what happens beyond each. Limits on rate
//     are off unless asked for, see [ServiceQuotas].
//   - A request for QoS 2 gets no answer; a will with QoS 2 is refused. Subscription identifiers end the connection.
//     AUTH and enhanced authentication are not supported. A will delay is ignored.
//   - Client ids that begin with '$' are refused; an assigned client id begins with "$GEN/" and so cannot be used again.
//   - The filter "a/#" does not select "a". Retained messages go to subscriptions without wildcards only, and not to
//     shared ones.
//   - QoS 1 messages for a disconnected session are kept until it expires, QoS 0 messages are not. Messages that were
//     not acknowledged come again with another packet id and without DUP. A session is not resumed by the other version
//     of MQTT.
//   - UNSUBACK says success whether or not there was a subscription. PUBACK never says "no matching subscribers".
//   - Topics that begin with '$' are reserved: $aws/ may be used, except that nobody may publish on $aws/events/ or
//     subscribe to $aws/rules/, and nothing there is retained. $aws/events/presence/ and $aws/events/subscriptions/ have
//     the messages of the service, with its reasons for the end of a connection ([Event.DisconnectReason]).
//   - AWS IoT policies ([WithPolicy]) decide on connecting, publishing, retaining, subscribing and receiving. A refusal is
//     0x87 in CONNACK, PUBACK or SUBACK; where there is no acknowledgement, it ends the connection.
//
// Where the service's reaction is not documented the core does what the MQTT
// standard says. Passing tests against the core do not replace a test against
// the service.
//
// # Device services
//
// The device services answer on their reserved topics: device shadows
// ([Core.UpdateShadow]), jobs ([Core.CreateJob]), fleet provisioning
// ([Core.AddProvisioningTemplate]), just-in-time provisioning
// ([Core.RegisterCA]), commands ([Core.SendCommand]), Device Defender
// ([Core.DefenderReports]), basic ingest ([Core.AddRule]) and direct messages
// ([Core.SendDirectMessage]). Their times are on the core's clock, and each
// step is an [Event]. [ServiceOptions] has what the documentation of the
// service leaves open. [Core.SetServiceFaults] makes answers late, lost,
// doubled, reordered or errors.
//
// # Disturbances
//
// [Core.Disconnect] ends a connection with a reason code. [Core.Cut],
// [Core.Reset], [Core.CutAfter], [Core.Freeze], [Core.Delay], [Core.Drop],
// [Core.HoldAcks] and [Core.RefuseOperations] disturb a client that is
// connected, [Core.SetFaults] those that will connect.
// [Core.Advance] moves the core's clock, so that keep alive, sessions,
// messages, credentials and certificates expire without waiting, and so that
// signatures are refused for their time.
//
// # Observation
//
// Everything that happens is an [Event], with the error behind each refusal,
// which the client never sees: [Core.Events], [Core.WaitFor],
// [Options.OnEvent]. [Core.Clients] says how each client came and what its
// CONNECT said, [Core.Session] what is kept for it.
//
// The broker is built on the packet codec of mochi-mqtt and not on the one of
// this SDK, so that an error in ours cannot hide from itself.
package iottest
