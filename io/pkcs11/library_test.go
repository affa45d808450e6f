// SPDX-License-Identifier: Apache-2.0

package pkcs11

import (
	"context"
	"crypto/elliptic"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

func TestLibrary_behaviors(t *testing.T) {
	f := newFake()
	r := f.registry()
	open := func(b InitBehavior) *Library {
		t.Helper()
		lib, err := r.library("/fake/a.so", b)
		if err != nil {
			t.Fatal(err)
		}
		return lib
	}
	expect := func(initialized, finalized int) {
		t.Helper()
		if i, z := f.count("Initialize"), f.count("Finalize"); i != initialized || z != finalized {
			t.Fatalf("initialised %d and finalised %d times, want %d and %d", i, z, initialized, finalized)
		}
	}
	closeAll := func(libs ...*Library) {
		t.Helper()
		for _, lib := range libs {
			if err := errors.Join(lib.Close(), lib.Close()); err != nil {
				t.Fatal(err)
			}
		}
	}

	// Omit leaves it to the program.
	if _, err := r.library("/fake/a.so", InitOmit); !errors.Is(err, ErrNotInitialized) {
		t.Fatalf("got %v", err)
	}
	expect(0, 0)

	// Strict libraries share one initialisation, and the last one ends it.
	a, b := open(InitStrict), open(InitStrict)
	expect(1, 0)
	closeAll(a)
	expect(1, 0)
	// The others may join them, and keep it.
	c, d := open(InitDefault), open(InitOmit)
	closeAll(b)
	expect(1, 0)
	closeAll(c, d)
	expect(1, 1)

	// Default initialises once and never finalises.
	a, b = open(InitDefault), open(InitDefault)
	expect(2, 1)
	if _, err := r.library("/fake/a.so", InitStrict); !errors.Is(err, ErrAlreadyInitialized) {
		t.Fatalf("got %v", err)
	}
	closeAll(a, b)
	closeAll(open(InitDefault))
	expect(2, 1)

	// Another part of the program finalises it: Default initialises anew.
	f.finalizeBehind()
	closeAll(open(InitDefault))
	expect(3, 1)
}

func TestLibrary_initialisedByOthers(t *testing.T) {
	f := newFake()
	_ = f.Initialize(0)
	r := f.registry()
	var c ReturnCode
	if _, err := r.library("/fake/a.so", InitStrict); !errors.Is(err, ErrAlreadyInitialized) || !errors.As(err, &c) || c != rvCryptokiAlreadyInitialized {
		t.Errorf("got %v", err)
	}
	for _, b := range []InitBehavior{InitDefault, InitOmit} {
		lib, err := r.library("/fake/a.so", b)
		if err != nil {
			t.Fatal(err)
		}
		_ = lib.Close()
	}
	if f.count("Finalize") != 0 {
		t.Error("the library of others was finalised")
	}
}

func TestLibrary_version(t *testing.T) {
	for _, c := range []struct {
		major, minor byte
		ok           bool
	}{{2, 1, false}, {2, 11, false}, {1, 40, false}, {2, 20, true}, {2, 40, true}, {3, 0, true}} {
		f := newFake()
		f.major, f.minor = c.major, c.minor
		lib, err := f.registry().library("/fake/a.so", InitStrict)
		switch {
		case c.ok && err != nil:
			t.Errorf("%d.%d: %v", c.major, c.minor, err)
		case c.ok:
			_ = lib.Close()
		case !errors.Is(err, ErrLibraryVersion):
			t.Errorf("%d.%d: got %v", c.major, c.minor, err)
		}
		if f.count("Finalize") != 1 {
			t.Errorf("%d.%d: finalised %d times", c.major, c.minor, f.count("Finalize"))
		}
	}
}

func TestLibrary_initialisationFails(t *testing.T) {
	f := newFake()
	f.onInitialize = func(uint) error { return rvGeneralError }
	for _, b := range []InitBehavior{InitDefault, InitStrict} {
		_, err := f.registry().library("/fake/a.so", b)
		var e *Error
		if !hasCode(err, rvGeneralError) || !errors.As(err, &e) || e.Hint == "" || e.Library != "/fake/a.so" {
			t.Errorf("got %v", err)
		}
	}
}

// A library that cannot lock is called by one goroutine at a time.
func TestLibrary_withoutLocks(t *testing.T) {
	f := newFake(newFakeToken(1, "a", fakeKey("k", 1, ecKey(t, elliptic.P256()))...))
	f.onInitialize = func(flags uint) error {
		if flags&flagOSLocking != 0 {
			return rvCantLock
		}
		return nil
	}
	k := mustKey(t, f.token(t, TokenOptions{}), KeyOptions{})
	block, signing := make(chan struct{}), make(chan struct{}, 10)
	f.edit(func() { f.blockSign, f.signing = block, signing })
	var wg sync.WaitGroup
	for range 5 {
		wg.Go(func() {
			if err := signs(t, k); err != nil {
				t.Error(err)
			}
		})
	}
	<-signing
	if !k.token.mod.serial.Load() {
		t.Error("the library is called by several at once")
	}
	if n := len(signing); n != 0 {
		t.Errorf("%d more are in the library", n)
	}
	close(block)
	wg.Wait()
}

func TestOpen_invalid(t *testing.T) {
	for _, try := range []func() error{
		func() error { _, err := Open("", InitDefault); return err },
		func() error { _, err := Open("/x.so", 9); return err },
		func() error { _, err := New(Options{}); return err },
		func() error { _, err := New(Options{Library: &Library{}, LibraryPath: "x"}); return err },
		func() error {
			_, err := newFake().library(t, InitDefault).Token(TokenOptions{MaxSessions: -1, SessionTimeout: -1})
			return err
		},
		func() error {
			_, err := newFake().library(t, InitDefault).Token(TokenOptions{PIN: "1", PINFunc: func(context.Context) (PIN, error) { return "", nil }})
			return err
		},
		func() error {
			_, err := newFake().token(t, TokenOptions{}).Identity(KeyOptions{CertificateFile: "x", CertificateLabel: "y"})
			return err
		},
		func() error {
			_, err := newFake().token(t, TokenOptions{}).Key(context.Background(), KeyOptions{CertificateFile: "x", CertificatePEM: []byte("y")})
			return err
		},
	} {
		var e *Error
		if err := try(); !errors.Is(err, ErrInvalidOptions) || !errors.As(err, &e) {
			t.Errorf("got %v", err)
		}
	}
}

func TestDiagnose(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "text.so")
	if err := os.WriteFile(file, []byte("not a library"), 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		filepath.Join(dir, "missing.so"): "check the path",
		dir:                              "directory",
		"nosuchlibrary.so":               "full path",
	} {
		hint, err := diagnose(path, ErrLibraryLoad)
		if !errors.Is(err, ErrLibraryLoad) || !strings.Contains(hint, want) {
			t.Errorf("%s: %v; %s", path, err, hint)
		}
	}
	if _, err := diagnose(filepath.Join(dir, "missing.so"), ErrLibraryLoad); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	if hint, _ := diagnose(file, ErrLibraryLoad); hint == "" {
		t.Error("no hint for a file that is no library")
	}
}

