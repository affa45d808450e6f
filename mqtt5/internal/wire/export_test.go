// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"encoding/hex"
	"strings"
	"testing"
)

// ParseFrame is Frame.Parse with the frame as a result.
func ParseFrame(b []byte, limit uint32) (f Frame, need int, err *Error) {
	need, err = f.Parse(b, limit)
	return f, need, err
}

// Unhex turns a golden vector into bytes. Blanks and line ends are for reading;
// what stands between '#' and the end of a line is a comment, and what stands in
// 'quotes' is text.
func Unhex(t testing.TB, s string) []byte {
	t.Helper()
	var out []byte
	for line := range strings.Lines(s) {
		for i, part := range strings.Split(strings.TrimSpace(line), "'") {
			if i%2 == 1 {
				out = append(out, part...)
				continue
			}
			digits, _, comment := strings.Cut(part, "#")
			b, err := hex.DecodeString(strings.Join(strings.Fields(digits), ""))
			if err != nil {
				t.Fatalf("bad vector %q: %v", line, err)
			}
			out = append(out, b...)
			if comment {
				break
			}
		}
	}
	return out
}
