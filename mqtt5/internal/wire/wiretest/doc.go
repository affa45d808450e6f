// SPDX-License-Identifier: Apache-2.0

// Package wiretest is the server's side of package wire, for tests: it parses what
// only clients send and encodes what only servers send.
//
// It shares no code with package wire but the packets themselves, so that a
// mistake in one
// of them does not hide in the other. Parsers are as strict as those of package
// wire, and report the same errors.
package wiretest
