// Command demo shows the whole path at work: an NFS cluster of two systems
// that fails over when a system loses its power, with every step measured.
// It exits non-zero if any step failed and leaves nothing behind, unless it is
// told to keep the cluster (-keep).
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	keep := flag.Bool("keep", false, "leave the cluster up at the end and say how to play with it")
	size := flag.Int("size", 32, "MiB that the client writes through NFS, at least 32")
	name := flag.String("name", "demo", "name of the lab")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, 8*time.Minute)
	defer cancel()
	d := newDemo(*name, max(*size, 32))
	err := d.run(ctx)
	if err != nil {
		d.showLogs()
	}
	if *keep && err == nil {
		d.howToPlay()
		return
	}
	if derr := d.end(); derr != nil && err == nil {
		err = derr
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "\ndemo: FAILED: %v\n", err)
		os.Exit(1)
	}
	fmt.Println("demo: all steps succeeded; nothing is left behind")
}
