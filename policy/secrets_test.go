// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// secretField matches the names of fields that hold secrets.
var secretField = regexp.MustCompile(`^(Password|Secret.*|SessionToken|TokenValue|TokenSignature|PIN|RawQuery|Logins|Command)$`)

// TestSecretsAreNotFormatted protects secrets from logs and error texts: a
// public type with a secret in a field says itself how it is formatted, by
// every verb and as JSON: fmt and encoding/json print the fields of all others.
func TestSecretsAreNotFormatted(t *testing.T) {
	tr := repository(t)
	type method struct{ dir, receiver, name string }
	var methods []method
	type secret struct{ dir, name, field string }
	var secrets []secret
	for _, file := range tr.goFiles() {
		if strings.HasSuffix(file, "_test.go") || strings.Contains(file, "/testdata/") || strings.Contains("/"+file, "/internal/") ||
			slices.Contains(unreleased, tr.moduleOf(file)) {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, tr.read(t, file), parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		// The secrets of test packages are made up.
		if f.Name.Name == "main" || strings.Contains(path.Dir(file)+"/", "test/") {
			continue
		}
		ast.Inspect(f, func(n ast.Node) bool {
			switch d := n.(type) {
			case *ast.FuncDecl:
				if d.Recv != nil {
					methods = append(methods, method{path.Dir(file), receiver(d), d.Name.Name})
				}
				return false
			case *ast.TypeSpec:
				s, ok := d.Type.(*ast.StructType)
				if !ok || !d.Name.IsExported() {
					return false
				}
				for _, field := range s.Fields.List {
					if !plainText(field.Type) {
						continue
					}
					for _, name := range field.Names {
						if secretField.MatchString(name.Name) {
							secrets = append(secrets, secret{path.Dir(file), d.Name.Name, name.Name})
						}
					}
				}
				return false
			}
			return true
		})
	}
	if len(secrets) < 8 {
		t.Errorf("only %d secrets found: does the search still work?", len(secrets))
	}
	for _, s := range secrets {
		for _, name := range []string{"Format", "MarshalText"} {
			if !slices.Contains(methods, method{s.dir, s.name, name}) {
				t.Errorf("%s: type %s has the field %s and no method %s", s.dir, s.name, s.field, name)
			}
		}
	}
}

// plainText reports whether a field of the type shows what it holds: a string,
// bytes, or a collection of them.
func plainText(e ast.Expr) bool {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name == "string" || e.Name == "byte"
	case *ast.StarExpr:
		return plainText(e.X)
	case *ast.ArrayType:
		return plainText(e.Elt)
	case *ast.MapType:
		return plainText(e.Value)
	}
	return false
}
