// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// A piece is a Go block of a document that is not a program. It is compiled,
// and if it consists of statements it is run as well: with a device of an
// embedded AWS IoT Core, a connected client, and the other variables of the
// world in testdata/guide/harness.go.txt. It may return an error, which is a
// failure. A piece that makes a client with package iot has to end up with one
// that connects, subscribes, publishes and receives. What it prints is compared
// with a comment "// Output:", as in examples.
//
// HTML comments before a block, which readers do not see, change that:
//
//	<!-- go: compile -->      it is not run
//	<!-- go: setup (code) --> (code) comes before it
//	<!-- go: after (code) --> (code) comes after it
//
// Code of other projects is in blocks of the language "golang", which look the
// same and are not compiled.
type piece struct {
	block
	name  string
	setup string
	after string
	run   bool

	decls bool // declarations, not statements
	file  *ast.File
	made  bool // it makes a client
}

// packages are those that pieces may use, by name.
var packages = func() map[string]string {
	m := map[string]string{}
	for _, p := range []string{
		"context", "crypto", "crypto/ecdsa", "crypto/rand", "crypto/rsa", "crypto/sha256", "crypto/tls", "crypto/x509", "encoding/base64",
		"encoding/json", "errors", "expvar", "fmt", "io", "log", "log/slog", "net", "net/http", "os", "os/signal", "slices", "strings", "sync",
		"syscall", "testing", "time",
		"github.com/aws/aws-sdk-go-v2/aws", "go.opentelemetry.io/otel/sdk/metric", "go.uber.org/zap", importRoot + "/mqtt5/filestore", importRoot + "/mqtt5/mqttotel",
		importRoot + "/auth/credentials", importRoot + "/auth/sigv4", importRoot + "/http/proxy", importRoot + "/http/websocket",
		importRoot + "/io/certstore", importRoot + "/io/eventloop", importRoot + "/io/pkcs11", importRoot + "/io/pkcs12", importRoot + "/io/slogbridge", importRoot + "/io/socket",
		importRoot + "/io/tlsctx", importRoot + "/iot", importRoot + "/iot/iottest", importRoot + "/mqtt5", importRoot + "/mqtt5/mqtttest", importRoot + "/mqtt5/scram",
		importRoot + "/mqtt5/request", importRoot + "/iot/jobs", importRoot + "/iot/provisioning", importRoot + "/iot/commands", importRoot + "/iot/defender",
		importRoot + "/iot/events", importRoot + "/iot/ingest", importRoot + "/iot/direct", importRoot + "/iot/shadow",
	} {
		m[p[strings.LastIndexByte(p, '/')+1:]] = p
	}
	return m
}()

// worldFields are the names that statements find.
var worldFields = []string{"core", "device", "endpoint", "options", "client", "dial", "certPEM", "keyPEM", "signer"}

// pieces returns the Go blocks of the documents that are not programs.
func (tr *tree) pieces(t *testing.T) []*piece {
	t.Helper()
	var found []*piece
	for _, name := range tr.markdown() {
		if !strings.HasPrefix(name, "docs/") {
			continue
		}
		text := strings.Split(string(tr.read(t, name)), "\n")
		for _, b := range tr.blocks(t, name) {
			if b.language != "go" || strings.HasPrefix(b.text, "package ") {
				continue
			}
			p := &piece{block: b, run: true, name: fmt.Sprintf("%s:%d", name, b.line)}
			p.directives(t, text[:b.line-1])
			p.parse(t)
			found = append(found, p)
		}
	}
	if len(found) == 0 {
		t.Fatal("no document shows a piece of code")
	}
	return found
}

