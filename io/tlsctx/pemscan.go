// SPDX-License-Identifier: Apache-2.0

package tlsctx

import (
	"bytes"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// pemBlock is a block of PEM text, or what begins like one and cannot be decoded.
type pemBlock struct {
	pem.Block
	number int   // from 1, in the order of the text
	line   int   // of its BEGIN
	err    error // why it cannot be decoded; nil if it was
}

// where names a block for a person.
func (b pemBlock) where() string {
	if b.Type == "" {
		return fmt.Sprintf("block %d (line %d)", b.number, b.line)
	}
	return fmt.Sprintf("block %d (%s, line %d)", b.number, b.Type, b.line)
}

const (
	beginMarker = "-----BEGIN "
	endMarker   = "-----END "
	markerClose = "-----"
)

// pemBlocks returns all blocks of a text.
//
// [pem.Decode] passes over what it cannot decode, and half of a chain is then
// gone without a word. Here, every BEGIN yields a block, decoded or with an
// error. What people's tools produce and has one meaning only is accepted: END
// and BEGIN on one line, a byte order mark anywhere, blanks around lines, any
// line ends, and backslash and n for line breaks. A BEGIN behind other text on
// its line counts only after a quote, a colon or an equals sign, as in JSON or
// a shell, or after an END, whatever is between; a line that begins with # is a
// comment.
func pemBlocks(text []byte) []pemBlock {
	s := &pemScanner{text: text, newline: "\n"}
	if !bytes.ContainsRune(text, '\n') {
		s.newline = "\r"
	}
	for s.next() {
	}
	s.outside(len(text))
	return s.blocks
}

// pemScanner walks through a text.
type pemScanner struct {
	text    []byte
	newline string
	pos     int // everything before belongs to a block or was looked at
	from    int // end of the block before
	line    int // where the line of the last BEGIN that was looked at begins; not before from
	first   int // the first of that line that is not blank
	looked  int // up to where line breaks were looked for
	blocks  []pemBlock

	counted, lines int // line breaks before a position
}

// next handles the next BEGIN. It returns false at the end of the text.
func (s *pemScanner) next() bool {
	i := bytes.Index(s.text[s.pos:], []byte(beginMarker))
	if i < 0 {
		return false
	}
	start := s.pos + i
	s.pos = start + len(beginMarker)
	if !s.opens(start) {
		return true
	}
	s.outside(start)
	b := pemBlock{line: s.lineOf(start)}
	rest := s.text[s.pos:]
	label, ok := cutLabel(rest)
	if !ok {
		b.err = errors.New("its BEGIN line does not end in five hyphens")
		s.add(b, s.pos)
		return true
	}
	b.Type = label
	body := s.pos + bytes.Index(rest, []byte(markerClose)) + len(markerClose)
	s.pos = body
	limit := len(s.text)
	if begin := bytes.Index(s.text[body:], []byte(beginMarker)); begin >= 0 {
		limit = body + begin
	}
	end := bytes.Index(s.text[body:limit], []byte(endMarker))
	if end < 0 {
		b.err = errors.New("it has no END line: the text was cut off")
		s.add(b, body)
		return true
	}
	end += body
	tail := s.text[end+len(endMarker):]
	closing, ok := cutLabel(tail)
	switch {
	case !ok:
		b.err = errors.New("its END line does not end in five hyphens")
		s.add(b, end+len(endMarker))
		return true
	case closing != label:
		b.err = fmt.Errorf("it begins as %s and ends as %s", label, closing)
	case strings.HasPrefix(label, "PGP "): // has a check sum behind its base64, and is of no use here
	default:
		b.Headers, b.Bytes, b.err = s.decode(body, end)
	}
	s.add(b, end+len(endMarker)+bytes.Index(tail, []byte(markerClose))+len(markerClose))
	return true
}

// add appends a block that ends at end.
func (s *pemScanner) add(b pemBlock, end int) {
	b.number = len(s.blocks) + 1
	s.blocks = append(s.blocks, b)
	s.pos, s.from = end, end
}

// opens reports whether a BEGIN at start is one, and not part of a sentence or
// of a comment.
func (s *pemScanner) opens(start int) bool {
	// What was looked at before has no line break behind line, so that many a
	// BEGIN on one line does not take time by the square of its length.
	s.line = max(s.line, s.from)
	if i := bytes.LastIndexAny(s.text[max(s.line, s.looked):start], "\r\n"); i >= 0 {
		s.line = max(s.line, s.looked) + i + 1
	}
	s.looked = start
	if s.line == s.from && s.from > 0 {
		return true // such as END, comma, BEGIN
	}
	s.first = max(s.first, s.line)
	s.first = start - len(bytes.TrimLeftFunc(s.text[s.first:start], isBlank))
	lead := bytes.TrimRightFunc(s.text[s.first:start], isBlank)
	if len(lead) == 0 || bytes.HasSuffix(lead, []byte(`\n`)) || bytes.HasSuffix(lead, []byte(`\r`)) {
		return true
	}
	return lead[0] != '#' && bytes.IndexByte([]byte("\"'`=:"), lead[len(lead)-1]) >= 0
}

func isBlank(r rune) bool { return unicode.IsSpace(r) || r == '\ufeff' }

// outside looks at the text between two blocks for lines that were meant as
// BEGIN or END, and for the contents of a block that has lost both.
func (s *pemScanner) outside(end int) {
	contents, first := 0, 0 // lines of base64 one after the other, and where they begin
	for pos := s.from; pos < end; {
		line, _, _ := bytes.Cut(s.text[pos:end], []byte("\n"))
		begins, label, ok := almostMarker(string(line))
		if !ok {
			switch {
			case contents >= fewestContents:
			case !looksLikeContents(line):
				contents = 0
			default:
				if contents == 0 {
					first = pos
				}
				contents++
			}
			pos += len(line) + 1
			continue
		}
		b := pemBlock{line: s.lineOf(pos), number: len(s.blocks) + 1}
		b.Type = label
		if begins {
			b.err = errors.New("its BEGIN line needs five hyphens and a space before the name, and five hyphens after it")
		} else {
			b.err = errors.New("its BEGIN line is missing or damaged")
		}
		s.blocks = append(s.blocks, b)
		return
	}
	if contents >= fewestContents {
		s.blocks = append(s.blocks, pemBlock{line: s.lineOf(first), number: len(s.blocks) + 1,
			err: errors.New("its BEGIN and END lines are missing or damaged")})
	}
}

// fewestContents is how many lines of base64 outside of a block are no
// coincidence.
const fewestContents = 2

// looksLikeContents reports whether a line is one of the contents of a block:
// they have 64 characters, or 76.
func looksLikeContents(line []byte) bool {
	line = bytes.Trim(line, " \t\r")
	return len(line) >= 60 && len(line) <= 80 && !bytes.ContainsFunc(line, func(r rune) bool {
		return (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '+' && r != '/'
	})
}

// almostMarker recognizes a BEGIN or END line of a certificate or key as
// editors, word processors and careless cutting leave it. Package regexp would
// add 200 KB to every program.
func almostMarker(line string) (begins bool, label string, ok bool) {
	const blanks = " \t"
	line = strings.Trim(strings.TrimSuffix(line, "\r"), blanks)
	name := strings.TrimLeft(line, hyphens)
	if n := utf8.RuneCountInString(line[:len(line)-len(name)]); n < 1 || n > maxHyphens {
		return false, "", false
	}
	name = strings.TrimLeft(name, blanks)
	label, begins = strings.CutPrefix(name, "BEGIN")
	if !begins {
		if label, ok = strings.CutPrefix(name, "END"); !ok {
			return false, "", false
		}
	}
	trimmed := strings.TrimRight(label, hyphens)
	if utf8.RuneCountInString(label[len(trimmed):]) > maxHyphens {
		return false, "", false
	}
	label = strings.Trim(trimmed, blanks)
	if !strings.HasSuffix(label, "CERTIFICATE") && !strings.HasSuffix(label, "PRIVATE KEY") {
		return false, "", false
	}
	for _, c := range label {
		if (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != ' ' {
			return false, "", false
		}
	}
	return begins, label, true
}

const (
	hyphens    = "-–—" // and the dashes that word processors make of them
	maxHyphens = 12
)

// cutLabel returns the name between "-----BEGIN " and the hyphens that follow
// on the same line.
func cutLabel(text []byte) (string, bool) {
	end := bytes.Index(text, []byte(markerClose))
	if end < 0 || bytes.ContainsAny(text[:end], "\r\n") {
		return "", false
	}
	return strings.TrimSpace(string(text[:end])), true
}

var byteOrderMark = []byte("\xef\xbb\xbf")

// decode returns what the text between BEGIN and END holds.
func (s *pemScanner) decode(from, to int) (map[string]string, []byte, error) {
	headers := map[string]string{}
	var data []byte
	pos := from
	for pos < to {
		line, next := cutLine(s.text[pos:to])
		at := pos
		pos += next
		trimmed := bytes.TrimSpace(bytes.ReplaceAll(line, byteOrderMark, nil))
		if key, value, ok := bytes.Cut(trimmed, []byte(":")); ok && len(data) == 0 {
			headers[string(bytes.TrimSpace(key))] = string(bytes.TrimSpace(value))
			continue
		}
		for _, c := range trimmed {
			switch {
			case c == ' ' || c == '\t':
			case isBase64(c):
				data = append(data, c)
			default:
				return nil, nil, fmt.Errorf("line %d has a character that is not base64", s.lineOf(at+bytes.IndexByte(line, c)))
			}
		}
	}
	if len(data) == 0 {
		return nil, nil, errors.New("it is empty")
	}
	if len(data)%4 != 0 || bytes.IndexByte(bytes.TrimRight(data, "="), '=') >= 0 {
		return nil, nil, errors.New("its base64 is cut off or has characters too many")
	}
	out := make([]byte, base64.StdEncoding.DecodedLen(len(data)))
	n, err := base64.StdEncoding.Decode(out, data)
	if err != nil {
		// The error of the decoder has a position alone, which means nothing
		// without the line breaks.
		return nil, nil, errors.New("its base64 is damaged")
	}
	return headers, out[:n], nil
}

// cutLine returns the first line, and how many bytes it takes with its end: a
// line break, or backslash and r or n.
func cutLine(text []byte) (line []byte, next int) {
	for i, c := range text {
		switch {
		case c == '\n' || c == '\r':
			return text[:i], i + 1
		case c == '\\' && i+1 < len(text) && (text[i+1] == 'n' || text[i+1] == 'r'):
			return text[:i], i + 2
		}
	}
	return text, len(text)
}

func isBase64(c byte) bool {
	return 'A' <= c && c <= 'Z' || 'a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '+' || c == '/' || c == '='
}

// lineOf returns the number of the line, from 1. It is fast for positions that grow.
func (s *pemScanner) lineOf(pos int) int {
	if pos < s.counted {
		s.counted, s.lines = 0, 0
	}
	s.lines += bytes.Count(s.text[s.counted:pos], []byte(s.newline))
	s.counted = pos
	return 1 + s.lines
}
