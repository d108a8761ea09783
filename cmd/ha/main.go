// Command ha is every command of Evenkeel: called as ha the modern one, called
// as hastatus, hagrp, lltstat and so on the VCS command of that name.
package main

import (
	"context"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/evenkeel/evenkeel/internal/cli"
	"github.com/evenkeel/evenkeel/internal/paths"
)

func main() {
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer cancel()
	programs := ""
	if self, err := os.Executable(); err == nil {
		programs = filepath.Dir(self)
	}
	os.Exit(cli.Main(ctx, os.Args, cli.Surroundings{
		Root: paths.FromEnvironment(), In: os.Stdin, Out: os.Stdout, Err: os.Stderr,
		Compat: os.Getenv("EVENKEEL_VCS_COMPAT"), Programs: programs,
	}))
}
