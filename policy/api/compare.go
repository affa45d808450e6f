// SPDX-License-Identifier: Apache-2.0

package api

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// A Change is a feature that differs between two texts.
type Change struct {
	Package string
	Old     string // "" if the feature is new
	New     string // "" if the feature is gone

	// Breaking reports that programs which compile with the old API may not
	// compile with the new one: a feature is gone or changed, or an interface
	// that others can implement has one more method.
	Breaking bool
}

// String names the change.
func (c Change) String() string {
	kind := "compatible"
	if c.Breaking {
		kind = "BREAKING"
	}
	switch {
	case c.Old == "":
		return fmt.Sprintf("%s: %s: added %s", kind, c.Package, c.New)
	case c.New == "":
		return fmt.Sprintf("%s: %s: removed %s", kind, c.Package, c.Old)
	}
	return fmt.Sprintf("%s: %s: changed %s\n\tto %s", kind, c.Package, c.Old, c.New)
}

// Compare returns the differences between two texts that [Read] returned, in the
// order of packages and names.
func Compare(before, after string) []Change {
	old, now := parse(before), parse(after)
	keys := slices.Collect(maps.Keys(old))
	for k := range now {
		if _, ok := old[k]; !ok {
			keys = append(keys, k)
		}
	}
	slices.SortFunc(keys, func(a, b key) int {
		if a.pkg != b.pkg {
			return strings.Compare(a.pkg, b.pkg)
		}
		return strings.Compare(a.feature, b.feature)
	})
	var changes []Change
	for _, k := range keys {
		if old[k] == now[k] {
			continue
		}
		c := Change{Package: k.pkg, Old: old[k], New: now[k]}
		c.Breaking = c.Old != "" || c.addsMethod(old, k)
		changes = append(changes, c)
	}
	return changes
}

// addsMethod reports whether a new feature is a method that implementations of
// an old interface lack.
func (c Change) addsMethod(old map[key]string, k key) bool {
	owner, _, ok := strings.Cut(k.feature, ".")
	if !ok || !strings.Contains(c.New, " interface, ") {
		return false
	}
	was := old[key{k.pkg, owner}]
	return was != "" && !strings.HasSuffix(was, "unexported methods")
}

// key identifies a feature, whatever its type: "Client", "Client.Start".
type key struct{ pkg, feature string }

func parse(text string) map[key]string {
	features := map[key]string{}
	pkg := ""
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if path, ok := strings.CutPrefix(line, "package "); ok {
			pkg = path
		} else if line != "" {
			features[key{pkg, identifier(line)}] = line
		}
	}
	return features
}

// identifier returns the qualified name of the feature in a line.
func identifier(line string) string {
	kind, rest, _ := strings.Cut(line, " ")
	if kind == "method" {
		receiver, name, _ := strings.Cut(strings.TrimLeft(rest, "(*"), ") ")
		return receiver + "." + word(name)
	}
	owner := word(rest)
	if kind != "type" {
		return owner
	}
	for _, separator := range []string{" struct, embedded ", " struct, ", " interface, "} {
		if before, member, ok := strings.Cut(rest, separator); ok && word(before) == before {
			if separator == " struct, embedded " {
				return owner + "." + member[strings.LastIndexAny(member, "./*")+1:]
			}
			return owner + "." + word(member)
		}
	}
	return owner
}

// word returns the identifier that a text starts with.
func word(text string) string {
	if i := strings.IndexAny(text, " ([{"); i >= 0 {
		return text[:i]
	}
	return text
}
