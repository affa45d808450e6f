// SPDX-License-Identifier: Apache-2.0

package api_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gocrt/aws-iot-device-sdk-go/policy/api"
)

const before = `// Package toy is a module before a change.
package toy

import (
	"context"

	"example.com/toy/internal/inner"
)

const Limit = 3

var ErrGone error

type Handler func(ctx context.Context, m Message)

type Message struct {
	Topic   string
	Payload []byte
	private int
}

type Store interface{ Put(key string) error }

type Sealed interface{ sealed() }

type Client[T any] struct{ inner.Base }

func (c *Client[T]) Start(ctx context.Context, item T) error { return nil }

func (m Message) Len() int { return m.private }

func New(name string, options ...func(*Message)) *Client[int] { return nil }

func Removed() {}
`

const inner = `// Package inner is not public; its types are reachable.
package inner

type Base struct{ Name string }

func (Base) Hello(greeting string) {}
`

// read returns the API of a module with the given source.
func read(t *testing.T, toy, inner string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"go.mod": "module example.com/toy\n\ngo 1.25.0\n", "toy.go": toy, "internal/inner/inner.go": inner,
		"cmd/toy/main.go": "package main\n\nfunc Exported() {}\n\nfunc main() {}\n",
	} {
		name = filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("GOWORK", "off")
	text, err := api.Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestRead(t *testing.T) {
	const want = `package example.com/toy
const Limit untyped int = 3
func New(string, ...func(*Message)) *Client[int]
func Removed()
method (*Client) Start(context.Context, $0) error
method (Client) Hello(string)
method (Message) Len() int
type Client struct, embedded example.com/toy/internal/inner.Base
type Client[$0 any] struct
type Handler func(context.Context, Message)
type Message struct // not comparable
type Message struct, Payload []byte
type Message struct, Topic string
type Sealed interface // with unexported methods
type Store interface
type Store interface, Put(string) error
var ErrGone error

package example.com/toy/internal/inner
method (Base) Hello(string)
type Base struct
type Base struct, Name string
`
	if got := read(t, before, inner); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// Each case changes the source in one place. The check names what changed.
func TestCompare(t *testing.T) {
	for _, c := range []struct {
		name     string
		old, new string
		want     []string
	}{
		{"nothing", "", "", nil},
		{"a parameter has another name", "item T", "thing T", nil},
		{"an unexported field is new", "private int", "private, more int", nil},
		{"a function is gone", "func Removed() {}", "",
			[]string{"BREAKING: example.com/toy: removed func Removed()"}},
		{"a function is new", "func Removed() {}", "func Removed() {}\n\nfunc Added() {}",
			[]string{"compatible: example.com/toy: added func Added()"}},
		{"another parameter", "func Removed()", "func Removed(force bool)",
			[]string{"BREAKING: example.com/toy: changed func Removed()\n\tto func Removed(bool)"}},
		{"another type of a field", "Topic   string", "Topic   []byte",
			[]string{"BREAKING: example.com/toy: changed type Message struct, Topic string\n\tto type Message struct, Topic []byte"}},
		{"a field is gone", "Topic   string", "",
			[]string{"BREAKING: example.com/toy: removed type Message struct, Topic string"}},
		{"a field is new", "Topic   string", "Topic   string\n\tQoS int",
			[]string{"compatible: example.com/toy: added type Message struct, QoS int"}},
		{"another value", "Limit = 3", "Limit = 4",
			[]string{"BREAKING: example.com/toy: changed const Limit untyped int = 3\n\tto const Limit untyped int = 4"}},
		{"an interface has one more method", "Put(key string) error", "Put(key string) error; Get() string",
			[]string{"BREAKING: example.com/toy: added type Store interface, Get() string"}},
		{"a sealed interface has one more method", "sealed()", "sealed(); Get() string",
			[]string{"compatible: example.com/toy: added type Sealed interface, Get() string"}},
		{"a method needs a pointer", "(m Message) Len", "(m *Message) Len",
			[]string{"BREAKING: example.com/toy: changed method (Message) Len() int\n\tto method (*Message) Len() int"}},
		{"an interface is sealed", "Put(key string) error", "Put(key string) error; put()",
			[]string{"BREAKING: example.com/toy: changed type Store interface\n\tto type Store interface // with unexported methods"}},
		{"a type parameter has another constraint", "Client[T any]", "Client[T ~int | ~string]",
			[]string{"BREAKING: example.com/toy: changed type Client[$0 any] struct\n\tto type Client[$0 ~int | ~string] struct"}},
		{"a struct cannot be compared any more", "struct{ inner.Base }", "struct{ inner.Base; f func() }",
			[]string{"BREAKING: example.com/toy: changed type Client[$0 any] struct\n\tto type Client[$0 any] struct // not comparable"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if strings.Count(before, c.old) != 1 && c.old != "" {
				t.Fatalf("%q is not there once", c.old)
			}
			after := strings.Replace(before, c.old, c.new, 1)
			check(t, api.Compare(read(t, before, inner), read(t, after, inner)), c.want)
		})
	}
	t.Run("a method of an internal type is gone", func(t *testing.T) {
		after := strings.Replace(inner, "Hello", "hello", 1)
		check(t, api.Compare(read(t, before, inner), read(t, before, after)), []string{
			"BREAKING: example.com/toy: removed method (Client) Hello(string)",
			"BREAKING: example.com/toy/internal/inner: removed method (Base) Hello(string)",
		})
	})
}

func check(t *testing.T, changes []api.Change, want []string) {
	t.Helper()
	var got []string
	for _, c := range changes {
		got = append(got, c.String())
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestRead_doesNotCompile(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"go.mod": "module example.com/toy\n\ngo 1.25.0\n", "toy.go": "package toy\n\nfunc F() { x }\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("GOWORK", "off")
	if _, err := api.Read(dir); err == nil || !strings.Contains(err.Error(), "undefined: x") {
		t.Errorf("%v, want what the compiler says", err)
	}
}
