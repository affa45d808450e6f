// SPDX-License-Identifier: Apache-2.0

// Package policy holds the rules of this repository as tests: which module may
// import which, where cgo may be, what every go.mod and every file says, that
// the documentation names things that exist, and that a program which requires
// one module gets no other. The comment of each rule says what it protects; a rule
// that nobody can say this of goes.
//
// The tests read the files of the other modules, which the cache of the go
// command does not see; run them with -count=1, as scripts/test does.
package policy
