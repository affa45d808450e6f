// SPDX-License-Identifier: Apache-2.0

package certstore

import (
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"unicode"
)

// Location is where Windows keeps a set of certificate stores. The values are
// those of the Windows API.
type Location uint32

// The locations that a [Path] can name.
const (
	CurrentUser             Location = 0x10000
	LocalMachine            Location = 0x20000
	CurrentService          Location = 0x40000
	Services                Location = 0x50000
	Users                   Location = 0x60000
	CurrentUserGroupPolicy  Location = 0x70000
	LocalMachineGroupPolicy Location = 0x80000
	LocalMachineEnterprise  Location = 0x90000
)

// locations are their names, in the order in which errors list them.
var locations = []struct {
	location Location
	name     string
}{
	{CurrentUser, "CurrentUser"},
	{LocalMachine, "LocalMachine"},
	{CurrentService, "CurrentService"},
	{Services, "Services"},
	{Users, "Users"},
	{CurrentUserGroupPolicy, "CurrentUserGroupPolicy"},
	{LocalMachineGroupPolicy, "LocalMachineGroupPolicy"},
	{LocalMachineEnterprise, "LocalMachineEnterprise"},
}

// String returns the name as it appears in a path.
func (l Location) String() string {
	for _, e := range locations {
		if e.location == l {
			return e.name
		}
	}
	return fmt.Sprintf("Location(%#x)", uint32(l))
}

// Path names a certificate in a store.
type Path struct {
	// Location is where the store is.
	Location Location
	// Store is the name of the store. Certificates with private keys are in MY,
	// which Windows displays as "Personal".
	Store string
	// Thumbprint is the SHA-1 hash of the certificate in DER form.
	Thumbprint [sha1.Size]byte
}

// String returns the path in the form that [ParsePath] reads.
func (p Path) String() string {
	return p.Location.String() + `\` + p.Store + `\` + strings.ToUpper(hex.EncodeToString(p.Thumbprint[:]))
}

// ParsePath reads a path of the form Location\Store\Thumbprint. Case does not
// matter. The prefix Cert:\ of PowerShell, forward slashes, and in the
// thumbprint the blanks, colons and invisible characters that come with copying
// it from a window, are tolerated. Errors are of type [*Error] and wrap
// [ErrPath].
func ParsePath(path string) (Path, error) {
	bad := func(hint string, args ...any) (Path, error) {
		return Path{}, &Error{Path: path, Err: ErrPath, Hint: fmt.Sprintf(hint, args...)}
	}
	clean := strings.TrimSpace(strings.ReplaceAll(path, "/", `\`))
	if len(clean) >= 5 && strings.EqualFold(clean[:5], "cert:") {
		clean = strings.TrimLeft(clean[5:], `\`)
	}
	parts := strings.Split(clean, `\`)
	if len(parts) != 3 {
		return bad(`a path has three parts: CurrentUser\MY\thumbprint`)
	}
	i := slices.IndexFunc(locations, func(e struct {
		location Location
		name     string
	}) bool {
		return strings.EqualFold(e.name, strings.TrimSpace(parts[0]))
	})
	if i < 0 {
		var names []string
		for _, e := range locations {
			names = append(names, e.name)
		}
		return bad("%q is no location; there are %s", parts[0], strings.Join(names, ", "))
	}
	p := Path{Location: locations[i].location, Store: strings.TrimSpace(parts[1])}
	if p.Store == "" || strings.ContainsRune(p.Store, 0) {
		return bad("the name of the store is missing: it is normally MY")
	}
	digits := strings.Map(func(r rune) rune {
		if r == ':' || unicode.IsSpace(r) || unicode.Is(unicode.Cf, r) {
			return -1
		}
		return r
	}, parts[2])
	hash, err := hex.DecodeString(digits)
	if err != nil || len(hash) != sha1.Size {
		return bad("a thumbprint has 40 hexadecimal digits, and this is %q", digits)
	}
	copy(p.Thumbprint[:], hash)
	return p, nil
}
