// Package cli is the one program behind all commands: called through a VCS
// name it is that command, called as ha it is the modern one.
package cli

import (
	"context"
	"io"
	"path/filepath"
	"slices"

	"github.com/evenkeel/evenkeel/internal/cli/modern"
	"github.com/evenkeel/evenkeel/internal/cli/transport"
	"github.com/evenkeel/evenkeel/internal/cli/vcs"
	"github.com/evenkeel/evenkeel/internal/paths"
)

// Surroundings are what the program finds around it.
type Surroundings struct {
	Root     paths.Root
	In       io.Reader
	Out, Err io.Writer
	// Compat is EVENKEEL_VCS_COMPAT: "3.5" makes hagrp -state print bare words.
	Compat string
	// Programs is the folder of the daemons, for starting them.
	Programs string
}

// Main runs the command line and returns the exit code: 0 done, 1 failed, 2
// wrong usage. args[0] is the name that the program was called by.
func Main(ctx context.Context, args []string, around Surroundings) int {
	name, rest := filepath.Base(args[0]), args[1:]
	switch {
	case slices.Contains(vcs.Names(), name):
		return vcs.Run(ctx, name, rest, vcs.Surroundings(around))
	case slices.Contains(transport.Names(), name):
		return transport.Run(ctx, around.Root, name, rest, transport.Streams{Out: around.Out, Err: around.Err})
	}
	return modern.Run(ctx, rest, modern.Surroundings{Root: around.Root, In: around.In, Out: around.Out, Err: around.Err, Programs: around.Programs})
}
