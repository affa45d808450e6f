// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"os"
	"strconv"
)

// IsTerminal reports whether the file is a terminal.
func IsTerminal(f *os.File) bool {
	info, err := f.Stat()
	if err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return false
	}
	null, err := os.Stat(os.DevNull)
	return err != nil || !os.SameFile(info, null)
}

// Colours reports whether output to the file may be coloured: it is a terminal
// that knows colours, and NO_COLOR is not set.
func Colours(f *os.File) bool {
	return os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" && IsTerminal(f)
}

// The narrowest page, and the width where nothing says how wide it is.
const (
	minWidth     = 40
	defaultWidth = 100
)

// Width is the number of columns to write to the file: COLUMNS if it is set,
// the width of the terminal, or 100.
func Width(f *os.File) int {
	n, err := strconv.Atoi(os.Getenv("COLUMNS"))
	if err != nil || n <= 0 {
		n = terminalWidth(f)
	}
	if n <= 0 {
		return defaultWidth
	}
	return max(n, minWidth)
}
