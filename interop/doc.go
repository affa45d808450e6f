// SPDX-License-Identifier: Apache-2.0

// Package interop runs the MQTT client against brokers that others have
// written, and over every transport there is.
//
// It has tests only. One suite of cases runs unchanged against each broker:
// mosquitto as a program, the embedded AWS IoT Core of package iottest, and
// mochi-mqtt inside the process; over TCP, TLS, mutual TLS and WebSocket, directly and through
// HTTP and SOCKS5 proxies. A relay between client and broker cuts and stalls
// connections where a case asks for it.
//
// mosquitto and the proxies have to be installed. What needs one that is
// missing is skipped, or fails if the environment variable CI or
// SDK_TEST_REQUIRE_TOOLS is set.
package interop
