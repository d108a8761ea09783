// Command fencing is the fencing daemon of one system: coordination points,
// races, evidence, self-stop. See docs/spec/fencing.md.
package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/evenkeel/evenkeel/internal/paths"
	"github.com/evenkeel/evenkeel/internal/realtime"
	"github.com/evenkeel/evenkeel/services/fencing/server"
)

func main() {
	level := slog.LevelInfo
	flag.TextVar(&level, "log-level", level, "least level that is logged: DEBUG, INFO, WARN, ERROR")
	logFile := flag.String("log", "", "log file (default /var/log/evenkeel/fencing_A.log; - is stderr)")
	flag.Parse()
	if err := run(*logFile, level); err != nil {
		fmt.Fprintln(os.Stderr, "fencing:", err)
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
			logFile = root.Log("fencing_A.log")
		}
		f, err := os.OpenFile(logFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o640)
		if err != nil {
			return fmt.Errorf("open log: %w", err)
		}
		defer f.Close()
		out = f
	}
	log := slog.New(slog.NewJSONHandler(out, &slog.HandlerOptions{Level: level})).With("daemon", "fencing")
	cfg, err := server.LoadConfig(root)
	if err != nil {
		return err
	}
	daemon, err := server.New(server.Config{Root: root, Fencing: cfg, Log: log})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	terminate := make(chan os.Signal, 1) // one is enough; more are the same wish
	signal.Notify(terminate, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-terminate:
				if err := daemon.OrderedStop(); err != nil {
					log.Error("ordered stop refused", "error", err)
				}
			}
		}
	}()
	realtime.Take(log, realtime.Fencing)
	log.Info("started", "mode", cfg.Mode, "points", len(cfg.Points))
	err = daemon.Run(ctx)
	if err != nil {
		log.Error("ended", "error", err)
	}
	return err
}
