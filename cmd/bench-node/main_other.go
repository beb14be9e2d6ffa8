//go:build !linux

// Command bench-node is one process of a system under test. It runs on the hosts
// of an emulated network, hence on Linux only: elsewhere it says so.
package main

import (
	"fmt"
	"os"
	"runtime"
)

func main() {
	fmt.Fprintf(os.Stderr, "bench-node: emulated networks need Linux, this is %s; bench run --engine sim works here\n", runtime.GOOS)
	os.Exit(1)
}
