// SPDX-License-Identifier: Apache-2.0

package scram

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"
)

// TestVector is the example of RFC 7677, section 3.
func TestVector(t *testing.T) {
	a, err := New("user", "pencil")
	if err != nil {
		t.Fatal(err)
	}
	first, _ := a.begin("rOprNGfwEbeRWgbNEkqO")
	if string(first) != "n,,n=user,r=rOprNGfwEbeRWgbNEkqO" {
		t.Errorf("first message %q", first)
	}
	const nonce = "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
	final, err := a.Continue([]byte("r=" + nonce + ",s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"))
	if err != nil || string(final) != "c=biws,r="+nonce+",p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=" {
		t.Errorf("final message %q, %v", final, err)
	}
	if err := a.Finish([]byte("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=")); err != nil {
		t.Error(err)
	}
	if err := a.Finish(nil); !errors.Is(err, ErrMessage) {
		t.Errorf("finished twice: %v", err)
	}
}

func TestServer_wrong(t *testing.T) {
	salt := base64.StdEncoding.EncodeToString([]byte("salt"))
	good := "r=abcdef,s=" + salt + ",i=4096"
	for _, c := range []struct {
		name, first, last string
		err               error
	}{
		{"nonce of another", "r=xyz,s=" + salt + ",i=4096", "", ErrMessage},
		{"nonce without its own part", "r=abc,s=" + salt + ",i=4096", "", ErrMessage},
		{"no salt", "r=abcdef,s=,i=4096", "", ErrMessage},
		{"salt is not base64", "r=abcdef,s=%,i=4096", "", ErrMessage},
		{"too few iterations", "r=abcdef,s=" + salt + ",i=4095", "", ErrMessage},
		{"too many iterations", "r=abcdef,s=" + salt + ",i=99999999999", "", ErrMessage},
		{"iterations are no number", "r=abcdef,s=" + salt + ",i=x", "", ErrMessage},
		{"attribute missing", "r=abcdef,s=" + salt, "", ErrMessage},
		{"attributes in another order", "s=" + salt + ",r=abcdef,i=4096", "", ErrMessage},
		{"mandatory extension", "m=x," + good, "", ErrMessage},
		{"empty", "", "", ErrMessage},
		{"refusal", "e=unknown-user", "", ErrRefused},
		{"no signature", good, "", ErrMessage},
		{"signature is not base64", good, "v=%", ErrMessage},
		{"wrong signature", good, "v=AAAA", ErrServerSignature},
		{"empty signature", good, "v=", ErrServerSignature},
		{"refusal at the end", good, "e=invalid-proof", ErrRefused},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, err := New("user", "secret-password")
			if err != nil {
				t.Fatal(err)
			}
			a.begin("abc")
			_, err = a.Continue([]byte(c.first))
			if c.first == good {
				if err != nil {
					t.Fatal(err)
				}
				err = a.Finish([]byte(c.last))
			}
			if !errors.Is(err, c.err) || strings.Contains(err.Error(), "secret") {
				t.Errorf("got %v, want %v", err, c.err)
			}
		})
	}
	t.Run("out of turn", func(t *testing.T) {
		a, _ := New("user", "password")
		if _, err := a.Continue([]byte(good)); !errors.Is(err, ErrMessage) {
			t.Errorf("got %v", err)
		}
		a.begin("abc")
		if err := a.Finish(nil); !errors.Is(err, ErrMessage) {
			t.Errorf("success before the proof: %v", err)
		}
	})
}

func TestNew(t *testing.T) {
	for _, c := range [][2]string{{"", "x"}, {"a\x00", "x"}, {"a", "x\n"}, {"\xff", "x"}, {"a", "\xff"}} {
		if _, err := New(c[0], c[1]); !errors.Is(err, ErrCredentials) {
			t.Errorf("%q: %v", c, err)
		}
	}
	a, err := New("a=b,c", "pässword")
	if err != nil {
		t.Fatal(err)
	}
	if first, _ := a.begin("n"); string(first) != "n,,n=a=3Db=2Cc,r=n" {
		t.Errorf("first message %q", first)
	}
	for _, format := range []string{"%v", "%+v", "%#v", "%s"} {
		if s := fmt.Sprintf(format, a); s != Method {
			t.Errorf("%s prints %q", format, s)
		}
	}
}
