// SPDX-License-Identifier: Apache-2.0

package iot

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
)

// CustomAuthorizer holds the input of a custom authorizer of AWS IoT Core about the
// client: its name and a token in the user name, and the password. The service
// hands all of it to a Lambda function, which decides.
//
// The fields are put into the user name as query parameters, each
// percent-encoded exactly once: a value that consists of unreserved characters
// and valid escapes (%41) alone is taken as encoded already. A user name that
// is given as well is kept, together with the parameters that it has.
type CustomAuthorizer struct {
	// Name of the authorizer. Empty for the default authorizer of the endpoint.
	Name string

	// Username is the user name without, or with, query parameters. Empty: that
	// of [WithUsername], if any.
	Username string
	// Password may be any bytes; the Lambda function gets them in base64. Nil:
	// that of [WithPassword], if any.
	Password []byte

	// TokenKeyName, TokenValue and Signature are for authorizers with signing,
	// which need all three, and empty for others. TokenKeyName is the name of
	// the parameter that the authorizer was given when it was made, TokenValue
	// the token itself, and Signature the signature of the token in base64
	// (RSA with SHA-256).
	TokenKeyName string
	TokenValue   string
	Signature    string

	// Refresh, if set, may change the other fields for one attempt to connect:
	// it is called with a copy at each, for instance to get a fresh token. An
	// error fails the attempt.
	Refresh func(ctx context.Context, a *CustomAuthorizer) error
}

// String names the authorizer and nothing secret.
func (a CustomAuthorizer) String() string {
	if a.Name == "" {
		return "default custom authorizer"
	}
	return fmt.Sprintf("custom authorizer %q", a.Name)
}

// Format keeps token, signature and password out of every verb.
func (a CustomAuthorizer) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(a.String())) }

// MarshalText keeps them out of encoders such as encoding/json.
func (a CustomAuthorizer) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// Names of the query parameters.
const (
	paramAuthorizer = "x-amz-customauthorizer-name"
	paramSignature  = "x-amz-customauthorizer-signature"
)

const maxUsername = 65535

// validate checks the fields by themselves. What Refresh
// may still fill in is not missing yet.
func (a *CustomAuthorizer) validate() error {
	if a.Refresh != nil {
		return nil
	}
	_, err := a.UsernameFor("")
	return err
}

// apply puts the fields into a CONNECT.
func (a *CustomAuthorizer) apply(packet *mqtt5.ConnectPacket) error {
	given := ""
	if packet.Username != nil {
		given = *packet.Username
	}
	name, err := a.UsernameFor(given)
	if err != nil {
		return err
	}
	if name != "" {
		packet.Username = &name
	}
	if a.Password != nil {
		if packet.Password != nil && !bytes.Equal(packet.Password, a.Password) {
			return invalid("two different passwords: one in the custom authorizer, one for the CONNECT; give one")
		}
		packet.Password = a.Password
	}
	return nil
}

// UsernameFor returns the user name of a CONNECT for the authorizer: what a
// client that is made in another way has to send. given is a user name that the
// client has besides; it may be empty. The result is a secret if it has a
// token.
//
// The error matches [ErrInvalidOptions] and has no secrets.
func (a *CustomAuthorizer) UsernameFor(given string) (string, error) {
	var problems faults
	base := given
	if a.Username != "" {
		if given != "" && given != a.Username {
			problems.add("two different user names: one in the custom authorizer, one for the CONNECT; give one")
		}
		base = a.Username
	}
	plain, query, _ := strings.Cut(base, "?")
	if strings.Contains(query, "?") {
		problems.add("the user name has two question marks: the service takes only what follows the last one as parameters; percent-encode the others as %%3F")
	}
	signature := a.signature(&problems)
	params := splitQuery(query)
	for _, p := range []struct{ field, name, value string }{
		{"Name", paramAuthorizer, encodeOnce(a.Name)},
		{"Signature", paramSignature, signature},
		{"TokenValue", encodeOnce(a.TokenKeyName), encodeOnce(a.TokenValue)},
	} {
		if p.name == "" || p.value == "" {
			continue
		}
		switch old, ok := params.get(p.name); {
		case !ok:
			params = append(params, p.name+"="+p.value)
		case old != p.value:
			problems.add("the user name has another parameter %s than CustomAuthorizer.%s; give it once", p.name, p.field)
		}
	}
	if err := errors.Join(problems...); err != nil {
		return "", err
	}
	name := plain
	if len(params) > 0 {
		name += "?" + strings.Join(params, "&")
	}
	switch {
	case len(name) > maxUsername:
		return "", invalid("the user name for the custom authorizer has %d bytes, and MQTT allows %d; give a shorter token", len(name), maxUsername)
	case !utf8.ValidString(name):
		return "", invalid("the user name for the custom authorizer is not UTF-8; percent-encode bytes that are not text")
	}
	return name, nil
}

// faults are those of the fields of a CustomAuthorizer.
type faults []error

func (f *faults) add(format string, args ...any) { *f = append(*f, invalid(format, args...)) }

