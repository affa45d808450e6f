// SPDX-License-Identifier: Apache-2.0

package pkcs11

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strconv"
	"strings"
)

const scheme = "pkcs11:"

// ParseURI reads a PKCS #11 URI (RFC 7512), such as
//
//	pkcs11:token=device;object=mqtt;type=private?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=file:/etc/pin
//
// It understands the attributes token, serial, manufacturer, model, slot-id,
// object, id and type (private or cert) of the path, and module-path, pin-value
// and pin-source (a file) of the query. The others say something that this
// package would have to ignore; they are an error, as is an attribute that
// occurs twice. A PIN in a URI is easily logged by accident by what reads it
// before this package: prefer pin-source.
//
// Errors are of type [*Error] with [ErrInvalidOptions] and do not contain the URI.
func ParseURI(uri string) (Options, error) {
	o, err := parseURI(uri)
	if err != nil {
		return Options{}, &Error{Op: "parse URI", Err: fmt.Errorf("%w: %w", ErrInvalidOptions, err)}
	}
	return o, nil
}

func parseURI(uri string) (Options, error) {
	var o Options
	if len(uri) < len(scheme) || !strings.EqualFold(uri[:len(scheme)], scheme) {
		return o, errors.New("it does not begin with the scheme pkcs11")
	}
	path, query, _ := strings.Cut(uri[len(scheme):], "?")
	attributes := map[string]func(string) error{
		"token":        text(&o.Token.Label),
		"serial":       text(&o.Token.Serial),
		"manufacturer": text(&o.Token.Manufacturer),
		"model":        text(&o.Token.Model),
		"object":       text(&o.Key.Label),
		"id":           func(v string) error { o.Key.ID = []byte(v); return nil },
		"slot-id": func(v string) error {
			n, err := strconv.ParseUint(v, 10, strconv.IntSize)
			if err != nil {
				return errors.New("it is not a number")
			}
			id := uint(n)
			o.Token.SlotID = &id
			return nil
		},
		"type": func(v string) error {
			if v != "private" && v != "cert" {
				return errors.New("private or cert is meant here")
			}
			return nil
		},
	}
	if err := parseAttributes(path, ";", attributes); err != nil {
		return o, err
	}
	attributes = map[string]func(string) error{
		"module-path": text(&o.LibraryPath),
		"pin-value":   func(v string) error { o.Token.PIN = PIN(v); return nil },
		"pin-source": func(v string) (err error) {
			o.Token.PINFunc, err = pinFromFile(v)
			return err
		},
	}
	if err := parseAttributes(query, "&", attributes); err != nil {
		return o, err
	}
	if err := o.Token.validate(); err != nil {
		return o, errors.New("pin-value and pin-source exclude each other, and a PIN has no zero byte")
	}
	return o, nil
}

func text(to *string) func(string) error {
	return func(v string) error { *to = v; return nil }
}

func parseAttributes(s, separator string, known map[string]func(string) error) error {
	if s == "" {
		return nil
	}
	seen := map[string]bool{}
	for _, part := range strings.Split(s, separator) {
		name, value, ok := strings.Cut(part, "=")
		set := known[name]
		switch {
		case !ok:
			// The part may be half of a PIN, so it is not printed.
			return errors.New("a part of it has no equals sign")
		case set == nil:
			return fmt.Errorf("the attribute %q is not supported here", printable(name))
		case seen[name]:
			return fmt.Errorf("the attribute %s occurs twice", name)
		}
		seen[name] = true
		// A plus sign means itself.
		value, err := url.PathUnescape(value)
		if err != nil {
			return fmt.Errorf("the value of %s: a percent sign is not followed by two hexadecimal digits", name)
		}
		if err := set(value); err != nil {
			return fmt.Errorf("the value of %s: %w", name, err)
		}
	}
	return nil
}

// printable returns a name if it can be that of an attribute. Anything else
// could be a misplaced secret.
func printable(name string) string {
	for _, r := range name {
		if r != '-' && r != '_' && (r < 'a' || r > 'z') {
			return redacted
		}
	}
	return name
}

// pinFromFile reads the PIN from a file at every login. Line ends after it are
// not part of it.
func pinFromFile(source string) (func(context.Context) (PIN, error), error) {
	file := source
	if rest, ok := strings.CutPrefix(source, "file:"); ok {
		file = rest
		if rest, ok := strings.CutPrefix(rest, "//"); ok {
			// file://host/path: only this machine.
			host, path, _ := strings.Cut(rest, "/")
			if host != "" && host != "localhost" {
				return nil, errors.New("only files of this machine are supported")
			}
			file = "/" + path
		}
	}
	if file == "" || strings.HasPrefix(file, "|") || strings.Contains(file, "://") {
		return nil, errors.New("only files are supported")
	}
	return func(context.Context) (PIN, error) {
		data, err := os.ReadFile(file)
		if err != nil {
			return "", err
		}
		return PIN(bytes.TrimRight(data, "\r\n")), nil
	}, nil
}
