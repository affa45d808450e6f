// SPDX-License-Identifier: Apache-2.0

//go:build !race

package mqtt5_test

const raceEnabled = false
