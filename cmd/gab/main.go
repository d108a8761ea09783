// Command gab is LLT and GAB of one system: links, membership, ordered
// messages. See docs/spec/llt.md and docs/spec/gab.md.
package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/evenkeel/evenkeel/internal/logqueue"
	"github.com/evenkeel/evenkeel/internal/paths"
	"github.com/evenkeel/evenkeel/services/gab/server"
)

func main() {
	level := slog.LevelInfo
	flag.TextVar(&level, "log-level", level, "least level that is logged: DEBUG, INFO, WARN, ERROR")
	logFile := flag.String("log", "", "log file (default /var/log/evenkeel/gab_A.log; - is stderr)")
	flag.Parse()
	if err := run(*logFile, level); err != nil {
		fmt.Fprintln(os.Stderr, "gab:", err)
		os.Exit(1)
	}
}

func run(logFile string, level slog.Level) error {
	root := paths.FromEnvironment()
	if err := root.MakeRunDirs(); err != nil {
		return err
	}
	out := os.Stderr
	if logFile != "-" {
		if logFile == "" {
			logFile = root.Log("gab_A.log")
		}
		f, err := os.OpenFile(logFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o640)
		if err != nil {
			return fmt.Errorf("open log: %w", err)
		}
		defer f.Close()
		out = f
	}
	queue := logqueue.New(out)
	defer queue.Close()
	log := slog.New(slog.NewJSONHandler(queue, &slog.HandlerOptions{Level: level})).With("daemon", "gab")
	cfg, err := server.Load(root, log)
	if err != nil {
		return err
	}
	daemon, err := server.New(cfg)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	// SIGTERM asks for an ordered stop, which is refused while something
	// protected may be online here (R14).
	terminate := make(chan os.Signal, 1) // one is enough; more are the same wish
	signal.Notify(terminate, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-terminate:
				if err := daemon.LeaveCluster(ctx, false); err != nil {
					log.Error("ordered stop refused", "error", err)
				}
			}
		}
	}()
	if err = daemon.Run(ctx); err != nil {
		log.Error("ended", "error", err)
	}
	return err
}
