// SPDX-License-Identifier: Apache-2.0

//go:build !windows

package credentials

import (
	"context"
	"os/exec"
)

// shellCommand runs a command line of the shell.
func shellCommand(ctx context.Context, command string) *exec.Cmd {
	return exec.CommandContext(ctx, "sh", "-c", command)
}
