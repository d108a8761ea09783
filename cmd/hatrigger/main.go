// Command hatrigger runs the program of one event: started by had, or by hand
// to try a program out.
package main

import (
	"os"

	"github.com/evenkeel/evenkeel/internal/paths"
	"github.com/evenkeel/evenkeel/services/had/trigger/host"
)

func main() { os.Exit(host.Main(paths.FromEnvironment(), os.Args[1:], os.Stdout, os.Stderr)) }
