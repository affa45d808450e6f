// SPDX-License-Identifier: Apache-2.0

// Package proxytest runs real proxy programs on the loopback interface for
// tests: squid and tinyproxy (HTTP), dante and microsocks (SOCKS5).
//
// Each Start function writes a configuration into a temporary directory, starts
// the program on
// a free port, waits until it accepts connections, and stops it when the test
// ends. Where the program is not installed the test is skipped, or fails if the
// environment variable CI or SDK_TEST_REQUIRE_TOOLS is set. On Debian the
// programs are in the packages squid, tinyproxy, dante-server, microsocks and
// apache2-utils (htpasswd, for squid with authentication).
package proxytest
