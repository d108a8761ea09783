package simrun

import (
	"bufio"
	"flag"
	"fmt"
	"io"
	"os"

	"github.com/evenkeel/evenkeel/services/had/engine"
	"github.com/evenkeel/evenkeel/services/had/recorder"
)

// replay plays the flight recorder of a real had.
func replay(args []string, out io.Writer) (int, error) {
	fs := flag.NewFlagSet("hasim replay", flag.ContinueOnError)
	verbose := fs.Bool("v", false, "print the decisions with their reasons")
	if err := fs.Parse(args); err != nil {
		return 2, err
	}
	if fs.NArg() != 1 {
		return 2, fmt.Errorf("hasim replay: name one journal, as /var/lib/evenkeel/had.journal")
	}
	path := fs.Arg(0)
	f, err := os.Open(path)
	if err != nil {
		return 2, fmt.Errorf("hasim replay: %w", err)
	}
	defer f.Close()
	w := bufio.NewWriter(out)
	defer w.Flush()
	var told func(string, engine.Explanation)
	if *verbose {
		told = func(at string, x engine.Explanation) { fmt.Fprintf(w, "%s  %s\n", at, x) }
	}
	r, err := recorder.Replay(f, told)
	if err != nil {
		return 2, fmt.Errorf("hasim replay %s: %w", path, err)
	}
	fmt.Fprintf(w, "%s\n", r.Start)
	fmt.Fprintf(w, "%d events from %s to %s (%d before the first state left out), %d decisions taken again\n", r.Events, r.First, r.Last, r.Skipped, r.Decisions)
	fmt.Fprintf(w, "%d hashes and %d states compared; at the end %016x\n", r.Hashes, r.States, r.Hash)
	if d := r.Difference; d != nil {
		fmt.Fprintf(w, "DIFFERENT: %s\n", d)
		return 1, nil
	}
	fmt.Fprintln(w, "equal")
	return 0, nil
}
