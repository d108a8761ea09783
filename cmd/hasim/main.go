// Command hasim runs whole clusters in virtual time: the product's own cores
// on modelled machines, networks, disks and applications.
package main

import (
	"os"

	"github.com/evenkeel/evenkeel/internal/simrun"
)

func main() { os.Exit(simrun.Main(os.Args[1:], os.Stdout, os.Stderr)) }
