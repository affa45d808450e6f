// SPDX-License-Identifier: Apache-2.0

package tlsctx

import (
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"
)

// almostMarker does what this expression says.
func TestAlmostMarker(t *testing.T) {
	t.Parallel()
	want := regexp.MustCompile(`^[ \t]*[-–—]{1,12}[ \t]*(BEGIN|END)[ \t]*([A-Z0-9 ]*(?:CERTIFICATE|PRIVATE KEY))[ \t]*[-–—]{0,12}[ \t]*\r?$`)
	parts := []string{"-", "—", "–", "----------", " ", "\t", "BEGIN", "END", "CERTIFICATE", "PRIVATE KEY", "RSA ", "é", "\r", "lower"}
	random := rand.New(rand.NewPCG(1, 2))
	matches := 0
	for range 300_000 {
		var b strings.Builder
		b.WriteString(parts[random.IntN(7)]) // otherwise few lines match
		for range random.IntN(8) {
			b.WriteString(parts[random.IntN(len(parts))])
		}
		line := b.String()
		begins, label, ok := almostMarker(line)
		m := want.FindStringSubmatch(line)
		if ok != (m != nil) || ok && (begins != (m[1] == "BEGIN") || label != strings.TrimSpace(m[2])) {
			t.Fatalf("%q: got %v, %q, %v; want %q", line, begins, label, ok, m)
		}
		if ok {
			matches++
		}
	}
	if matches < 1000 {
		t.Errorf("only %d lines match", matches)
	}
}
