// SPDX-License-Identifier: Apache-2.0

// Package interop runs the MQTT client against brokers that others have
// written, and over every transport there is.
//
// It has tests only. One suite of cases runs unchanged against mosquitto,
// ejabberd and the embedded AWS IoT Core of package iottest; over TCP, TLS,
// mutual TLS and WebSocket, directly and through HTTP and SOCKS5 proxies. A
// relay between client and broker cuts and stalls connections where a case asks
// for it. What a broker does not offer, or gets wrong, is described by the fields of
// broker.
//
// Clients in JavaScript, in testdata/node, are driven by tests: the service clients of
// the AWS IoT Device SDK for JavaScript v2 test the device services of the
// embedded core.
//
// On Debian the programs are in the packages mosquitto, ejabberd, squid, tinyproxy,
// dante-server, microsocks, apache2-utils and nodejs; scripts/test installs
// what comes from
// npm. What needs one that is missing is skipped, or fails if the environment
// variable CI or SDK_TEST_REQUIRE_TOOLS is set.
package interop