// directives reads the HTML comments at the end of the lines before the block.
func (p *piece) directives(t *testing.T, before []string) {
	t.Helper()
	text := strings.TrimRight(strings.Join(before, "\n"), "\n ")
	for strings.HasSuffix(text, "-->") {
		i := strings.LastIndex(text, "<!--")
		comment := strings.TrimSpace(text[i+len("<!--") : len(text)-len("-->")])
		text = strings.TrimRight(text[:i], "\n ")
		directive, ok := strings.CutPrefix(comment, "go: ")
		if !ok {
			continue
		}
		verb, code, _ := strings.Cut(directive, "\n")
		switch strings.TrimSpace(verb) {
		case "compile":
			p.run = false
		case "setup":
			p.setup = code
		case "after":
			p.after = code
		default:
			t.Errorf("%s: unknown directive %q", p.name, verb)
		}
	}
}

const body = "package main\n\nfunc _() {\n"

// parse finds out what the block is.
func (p *piece) parse(t *testing.T) {
	t.Helper()
	if formatted, err := format.Source([]byte(p.text)); err == nil && string(formatted) != p.text {
		t.Errorf("%s: gofmt would change it to\n%s", p.name, formatted)
	}
	var err error
	if p.file, err = parser.ParseFile(token.NewFileSet(), p.name, "package main\n"+p.text, 0); err == nil {
		p.decls, p.run = true, false
		return
	}
	if p.file, err = parser.ParseFile(token.NewFileSet(), p.name, body+p.setup+"\n"+p.text+"\n"+p.after+"\n}", 0); err != nil {
		t.Errorf("%s: neither declarations nor statements: %v", p.name, err)
	}
}

// declared are the variables that the statements of the block declare, so that
// the compiler does not mind if nothing uses them.
func (p *piece) declared(t *testing.T) []string {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), p.name, body+p.text+"\n}", 0)
	if err != nil {
		return nil
	}
	var names []string
	add := func(id *ast.Ident) {
		if id != nil && id.Name != "_" && !slices.Contains(names, id.Name) {
			names = append(names, id.Name)
		}
	}
	for _, s := range f.Decls[0].(*ast.FuncDecl).Body.List {
		switch s := s.(type) {
		case *ast.AssignStmt:
			if s.Tok != token.DEFINE {
				continue
			}
			for _, l := range s.Lhs {
				id, _ := l.(*ast.Ident)
				add(id)
				if id != nil && id.Name == "client" && len(s.Rhs) == 1 && constructs(s.Rhs[0]) {
					p.made = true
				}
			}
		case *ast.DeclStmt:
			if d, ok := s.Decl.(*ast.GenDecl); ok && d.Tok == token.VAR {
				for _, spec := range d.Specs {
					for _, id := range spec.(*ast.ValueSpec).Names {
						add(id)
					}
				}
			}
		}
	}
	return names
}

// constructs reports whether an expression is a call of a constructor of package iot.
func constructs(e ast.Expr) bool {
	call, ok := e.(*ast.CallExpr)
	if !ok {
		return false
	}
	f, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return false
	}
	x, ok := f.X.(*ast.Ident)
	return ok && x.Name == "iot" && strings.HasPrefix(f.Sel.Name, "New")
}

// source is the file that is compiled.
func (p *piece) source(t *testing.T, root string) string {
	t.Helper()
	declared := p.declared(t)
	var b strings.Builder
	b.WriteString("package main\n\n")
	used := map[string]string{}
	if !p.decls {
		used["context"] = packages["context"]
	}
	for _, id := range p.file.Unresolved {
		if path, ok := packages[id.Name]; ok {
			used[id.Name] = path
		}
	}
	for _, name := range slices.Sorted(maps.Keys(used)) {
		fmt.Fprintf(&b, "import %s %q\n", name, used[name])
	}
	line := fmt.Sprintf("\n//line %s:%d\n", filepath.Join(root, p.block.file), p.line+1)
	if p.decls {
		b.WriteString(line + p.text)
		return b.String()
	}
	if p.run {
		fmt.Fprintf(&b, "\nfunc init() { pieces = append(pieces, piece{%q, func(ctx context.Context, w *world) error { return piece%d(ctx, w) }}) }\n", p.name, p.line)
	}
	fmt.Fprintf(&b, "\nfunc piece%d(ctx context.Context, w *world) error {\n", p.line)
	for _, name := range worldFields {
		fmt.Fprintf(&b, "\t%s := w.%s\n\t_ = %s\n", name, name, name)
	}
	b.WriteString("\t{\n" + p.setup + line + p.text + "\n")
	for _, name := range declared {
		fmt.Fprintf(&b, "_ = %s\n", name)
	}
	if p.made {
		b.WriteString("if err != nil { return err }\n")
	}
	b.WriteString(p.after + "\n")
	if p.made {
		b.WriteString("if err := connects(ctx, client); err != nil { return err }\n")
	}
	b.WriteString("\t}\n\treturn nil\n}\n")
	return b.String()
}

