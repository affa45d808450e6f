// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package main

import "time"

// Processor time and memory are measured on Linux only.

func cpuTime() time.Duration { return 0 }

func residentKiB() float64 { return 0 }

func busyTime() (busy, all time.Duration) { return 0, 0 }

func processTime(int) time.Duration { return 0 }
