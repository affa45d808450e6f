// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"net/textproto"
	"slices"
	"strconv"
	"strings"

	"github.com/gocrt/aws-iot-device-sdk-go/http/internal/exchange"
)

const (
	// maxHeaderBytes bounds the header of one answer.
	maxHeaderBytes = 64 << 10
	// maxDiscardBody bounds the bytes read to keep a connection after a 407.
	maxDiscardBody = 64 << 10
	// maxInformational bounds the 1xx answers before the real one.
	maxInformational = 5
)

// response is the header of an answer to CONNECT. The body, if any, is still
// in the reader; after a 2xx there is none, whatever the header says (RFC
// 9110 section 9.3.6).
type response struct {
	minor  int // HTTP/1.minor
	status int
	reason string
	header http.Header
}

// readResponse reads an answer and not one byte more from br. It skips
// informational ones.
func readResponse(br *bufio.Reader) (*response, error) {
	first, err := br.Peek(1)
	if err != nil {
		return nil, silentError{err}
	}
	switch first[0] {
	case 0x15, 0x16: // an alert, a handshake message
		return nil, errSpeaksTLS
	case socksVersion:
		return nil, errSpeaksSOCKS5
	}
	budget := maxHeaderBytes
	for range maxInformational {
		r, err := readHeader(br, &budget)
		if err != nil {
			return nil, err
		}
		if r.status == http.StatusSwitchingProtocols || r.status >= 200 {
			return r, nil
		}
	}
	return nil, fmt.Errorf("%w: too many informational responses", ErrMalformedResponse)
}

func readHeader(br *bufio.Reader, budget *int) (*response, error) {
	line, err := readLine(br, budget)
	if err != nil {
		return nil, err
	}
	r, err := parseStatusLine(line)
	if err != nil {
		return nil, err
	}
	r.header = http.Header{}
	last := ""
	for {
		line, err := readLine(br, budget)
		if err != nil {
			return nil, err
		}
		if line == "" {
			return r, nil
		}
		// Lines that break the rules are left out: what they say does not
		// matter to a tunnel, and the proxies that send them work with other
		// clients.
		if line[0] == ' ' || line[0] == '\t' { // obsolete folding: still seen in challenges
			line = textproto.TrimString(line)
			if v := r.header[last]; len(v) > 0 && exchange.IsFieldValue(line) {
				v[len(v)-1] += " " + line
			}
			continue
		}
		name, value, ok := strings.Cut(line, ":")
		value = textproto.TrimString(value)
		last = ""
		if !ok || !exchange.IsToken(name) || !exchange.IsFieldValue(value) {
			continue
		}
		last = http.CanonicalHeaderKey(name)
		r.header[last] = append(r.header[last], value)
	}
}

// readLine returns a line without its end, and takes its length off budget.
func readLine(br *bufio.Reader, budget *int) (string, error) {
	var long []byte
	for {
		part, err := br.ReadSlice('\n')
		if *budget -= len(part); *budget < 0 {
			return "", ErrHeaderTooLarge
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			long = append(long, part...)
			continue
		}
		if err != nil {
			return "", err
		}
		if long != nil {
			part = append(long, part...)
		}
		return strings.TrimSuffix(string(part[:len(part)-1]), "\r"), nil
	}
}

// parseStatusLine accepts HTTP/1.0 and HTTP/1.1 with or without a reason.
func parseStatusLine(line string) (*response, error) {
	proto, rest, _ := strings.Cut(line, " ")
	code, reason, _ := strings.Cut(rest, " ")
	r := &response{reason: exchange.Printable(reason)}
	switch proto {
	case "HTTP/1.0":
	case "HTTP/1.1":
		r.minor = 1
	default:
		return nil, fmt.Errorf("%w: not an HTTP/1 status line", ErrMalformedResponse)
	}
	n, err := strconv.ParseUint(code, 10, 16)
	if err != nil || len(code) != 3 || n < 100 {
		return nil, fmt.Errorf("%w: invalid status code", ErrMalformedResponse)
	}
	r.status = int(n)
	return r, nil
}

// keepAlive reports whether the proxy promises to read another request.
func (r *response) keepAlive() bool {
	has := func(token string) bool {
		return exchange.HasToken(r.header["Connection"], token) ||
			exchange.HasToken(r.header["Proxy-Connection"], token)
	}
	if has("close") {
		return false
	}
	return r.minor > 0 || has("keep-alive")
}

var errBodyUnbounded = errors.New("body has no usable length")

// discardBody reads past the body of an answer that is not a 2xx.
func (r *response) discardBody(br *bufio.Reader) error {
	if te := r.header["Transfer-Encoding"]; len(te) > 0 {
		if len(te) != 1 || !strings.EqualFold(te[0], "chunked") {
			return errBodyUnbounded
		}
		n, err := io.Copy(io.Discard, io.LimitReader(httputil.NewChunkedReader(br), maxDiscardBody))
		if err != nil {
			return err
		}
		if n == maxDiscardBody {
			return errBodyUnbounded
		}
		for budget := maxHeaderBytes; ; { // trailers
			line, err := readLine(br, &budget)
			if err != nil || line == "" {
				return err
			}
		}
	}
	cl := r.header["Content-Length"]
	if len(cl) != 1 {
		return errBodyUnbounded
	}
	n, err := strconv.ParseUint(cl[0], 10, 32)
	if err != nil || n > maxDiscardBody {
		return errBodyUnbounded
	}
	_, err = io.CopyN(io.Discard, br, int64(n))
	return err
}

// offers reports whether the challenge names the authentication scheme. A
// challenge that names none at all, which is against the rules, is taken as an offer.
func (r *response) offers(scheme string) bool {
	schemes := r.schemes()
	return len(schemes) == 0 || slices.ContainsFunc(schemes, func(s string) bool { return strings.EqualFold(s, scheme) })
}

// diagnostics returns the headers worth showing to whoever looks for the cause.
func (r *response) diagnostics() http.Header {
	out := http.Header{}
	for _, name := range []string{
		"Date", "Location", "Proxy-Authenticate", "Proxy-Status", "Retry-After", "Server", "Via", "X-Squid-Error",
	} {
		for _, v := range r.header[name] {
			if name == "Location" {
				v = exchange.WithoutSecrets(v)
			}
			if len(out[name]) < 8 && len(v) <= 1024 {
				out[name] = append(out[name], v)
			}
		}
	}
	return out
}