// output is what a comment at the end of a block says about what it prints.
func (b *block) output() (want string, ok bool) {
	_, comment, ok := strings.Cut(b.text, "// Output:")
	var lines []string
	for i, line := range strings.Split(comment, "\n") {
		line, commented := strings.CutPrefix(strings.TrimSpace(line), "//")
		if i > 0 && !commented {
			break
		}
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "\n"), ok
}

// prints compares what was printed with the comment, line by line, without
// blanks around lines and without empty ones.
func (b *block) prints(t *testing.T, name, printed string) {
	t.Helper()
	want, ok := b.output()
	if !ok {
		return
	}
	var lines []string
	for line := range strings.Lines(printed) {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	if got := strings.Join(lines, "\n"); got != want {
		t.Errorf("%s prints\n%s\nand the document says\n%s", name, got, want)
	}
}

// build compiles packages that exist in an overlay only, as if they were samples.
func (tr *tree) build(t *testing.T, files map[string]string, args ...string) {
	t.Helper()
	tmp := t.TempDir()
	replace := map[string]string{}
	for name, text := range files {
		source := filepath.Join(tmp, fmt.Sprintf("%d.go", len(replace)))
		write(t, source, text)
		replace[filepath.Join(tr.root, filepath.FromSlash(name))] = source
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(tmp, "overlay.json")
	write(t, file, string(overlay))
	cmd := exec.Command("go", slices.Concat(args[:1], []string{"-overlay", file}, args[1:])...)
	cmd.Dir = tr.root
	cmd.Env = append(os.Environ(), "GOWORK="+filepath.Join(tr.root, "go.work"))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("the code in the documents does not compile: %v\n%s", err, out)
	}
}

// execute runs a program away from everything that could be configured here.
func execute(t *testing.T, program string, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = t.TempDir()
	for _, v := range os.Environ() {
		name, _, _ := strings.Cut(v, "=")
		if !strings.HasPrefix(name, "AWS_") && !strings.HasSuffix(strings.ToLower(name), "_proxy") {
			cmd.Env = append(cmd.Env, v)
		}
	}
	cmd.Env = append(cmd.Env, "HOME="+cmd.Dir, "AWS_EC2_METADATA_DISABLED=true")
	var o, e bytes.Buffer
	cmd.Stdout, cmd.Stderr = &o, &e
	err = cmd.Run()
	return o.String(), e.String(), err
}

// TestDocsPieces compiles and runs what the documents show.
func TestDocsPieces(t *testing.T) {
	tree := repository(t)
	const dir = "samples/guide/"
	files := map[string]string{dir + "main.go": string(tree.read(t, "policy/testdata/guide/harness.go.txt"))}
	patterns := []string{"./" + dir}
	byName := map[string]*piece{}
	for i, p := range tree.pieces(t) {
		if p.file == nil {
			continue
		}
		name := fmt.Sprintf("%spiece%d.go", dir, i)
		if p.decls {
			// Their names may meet.
			name = fmt.Sprintf("samples/guide%d/piece.go", i)
			if !strings.Contains(p.text, "func main()") {
				files[filepath.Dir(name)+"/main.go"] = "package main\n\nfunc main() {}\n"
			}
			patterns = append(patterns, "./"+filepath.ToSlash(filepath.Dir(name)))
		}
		files[name] = strings.ReplaceAll(p.source(t, tree.root), fmt.Sprintf("piece%d(", p.line), fmt.Sprintf("piece%d_%d(", i, p.line))
		byName[p.name] = p
	}
	if t.Failed() {
		t.FailNow()
	}
	bin := t.TempDir() + string(filepath.Separator)
	tree.build(t, files, slices.Concat([]string{"build", "-o", bin}, patterns)...)

	stdout, stderr, err := execute(t, bin+"guide"+exe())
	if err != nil {
		t.Errorf("%v\n%s", err, stderr)
	}
	ran := 0
	for _, part := range strings.Split(stdout, "\n\x01")[1:] {
		name, printed, _ := strings.Cut(part, "\n")
		p := byName[name]
		if p == nil {
			t.Fatalf("%s: no such piece", name)
		}
		ran++
		if !strings.Contains(stderr, name+": ") {
			p.prints(t, name, printed)
		}
	}
	t.Logf("%d pieces compiled, %d of them run", len(byName), ran)
}

// TestDocsPrograms runs the programs in the documents that bring their own AWS
// IoT Core, and the tests that they show.
func TestDocsPrograms(t *testing.T) {
	tree := repository(t)
	files := map[string]string{}
	var programs, tests []*block
	for _, name := range tree.markdown() {
		for _, b := range tree.blocks(t, name) {
			if b.language != "go" || !strings.HasPrefix(b.text, "package ") {
				continue
			}
			if formatted, err := format.Source([]byte(b.text)); err != nil || string(formatted) != b.text {
				t.Errorf("%s:%d: gofmt would change it (%v)", name, b.line, err)
			}
			if !strings.Contains(b.text, importRoot+"/iot/iottest") {
				continue // needs an account
			}
			line := fmt.Sprintf("//line %s:%d\n", filepath.Join(tree.root, name), b.line+1)
			if strings.HasPrefix(b.text, "package main") {
				files[fmt.Sprintf("samples/program%d/main.go", len(programs))] = line + b.text
				programs = append(programs, &b)
			} else {
				files[fmt.Sprintf("samples/test%d/shown_test.go", len(tests))] = line + b.text
				tests = append(tests, &b)
			}
		}
	}
	if len(programs) == 0 || len(tests) == 0 {
		t.Fatalf("the documents show %d programs and %d tests that run by themselves", len(programs), len(tests))
	}
	bin := t.TempDir()
	try := func(b *block, program string, args ...string) {
		t.Helper()
		name := fmt.Sprintf("%s:%d", b.file, b.line)
		stdout, stderr, err := execute(t, program, args...)
		if err != nil {
			t.Errorf("%s: %v\n%s%s", name, err, stdout, stderr)
			return
		}
		b.prints(t, name, stdout)
	}
	for i, b := range programs {
		program := filepath.Join(bin, fmt.Sprintf("program%d", i)+exe())
		tree.build(t, files, "build", "-o", program, fmt.Sprintf("./samples/program%d", i))
		try(b, program)
	}
	for i, b := range tests {
		program := filepath.Join(bin, fmt.Sprintf("test%d", i)+exe())
		tree.build(t, files, "test", "-vet=off", "-c", "-o", program, fmt.Sprintf("./samples/test%d", i))
		try(b, program, "-test.count=1")
	}
}

// exe is the suffix of programs.
func exe() string {
	if runtime.GOOS == "windows" {
		return ".exe"
	}
	return ""
}

// TestDocsIndex protects documents from being written and never found: the index
// leads to each of them.
func TestDocsIndex(t *testing.T) {
	tree := repository(t)
	text := string(tree.read(t, index))
	for _, name := range tree.markdown() {
		base, ok := strings.CutPrefix(name, "docs/")
		if ok && "docs/"+base != index && !strings.Contains(text, "]("+base+")") {
			t.Errorf("%s does not lead to %s", index, base)
		}
	}
}
