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

// diagnose finds out why a library could not be loaded, which the dynamic
// linker tells nobody through the binding.
func diagnose(path string, err error) (hint string, cause error) {
	if !strings.ContainsRune(path, filepath.Separator) {
		return "the name has no directory, so the dynamic linker searched its own: give the full path", err
	}
	info, statErr := os.Stat(path)
	switch {
	case errors.Is(statErr, fs.ErrNotExist):
		return "check the path, and that the package with the library is installed", both(err, fs.ErrNotExist)
	case statErr != nil:
		return "", both(err, statErr)
	case info.IsDir():
		return "the path is a directory: give the file of the library", err
	}
	f, openErr := os.Open(path)
	if openErr != nil {
		return "this user must be able to read the library", both(err, openErr)
	}
	defer func() { _ = f.Close() }()
	if runtime.GOOS != "linux" {
		return "check that it is a PKCS#11 library for " + runtime.GOARCH + " and that the libraries it needs are installed", err
	}
	object, elfErr := elf.NewFile(f)
	if elfErr != nil {
		return "the file is not a shared library", err
	}
	if machine, ok := machines[runtime.GOARCH]; ok && object.Machine != machine {
		return fmt.Sprintf("the library is for %v and this program for %s", object.Machine, runtime.GOARCH), err
	}
	symbols, _ := object.DynamicSymbols()
	for _, s := range symbols {
		if s.Name == "C_GetFunctionList" && s.Section != elf.SHN_UNDEF {
			needed, _ := object.ImportedLibraries()
			return "check that the libraries it needs are installed: " + strings.Join(needed, ", "), err
		}
	}
	return "it is a shared library, but not one for PKCS#11: it has no C_GetFunctionList", err
}

var machines = map[string]elf.Machine{
	"amd64": elf.EM_X86_64, "386": elf.EM_386, "arm64": elf.EM_AARCH64, "arm": elf.EM_ARM, "riscv64": elf.EM_RISCV,
	"ppc64le": elf.EM_PPC64, "s390x": elf.EM_S390,
}
