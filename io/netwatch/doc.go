// SPDX-License-Identifier: Apache-2.0

// Package netwatch reports when the network of the machine comes up, so that a
// client that waits for its next attempt to connect need not wait to the end.
//
// It works on Linux, by netlink. Elsewhere [New] fails with an error that
// matches [errors.ErrUnsupported], and clients go on with their delays.
package netwatch
