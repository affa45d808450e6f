// SPDX-License-Identifier: Apache-2.0

// Package conformance maps the numbered statements of the MQTT 5.0 standard to
// the tests that name them. Its test fails when a statement that binds clients
// has no test, and when docs/conformance.md, which it writes, is out of date:
//
//	go test ./internal/conformance -update
//
// A test names a statement at the start of its name, as in
//
//	t.Run("MQTT-3.1.0-1 CONNECT is the first packet", ...)
//
// or in the name of a row of its table. The tests of all modules count.
package conformance
