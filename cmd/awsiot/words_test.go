// SPDX-License-Identifier: Apache-2.0

package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// identifier is how names of the API look in a hint.
var identifier = regexp.MustCompile(`\b(With[A-Z]\w*|[A-Z][a-z]+[A-Z]\w*|[A-Z]+[a-z]+[A-Z]\w*)\b`)

// noFlag are the names in hints that stand for no flag, and why they may stay.
var noFlag = map[string]string{
	"IoT": "AWS", "QoS": "the field's term", "KiB": "a unit", "OpenSSL": "a program",
	"WebSocket": "the field's term", "WebSockets": "the field's term", "CloudWatch": "AWS", "LocalMachine": "Windows",
	"AssumeRoleWithCertificate": "an action of policies", "RetainPublish": "an action of policies",
	"PersistentConnect": "an attribute of policies", "LastWill": "an attribute of policies",
	"GetFunctionList": "a function of PKCS#11 libraries",
	"ConnectHeader":   "for programs, which inFlags says",

	"WebsocketWithCustomHandshake": "the program has no such method",
	"OfflineQueuePolicy":           "the program does not set it", "MaxQueuedOperations": "the program does not set it", "MaxQueuedBytes": "the program does not set it",
	"AckTimeout": "the program does not set it", "TopicAliasing": "the program does not set it", "HandshakeTimeout": "the program does not set it",
	"MinVersion": "the program does not set it", "CipherSuites": "the program does not set it", "CurvePreferences": "the program does not set it",
	"InitOmit": "the program does not set it", "InitDefault": "the program does not set it", "InitStrict": "the program does not set it",
	"MaxSessions": "the program does not set it", "SessionTimeout": "the program does not set it", "MaxVersion": "the program does not set it",
	"LibraryPath": "the program always sets it",
}

// Every hint of the SDK names flags when this program prints it.
func TestInFlags(t *testing.T) {
	if got := inFlags("WithKeepAlive(-1s): x; WithPort(0)"); got != "-keep-alive -1s: x; -port 0" {
		t.Errorf("values of options: %q", got)
	}
	seen := 0
	for _, folder := range []string{"iot", "io", "http", "auth"} {
		root := filepath.Join("..", "..", folder)
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || strings.Contains(path, "iottest") {
				return err
			}
			for _, hint := range hints(t, path) {
				seen++
				for _, name := range identifier.FindAllString(inFlags(hint), -1) {
					if noFlag[name] == "" {
						t.Errorf("%s: %q names %s, which is no flag", path, hint, name)
					}
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if seen < 100 {
		t.Errorf("only %d hints found", seen)
	}
}

// hints are the texts in a file that are set as a Hint, or that a function named
// after hints or advice returns.
func hints(t *testing.T, path string) (texts []string) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	collect := func(n ast.Node) {
		ast.Inspect(n, func(n ast.Node) bool {
			if l, ok := n.(*ast.BasicLit); ok && l.Kind == token.STRING {
				if text, err := strconv.Unquote(l.Value); err == nil && strings.Contains(text, " ") {
					texts = append(texts, text)
				}
			}
			return true
		})
	}
	about := regexp.MustCompile(`(?i)(hint|advice)$`)
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncDecl:
			if n.Body != nil && about.MatchString(n.Name.Name) {
				collect(n.Body)
				return false
			}
		case *ast.KeyValueExpr:
			if key, ok := n.Key.(*ast.Ident); ok && about.MatchString(key.Name) {
				collect(n.Value)
			}
		case *ast.AssignStmt:
			for i, left := range n.Lhs {
				name := ""
				switch l := left.(type) {
				case *ast.Ident:
					name = l.Name
				case *ast.SelectorExpr:
					name = l.Sel.Name
				}
				if about.MatchString(name) && i < len(n.Rhs) {
					collect(n.Rhs[i])
				}
			}
		}
		return true
	})
	return texts
}
