// SPDX-License-Identifier: Apache-2.0

package credentials

import (
	"context"
	"os/exec"
	"syscall"
)

// shellCommand runs a command line as cmd.exe does at its prompt. The quotes
// that os/exec would put around and into it are not what cmd.exe understands: a
// quoted path of a program would not be found. With /S cmd.exe removes the
// outer quotes and nothing else.
func shellCommand(ctx context.Context, command string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "cmd.exe")
	cmd.SysProcAttr = &syscall.SysProcAttr{CmdLine: `cmd.exe /S /C "` + command + `"`}
	return cmd
}
