// SPDX-License-Identifier: Apache-2.0

package api

import (
	"fmt"
	"go/types"
	"strconv"
	"strings"
)

// signature writes parameters and results without their names.
func (d *description) signature(s *types.Signature) string {
	params := make([]string, s.Params().Len())
	for i := range params {
		t := s.Params().At(i).Type()
		if s.Variadic() && i == len(params)-1 {
			if slice, ok := t.(*types.Slice); ok {
				params[i] = "..." + d.typ(slice.Elem())
				continue
			}
		}
		params[i] = d.typ(t)
	}
	results := make([]string, s.Results().Len())
	for i := range results {
		results[i] = d.typ(s.Results().At(i).Type())
	}
	text := d.typeParams(s.TypeParams()) + "(" + strings.Join(params, ", ") + ")"
	switch len(results) {
	case 0:
		return text
	case 1:
		return text + " " + results[0]
	}
	return text + " (" + strings.Join(results, ", ") + ")"
}

func (d *description) typeParams(list *types.TypeParamList) string {
	if list.Len() == 0 {
		return ""
	}
	params := make([]string, list.Len())
	for i := range params {
		params[i] = fmt.Sprintf("$%d %s", i, d.typ(list.At(i).Constraint()))
	}
	return "[" + strings.Join(params, ", ") + "]"
}

// typ writes a type. Types of other packages have the path of their package.
func (d *description) typ(t types.Type) string {
	switch t := t.(type) {
	case *types.Alias:
		return d.name(t.Obj(), t.TypeArgs())
	case *types.Named:
		return d.name(t.Obj(), t.TypeArgs())
	case *types.TypeParam:
		return "$" + strconv.Itoa(t.Index())
	case *types.Pointer:
		return "*" + d.typ(t.Elem())
	case *types.Slice:
		return "[]" + d.typ(t.Elem())
	case *types.Array:
		return fmt.Sprintf("[%d]%s", t.Len(), d.typ(t.Elem()))
	case *types.Map:
		return "map[" + d.typ(t.Key()) + "]" + d.typ(t.Elem())
	case *types.Chan:
		return [...]string{types.SendRecv: "chan ", types.SendOnly: "chan<- ", types.RecvOnly: "<-chan "}[t.Dir()] + d.typ(t.Elem())
	case *types.Signature:
		return "func" + d.signature(t)
	case *types.Struct:
		return d.structType(t)
	case *types.Interface:
		return d.interfaceType(t)
	case *types.Union:
		terms := make([]string, t.Len())
		for i := range terms {
			if t.Term(i).Tilde() {
				terms[i] = "~"
			}
			terms[i] += d.typ(t.Term(i).Type())
		}
		return strings.Join(terms, " | ")
	}
	return types.TypeString(t, nil)
}

func (d *description) name(obj *types.TypeName, args *types.TypeList) string {
	text := obj.Name()
	if pkg := obj.Pkg(); pkg != nil {
		if pkg != d.pkg {
			text = pkg.Path() + "." + text
		}
		if obj.Exported() && obj.Parent() == pkg.Scope() && internal(pkg.Path()) && strings.Contains(pkg.Path(), ".") {
			d.mentioned[obj] = true
		}
	}
	if args.Len() == 0 {
		return text
	}
	list := make([]string, args.Len())
	for i := range list {
		list[i] = d.typ(args.At(i))
	}
	return text + "[" + strings.Join(list, ", ") + "]"
}

func (d *description) structType(s *types.Struct) string {
	var fields []string
	for i := range s.NumFields() {
		f := s.Field(i)
		text := f.Name() + " " + d.typ(f.Type())
		if tag := s.Tag(i); tag != "" {
			text += " " + strconv.Quote(tag)
		}
		fields = append(fields, text)
	}
	return "struct{" + strings.Join(fields, "; ") + "}"
}

func (d *description) interfaceType(u *types.Interface) string {
	if u.Empty() {
		return "any"
	}
	var parts []string
	for m := range u.ExplicitMethods() {
		parts = append(parts, m.Name()+d.signature(m.Signature()))
	}
	for e := range u.EmbeddedTypes() {
		parts = append(parts, d.typ(e))
	}
	if u.IsImplicit() {
		return strings.Join(parts, "; ")
	}
	return "interface{" + strings.Join(parts, "; ") + "}"
}
