// SPDX-License-Identifier: Apache-2.0

//go:build race

package conn

// raceEnabled is set in builds with the race detector. They detect every misuse of
// a Buffer, at the price of new memory for each.
const raceEnabled = true
