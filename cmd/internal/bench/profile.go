// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"errors"
	"os"
	"runtime/pprof"
)

// profile starts the profiles that the flags ask for; stop writes them.
func (b *bench) profile() (stop func() error, err error) {
	var cpu *os.File
	if b.cpuProfile != "" {
		if cpu, err = os.Create(b.cpuProfile); err != nil {
			return nil, err
		}
		if err := pprof.StartCPUProfile(cpu); err != nil {
			return nil, errors.Join(err, cpu.Close())
		}
	}
	return func() error {
		if cpu != nil {
			pprof.StopCPUProfile()
			if err := cpu.Close(); err != nil {
				return err
			}
		}
		if b.memProfile == "" {
			return nil
		}
		f, err := os.Create(b.memProfile)
		if err != nil {
			return err
		}
		return errors.Join(pprof.Lookup("allocs").WriteTo(f, 0), f.Close())
	}, nil
}
