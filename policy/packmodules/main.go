// SPDX-License-Identifier: Apache-2.0

// Command packmodules writes the modules of this repository into a folder that
// serves as a module proxy:
//
//	go run ./policy/packmodules -out DIR [-version v0.1.0] MODULE...
//
// A program elsewhere can then require them with
// GOPROXY=file://DIR,https://proxy.golang.org and GONOSUMDB set to the import root.
package main

import (
	"flag"
	"fmt"
	"os"

	"github.com/gocrt/aws-iot-device-sdk-go/policy/modproxy"
)

func main() {
	out := flag.String("out", "", "folder to write to")
	version := flag.String("version", "v0.1.0", "version to give the modules")
	flag.Parse()
	if *out == "" || flag.NArg() == 0 {
		fmt.Fprintln(os.Stderr, "usage: packmodules -out DIR [-version v0.1.0] MODULE...")
		os.Exit(2)
	}
	if err := modproxy.Pack(*out, *version, flag.Args()...); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