// A library that another part of the program has finalised already is closed
// without complaint.
func TestLibrary_finalizedByAnother(t *testing.T) {
	f := newFake()
	lib := f.library(t, InitStrict)
	if err := f.Finalize(); err != nil {
		t.Fatal(err)
	}
	if err := lib.Close(); err != nil {
		t.Error(err)
	}
}

// The hint says that a shared library is not a PKCS#11 module.
func TestDiagnose_anotherLibrary(t *testing.T) {
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Skip("there is no /proc")
	}
	for line := range strings.Lines(string(maps)) {
		if i := strings.IndexByte(line, '/'); i >= 0 && strings.Contains(line[i:], "/libc.so") {
			path := strings.TrimSpace(line[i:])
			if hint, err := diagnose(path, ErrLibraryLoad); !strings.Contains(hint, "no C_GetFunctionList") || !errors.Is(err, ErrLibraryLoad) {
				t.Errorf("%s: %s, %v", path, hint, err)
			}
			return
		}
	}
	t.Skip("no shared library is loaded")
}

func TestCanonical(t *testing.T) {
	dir := t.TempDir()
	file, link := filepath.Join(dir, "a.so"), filepath.Join(dir, "b.so")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(file, link); err != nil {
		t.Fatal(err)
	}
	if a, b := canonical(file), canonical(link); a != b {
		t.Errorf("%s and %s are one file", a, b)
	}
	if got := canonical("a.so"); got != "a.so" {
		t.Errorf("got %s", got)
	}
}

func TestReturnCode_String(t *testing.T) {
	for c, want := range map[ReturnCode]string{
		rvPINLocked: "CKR_PIN_LOCKED", 0x7777: "return code 0x7777", rvVendorDefined + 3: "CKR_VENDOR_DEFINED+0x3",
	} {
		if got := c.Error(); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}
