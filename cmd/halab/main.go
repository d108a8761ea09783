// halab runs a cluster of several systems on one machine.
package main

import (
	"os"

	"github.com/evenkeel/evenkeel/internal/lab/command"
)

func main() { os.Exit(command.Main(os.Args[1:])) }
