// SPDX-License-Identifier: Apache-2.0

//go:build !unix && !windows

package cli

import "os"

func terminalWidth(*os.File) int { return 0 }
