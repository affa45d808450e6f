// SPDX-License-Identifier: Apache-2.0

package certstore

import (
	"errors"
	"runtime"
	"strings"
	"testing"
)

const thumbprint = "A11F8A9B5DF5B98BA3508FBCA575D09570E0D2C6"

func TestParsePath(t *testing.T) {
	t.Parallel()
	spaced := "a1 1f 8a 9b 5d f5 b9 8b a3 50 8f bc a5 75 d0 95 70 e0 d2 c6"
	for path, want := range map[string]string{
		`CurrentUser\MY\` + thumbprint:                           `CurrentUser\MY\` + thumbprint,
		`currentuser\my\` + strings.ToLower(thumbprint):          `CurrentUser\my\` + thumbprint,
		`LocalMachine/WebHosting/` + thumbprint:                  `LocalMachine\WebHosting\` + thumbprint,
		`Cert:\LocalMachine\My\` + thumbprint:                    `LocalMachine\My\` + thumbprint,
		"CurrentUser\\MY\\\u200e" + spaced:                       `CurrentUser\MY\` + thumbprint,
		`CurrentUser\MY\` + strings.ReplaceAll(spaced, " ", ":"): `CurrentUser\MY\` + thumbprint,
		" CurrentUser \\ MY \\ " + thumbprint + "\n":             `CurrentUser\MY\` + thumbprint,
		`LocalMachineGroupPolicy\MY\` + thumbprint:               `LocalMachineGroupPolicy\MY\` + thumbprint,
		`Services\Some Service` + "\\" + thumbprint:              `Services\Some Service\` + thumbprint,
	} {
		p, err := ParsePath(path)
		if err != nil || p.String() != want {
			t.Errorf("%q: %v, %v; want %s", path, p, err, want)
			continue
		}
		if again, err := ParsePath(p.String()); err != nil || again != p {
			t.Errorf("%v does not come back: %v, %v", p, again, err)
		}
	}
	for path, hint := range map[string]string{
		"":                                    "three parts",
		thumbprint:                            "three parts",
		`CurrentUser\` + thumbprint:           "three parts",
		`CurrentUser\MY\x\` + thumbprint:      "three parts",
		`C:\device\` + thumbprint:             "no location",
		`Nobody\MY\` + thumbprint:             "CurrentUser, LocalMachine",
		`CurrentUser\ \` + thumbprint:         "normally MY",
		"CurrentUser\\M\x00Y\\" + thumbprint:  "normally MY",
		`CurrentUser\MY\`:                     "40 hexadecimal digits",
		`CurrentUser\MY\` + thumbprint[:38]:   "40 hexadecimal digits",
		`CurrentUser\MY\` + thumbprint + "00": "40 hexadecimal digits",
		`CurrentUser\MY\g` + thumbprint[1:]:   "40 hexadecimal digits",
	} {
		_, err := ParsePath(path)
		if !errors.Is(err, ErrPath) || !strings.Contains(err.Error(), hint) {
			t.Errorf("%q: %v, want %q", path, err, hint)
		}
	}
}

func TestLocation_String(t *testing.T) {
	t.Parallel()
	if s := LocalMachine.String() + " " + Location(7).String(); s != "LocalMachine Location(0x7)" {
		t.Error(s)
	}
}

func TestOpen_notHere(t *testing.T) {
	t.Parallel()
	_, err := Open(`CurrentUser\MY\` + thumbprint)
	e := (*Error)(nil)
	if !errors.As(err, &e) || e.Stage() != "TLS" || !strings.Contains(err.Error(), `CurrentUser\MY\`+thumbprint) {
		t.Errorf("got %v", err)
	}
	if want := ErrUnsupported; runtime.GOOS != "windows" && !errors.Is(err, want) {
		t.Errorf("got %v, want %v", err, want)
	}
	if want := ErrNotFound; runtime.GOOS == "windows" && !errors.Is(err, want) {
		t.Errorf("got %v, want %v", err, want)
	}
	if _, err := Open("nonsense"); !errors.Is(err, ErrPath) {
		t.Errorf("got %v", err)
	}
}

func FuzzParsePath(f *testing.F) {
	f.Add(`CurrentUser\MY\` + thumbprint)
	f.Add(`cert:/LocalMachine/My/` + thumbprint)
	f.Add(`\\`)
	f.Fuzz(func(t *testing.T, path string) {
		p, err := ParsePath(path)
		if err != nil {
			return
		}
		if again, err := ParsePath(p.String()); err != nil || again != p {
			t.Fatalf("%q gives %v, which gives %v, %v", path, p, again, err)
		}
	})
}