// signature checks the fields of an authorizer with signing, and returns the
// signature as it stands in a user name.
func (a *CustomAuthorizer) signature(problems *faults) string {
	if a.TokenKeyName != "" || a.TokenValue != "" || a.Signature != "" {
		var missing []string
		for _, f := range []struct{ name, value string }{
			{"TokenKeyName", a.TokenKeyName}, {"TokenValue", a.TokenValue}, {"Signature", a.Signature},
		} {
			if f.value == "" {
				missing = append(missing, f.name)
			}
		}
		if missing != nil {
			problems.add("a custom authorizer with signing needs TokenKeyName, TokenValue and Signature, but has no %s; give all three, or for an authorizer without signing none",
				strings.Join(missing, " and no "))
		}
	}
	if strings.HasPrefix(a.Name, paramAuthorizer+"=") {
		problems.add("CustomAuthorizer.Name begins with %q; give the name alone", paramAuthorizer+"=")
	}
	signature := a.Signature
	if strings.HasPrefix(signature, paramSignature+"=") {
		problems.add("CustomAuthorizer.Signature begins with %q; give the signature alone", paramSignature+"=")
	} else if signature != "" {
		var err error
		if signature, err = encodeSignature(signature); err != nil {
			problems.add("CustomAuthorizer.Signature: %w", err)
		}
	}
	if key := a.TokenKeyName; key != "" && strings.HasPrefix(a.TokenValue, key+"=") {
		problems.add("CustomAuthorizer.TokenValue begins with %q; give the value alone", key+"=")
	}
	switch encodeOnce(a.TokenKeyName) {
	case paramAuthorizer, paramSignature:
		problems.add("CustomAuthorizer.TokenKeyName is the name of a parameter of the service; give the one that the authorizer has for its token")
	}
	return signature
}

// queryParams are the parameters of a user name, as they stand there.
type queryParams []string

func splitQuery(query string) queryParams {
	if query == "" {
		return nil
	}
	return strings.Split(query, "&")
}

// get returns the value of the first parameter of that name.
func (q queryParams) get(name string) (string, bool) {
	for _, p := range q {
		if n, v, _ := strings.Cut(p, "="); n == name {
			return v, true
		}
	}
	return "", false
}

// encodeOnce percent-encodes a value unless it is encoded already.
func encodeOnce(v string) string {
	if isEncoded(v) {
		return v
	}
	return percentEncode(v)
}

// encodeSignature percent-encodes a signature in base64, whatever of it is
// encoded already: base64 itself has no percent sign.
func encodeSignature(v string) (string, error) {
	decoded, ok := percentDecode(v)
	if !ok {
		return "", errors.New("it has a percent sign that begins no escape; give it in base64")
	}
	for _, c := range []byte(strings.TrimRight(decoded, "=")) {
		switch {
		case isAlphanumeric(c), c == '+', c == '/':
		case c == ' ':
			return "", errors.New("it has a blank, as base64 gets when a plus sign is decoded as in an HTML form; give it in base64")
		case c == '\n', c == '\r':
			return "", errors.New("it has a line break; give the base64 in one line (with openssl: base64 -A)")
		default:
			return "", errors.New("it is not base64; give it in base64 (letters, digits, +, / and =)")
		}
	}
	return percentEncode(decoded), nil
}

func isAlphanumeric(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

// isUnreserved is RFC 3986, section 2.3.
func isUnreserved(c byte) bool {
	return isAlphanumeric(c) || c == '-' || c == '.' || c == '_' || c == '~'
}

// isEncoded reports whether a value has escapes, and nothing that should be one.
func isEncoded(v string) bool {
	escapes := false
	for i := 0; i < len(v); i++ {
		switch {
		case v[i] == '%' && i+2 < len(v) && isHex(v[i+1]) && isHex(v[i+2]):
			escapes = true
			i += 2
		case !isUnreserved(v[i]):
			return false
		}
	}
	return escapes
}

func percentEncode(v string) string {
	const digits = "0123456789ABCDEF"
	var b strings.Builder
	for i := 0; i < len(v); i++ {
		if c := v[i]; isUnreserved(c) {
			b.WriteByte(c)
		} else {
			b.WriteString(string([]byte{'%', digits[c>>4], digits[c&15]}))
		}
	}
	return b.String()
}

func percentDecode(v string) (string, bool) {
	var b strings.Builder
	for i := 0; i < len(v); i++ {
		if v[i] != '%' {
			b.WriteByte(v[i])
			continue
		}
		if i+2 >= len(v) || !isHex(v[i+1]) || !isHex(v[i+2]) {
			return "", false
		}
		b.WriteByte(unhex(v[i+1])<<4 | unhex(v[i+2]))
		i += 2
	}
	return b.String(), true
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

func unhex(c byte) byte {
	switch {
	case c <= '9':
		return c - '0'
	case c <= 'F':
		return c - 'A' + 10
	}
	return c - 'a' + 10
}

// NewDirectWithCustomAuthorizer makes a client that authenticates with a custom
// authorizer, over MQTT with TLS on port 443. [WithIdentity] adds a client
// certificate, for domains that require both.
func NewDirectWithCustomAuthorizer(endpoint string, a CustomAuthorizer, options ...Option) (*mqtt5.Client, error) {
	return NewClient(endpoint, DirectWithCustomAuthorizer(a), options...)
}

// DirectWithCustomAuthorizer is the method of [NewDirectWithCustomAuthorizer].
func DirectWithCustomAuthorizer(a CustomAuthorizer) Method {
	return Method{func(s *settings, _ string) method {
		s.setAuthorizer(&a)
		return method{}
	}}
}

func (s *settings) setAuthorizer(a *CustomAuthorizer) {
	if s.authorizer != nil {
		s.problem("WithCustomAuthorizer: this constructor has a custom authorizer already; leave the option out")
	}
	s.authorizer = a
}
