// SPDX-License-Identifier: Apache-2.0

package pkcs11

import (
	"debug/elf"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// diagnose finds out why a library could not be loaded, which the dynamic linker tells nobody through the binding.
func diagnose(path string, err error) (cause error, hint string) {
	if !strings.ContainsRune(path, filepath.Separator) {
		return err, "the name has no directory, so the dynamic linker searched its own: give the full path"
	}
	info, statErr := os.Stat(path)
	switch {
	case errors.Is(statErr, fs.ErrNotExist):
		return both(err, fs.ErrNotExist), "check the path, and that the package with the library is installed"
	case statErr != nil:
		return both(err, statErr), ""
	case info.IsDir():
		return err, "the path is a directory: give the file of the library"
	}
	f, openErr := os.Open(path)
	if openErr != nil {
		return both(err, openErr), "this user must be able to read the library"
	}
	defer func() { _ = f.Close() }()
	if runtime.GOOS != "linux" {
		return err, "check that it is a PKCS#11 library for " + runtime.GOARCH + " and that the libraries it needs are installed"
	}
	object, elfErr := elf.NewFile(f)
	if elfErr != nil {
		return err, "the file is not a shared library"
	}
	if machine, ok := machines[runtime.GOARCH]; ok && object.Machine != machine {
		return err, fmt.Sprintf("the library is for %v and this program for %s", object.Machine, runtime.GOARCH)
	}
	symbols, _ := object.DynamicSymbols()
	for _, s := range symbols {
		if s.Name == "C_GetFunctionList" && s.Section != elf.SHN_UNDEF {
			needed, _ := object.ImportedLibraries()
			return err, "check that the libraries it needs are installed: " + strings.Join(needed, ", ")
		}
	}
	return err, "it is a shared library, but not one for PKCS#11: it has no C_GetFunctionList"
}

var machines = map[string]elf.Machine{
	"amd64": elf.EM_X86_64, "386": elf.EM_386, "arm64": elf.EM_AARCH64, "arm": elf.EM_ARM, "riscv64": elf.EM_RISCV,
	"ppc64le": elf.EM_PPC64, "s390x": elf.EM_S390,
}
