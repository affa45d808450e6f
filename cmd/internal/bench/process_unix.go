// SPDX-License-Identifier: Apache-2.0

//go:build unix

package bench

import "syscall"

// usage is what the process has used so far: seconds of CPU time, and how often
// it was switched.
func usage() (user, sys float64, switches int64) {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0, 0, 0
	}
	return float64(u.Utime.Nano()) / 1e9, float64(u.Stime.Nano()) / 1e9, int64(u.Nvcsw) + int64(u.Nivcsw)
}
