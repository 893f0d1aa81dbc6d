// Command evenkeel makes a fleet of Docker hosts match what is committed to git. This package reads
// flags, wires the pieces together and prints; it decides nothing about nodes.
package main

import (
	"os"
)

func main() {
	os.Exit(run(os.Args[1:], standardProgram()))
}
