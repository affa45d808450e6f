// SPDX-License-Identifier: Apache-2.0

//go:build race

package mqttotel_test

const raceEnabled = true
