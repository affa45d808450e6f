// SPDX-License-Identifier: Apache-2.0

package pkcs11

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestParseURI(t *testing.T) {
	o, err := ParseURI("pkcs11:token=My%20token+1;serial=12;manufacturer=M;model=X%3B;slot-id=3;object=%C3%A4;id=%00%a1;type=private?module-path=/usr/lib/x.so&pin-value=1%262")
	if err != nil {
		t.Fatal(err)
	}
	if o.Token.Label != "My token+1" || o.Token.Serial != "12" || o.Token.Manufacturer != "M" || o.Token.Model != "X;" ||
		*o.Token.SlotID != 3 || o.Key.Label != "ä" || string(o.Key.ID) != "\x00\xa1" || o.LibraryPath != "/usr/lib/x.so" || o.Token.PIN != "1&2" {
		t.Errorf("got %+v", o)
	}
	if _, err := ParseURI("PKCS11:"); err != nil {
		t.Error(err)
	}
}

func TestParseURI_pinSource(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pin")
	if err := os.WriteFile(file, []byte("12 34\r\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, source := range []string{file, "file:" + file, "file://" + file, "file://localhost" + file} {
		o, err := ParseURI("pkcs11:?pin-source=" + source)
		if err != nil {
			t.Fatal(err)
		}
		if pin, err := o.Token.PINFunc(context.Background()); err != nil || pin != "12 34" {
			t.Errorf("%s: got a PIN of %d bytes, %v", source, len(pin), err)
		}
	}
	o, err := ParseURI("pkcs11:?pin-source=" + file + "x")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := o.Token.PINFunc(context.Background()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

func TestParseURI_invalid(t *testing.T) {
	for uri, want := range map[string]string{
		"":                                  "begin with",
		"http://x":                          "begin with",
		"pkcs11:token":                      "equals sign",
		"pkcs11:token=a;token=b":            "token occurs twice",
		"pkcs11:token=%4":                   "percent",
		"pkcs11:slot-id=x":                  "slot-id: it is not a number",
		"pkcs11:slot-id=-1":                 "slot-id",
		"pkcs11:type=public":                "private or cert",
		"pkcs11:library-version=3":          `"library-version" is not supported`,
		"pkcs11:pin-value=1":                `"pin-value" is not supported`,
		"pkcs11:?module-name=x":             `"module-name" is not supported`,
		"pkcs11:?pin-source=%7C/bin/x":      "only files",
		"pkcs11:?pin-source=http://x":       "only files",
		"pkcs11:?pin-source=file://host/x":  "this machine",
		"pkcs11:?pin-value=1&pin-source=/x": "exclude",
		"pkcs11:?pin-value=%00":             "zero byte",
		"pkcs11:SECRET1=x":                  redacted,
	} {
		_, err := ParseURI(uri)
		var e *Error
		if !errors.Is(err, ErrInvalidOptions) || !errors.As(err, &e) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v", uri, err)
		}
	}
}

func FuzzParseURI(f *testing.F) {
	f.Add("pkcs11:token=a;object=b;id=%01?module-path=/x&pin-value=1")
	f.Add("pkcs11:?pin-source=file:///x")
	f.Fuzz(func(t *testing.T, uri string) {
		o, err := ParseURI(uri)
		if err == nil && o.Token.PIN != "" && o.Token.PINFunc != nil {
			t.Error("two PINs")
		}
	})
}
