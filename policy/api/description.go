// SPDX-License-Identifier: Apache-2.0

package api

import (
	"fmt"
	"go/types"
	"maps"
	"slices"
	"strings"
)

// description collects the features of packages.
type description struct {
	pkg       *types.Package // whose types are written without its path
	features  []string
	packages  map[string][]string
	mentioned map[*types.TypeName]bool // exported types of internal packages
}

func (d *description) flush(path string) {
	if len(d.features) == 0 {
		return
	}
	if d.packages == nil {
		d.packages = map[string][]string{}
	}
	d.packages[path] = append(d.packages[path], d.features...)
}

func (d *description) text() string {
	var b strings.Builder
	for i, path := range slices.Sorted(maps.Keys(d.packages)) {
		if i > 0 {
			b.WriteByte('\n')
		}
		fmt.Fprintf(&b, "package %s\n", path)
		lines := slices.Compact(slices.Sorted(slices.Values(d.packages[path])))
		for _, line := range lines {
			b.WriteString(line + "\n")
		}
	}
	return b.String()
}

func (d *description) add(format string, args ...any) {
	d.features = append(d.features, fmt.Sprintf(format, args...))
}

// object adds a name of a package, and what belongs to it.
func (d *description) object(obj types.Object) {
	switch obj := obj.(type) {
	case *types.Const:
		d.add("const %s %s = %s", obj.Name(), d.typ(obj.Type()), obj.Val().ExactString())
	case *types.Var:
		d.add("var %s %s", obj.Name(), d.typ(obj.Type()))
	case *types.Func:
		d.add("func %s%s", obj.Name(), d.signature(obj.Signature()))
	case *types.TypeName:
		d.typeName(obj)
	}
}

func (d *description) typeName(obj *types.TypeName) {
	name := obj.Name()
	if alias, ok := obj.Type().(*types.Alias); ok && obj.IsAlias() {
		d.add("type %s%s = %s", name, d.typeParams(alias.TypeParams()), d.typ(types.Unalias(alias)))
		return
	}
	named, ok := obj.Type().(*types.Named)
	if !ok {
		d.add("type %s = %s", name, d.typ(obj.Type()))
		return
	}
	params := d.typeParams(named.TypeParams())
	switch u := named.Underlying().(type) {
	case *types.Struct:
		comparable := ""
		if !types.Comparable(u) {
			comparable = " // not comparable"
		}
		d.add("type %s%s struct%s", name, params, comparable)
		d.fields(name, u)
	case *types.Interface:
		d.add("type %s%s interface%s", name, params, d.sealed(u))
		for m := range u.Methods() {
			if m.Exported() {
				d.add("type %s interface, %s%s", name, m.Name(), d.signature(m.Signature()))
			}
		}
		for e := range u.EmbeddedTypes() {
			if _, ok := e.Underlying().(*types.Interface); !ok {
				d.add("type %s interface, %s", name, d.typ(e))
			}
		}
		return // the method set is the interface
	default:
		d.add("type %s%s %s", name, params, d.typ(u))
	}
	d.methods(name, named)
}

// sealed marks interfaces that other packages cannot implement.
func (d *description) sealed(u *types.Interface) string {
	for m := range u.Methods() {
		if !m.Exported() {
			return " // with unexported methods"
		}
	}
	return ""
}

func (d *description) fields(name string, s *types.Struct) {
	for f := range s.Fields() {
		switch {
		case !f.Exported():
		case f.Embedded():
			d.add("type %s struct, embedded %s", name, d.typ(f.Type()))
		default:
			d.add("type %s struct, %s %s", name, f.Name(), d.typ(f.Type()))
		}
	}
}

// methods adds the method set of the type and of its pointer, with the methods
// that embedded fields bring.
func (d *description) methods(name string, named *types.Named) {
	values := types.NewMethodSet(named)
	pointers := types.NewMethodSet(types.NewPointer(named))
	for sel := range pointers.Methods() {
		m := sel.Obj().(*types.Func)
		if !m.Exported() {
			continue
		}
		receiver := "*" + name
		if values.Lookup(m.Pkg(), m.Name()) != nil {
			receiver = name
		}
		d.add("method (%s) %s%s", receiver, m.Name(), d.signature(sel.Type().(*types.Signature)))
	}
}
