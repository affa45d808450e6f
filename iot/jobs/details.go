// SPDX-License-Identifier: Apache-2.0

package jobs

import (
	"fmt"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

var detailKeys = regexp.MustCompile(`^[a-zA-Z0-9:_-]{1,128}$`)

// maxDetail is the length of a status detail in characters.
const maxDetail = 1024

// checkDetails applies the limits of the service.
func checkDetails(details map[string]string) error {
	for key, value := range details {
		if !detailKeys.MatchString(key) {
			return fmt.Errorf("%w: status detail %q: 1 to 128 letters, digits, ':', '_' or '-'", ErrInvalidArgument, key)
		}
		if n := utf8.RuneCountInString(value); n < 1 || n > maxDetail {
			return fmt.Errorf("%w: status detail %q has %d characters, want 1 to %d", ErrInvalidArgument, key, n, maxDetail)
		}
		if !utf8.ValidString(value) || strings.ContainsFunc(value, unicode.IsControl) {
			return fmt.Errorf("%w: status detail %q has control characters or is not UTF-8", ErrInvalidArgument, key)
		}
	}
	return nil
}

// detail sets a detail unless its value is empty, which the service refuses.
func detail(details map[string]string, key, value string) {
	if value != "" {
		details[key] = value
	}
}

// printable replaces control characters by blanks, and bytes that are not UTF-8.
func printable(s string) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD")))
}

// firstChars returns as much of a text as a detail has room for.
func firstChars(s string) string {
	s = printable(s)
	n := 0
	for i := range s {
		if n == maxDetail {
			return s[:i]
		}
		n++
	}
	return s
}

// lastChars returns as much of the end of a text as a detail has room for.
func lastChars(b []byte) string {
	s := printable(string(b))
	for n := utf8.RuneCountInString(s) - maxDetail; n > 0; n-- {
		_, size := utf8.DecodeRuneInString(s)
		s = s[size:]
	}
	return s
}
