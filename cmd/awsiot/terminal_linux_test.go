// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// openTerminal opens a pseudoterminal with that many columns. What the program
// writes to program can be read from screen.
func openTerminal(t *testing.T, columns uint16) (screen, program *os.File) {
	t.Helper()
	screen, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = screen.Close() })
	fd := int(screen.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: columns}); err != nil {
		t.Fatal(err)
	}
	program, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = program.Close() })
	return screen, program
}

// On a terminal the report fits its width and has colours, unless they are
// turned off.
func TestDoctor_terminal(t *testing.T) {
	for _, tt := range []struct {
		env     string
		columns int
		width   int
		colours bool
	}{
		{"", 50, 50, true},
		{"", 70, 70, true},
		{"", 20, 40, true}, // the narrowest page
		{"COLUMNS=60", 132, 60, true},
		{"NO_COLOR=1", 50, 50, false},
		{"TERM=dumb", 50, 50, false},
	} {
		t.Run(fmt.Sprintf("%s %d", tt.env, tt.columns), func(t *testing.T) {
			t.Parallel()
			screen, program := openTerminal(t, uint16(tt.columns))
			cmd := command(t, "doctor", "-endpoint", "nobody.invalid", "-cert", "/no/crt", "-key", "/no/key")
			cmd.Env = append(environment(), "COLUMNS=", "NO_COLOR=", "TERM=xterm", tt.env)
			cmd.Stdout = program
			if err := cmd.Run(); cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != 1 {
				t.Fatal(err)
			}
			_ = program.Close()
			shown, _ := io.ReadAll(screen) // ends with an error when the program's side is closed
			text := strings.ReplaceAll(string(shown), "\r\n", "\n")
			if !strings.Contains(text, "does not work") {
				t.Fatalf("%q", text)
			}
			if got := strings.Contains(text, "\x1b[31m"); got != tt.colours {
				t.Errorf("colours: %v, want %v", got, tt.colours)
			}
			widest := 0
			for _, code := range []string{"\x1b[31m", "\x1b[32m", "\x1b[33m", "\x1b[2m", "\x1b[0m"} {
				text = strings.ReplaceAll(text, code, "")
			}
			for line := range strings.Lines(text) {
				widest = max(widest, len([]rune(strings.TrimRight(line, "\n"))))
			}
			if widest > tt.width || tt.width == 70 && widest <= 60 {
				t.Errorf("the widest line has %d columns, want %d:\n%s", widest, tt.width, text)
			}
		})
	}
}
