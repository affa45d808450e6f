// SPDX-License-Identifier: Apache-2.0

// Package api writes down the exported API of a module as text, one feature a
// line, and compares two such texts.
//
// A feature is a constant with its value, a variable, a function, a type, or a
// field or method of a type. Names of parameters are left out, because renaming
// one breaks nobody. Exported types of internal packages have their own part of
// the text as soon as a public package mentions them, since users can reach
// their fields and methods. The API is that of linux/amd64 without cgo.
package api
