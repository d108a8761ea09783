// Command had is the engine daemon of Evenkeel.
package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/evenkeel/evenkeel/internal/paths"
	"github.com/evenkeel/evenkeel/internal/realtime"
	"github.com/evenkeel/evenkeel/services/had/server"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "had:", err)
		os.Exit(1)
	}
}

func run() error {
	oneNode := flag.Bool("onenode", false, "run a cluster of this one system, without gab")
	stale := flag.Bool("stale", false, "treat a good configuration on this disk as stale")
	force := flag.Bool("force", false, "build from this disk although it is marked stale")
	level := slog.LevelInfo
	flag.TextVar(&level, "log-level", level, "DEBUG, INFO, WARN or ERROR")
	flag.Parse()
	if flag.NArg() > 0 {
		return fmt.Errorf("%q is no option; see had -help", flag.Arg(0))
	}
	root := paths.FromEnvironment()
	cfg := server.Config{
		Root: root, OneNode: *oneNode, Stale: *stale, Force: *force,
		Log: slog.New(slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: level})),
	}
	if self, err := os.Executable(); err == nil {
		dir := filepath.Dir(self)
		cfg.AgentDirs = []string{filepath.Join(dir, "agents")}
		if shadow := filepath.Join(dir, "hashadow"); isFile(shadow) {
			cfg.Hashadow = shadow
		}
		if trigger := filepath.Join(dir, "hatrigger"); isFile(trigger) {
			cfg.Hatrigger = trigger
		}
	}
	// hashadow runs with real-time priority; agents and applications must not.
	realtime.Drop(cfg.Log)
	had, err := server.New(cfg)
	if err != nil {
		return err
	}
	// SIGTERM ends had and leaves applications running; hashadow starts it
	// again. An ordered stop is hastop.
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer cancel()
	return had.Run(ctx)
}

func isFile(path string) bool {
	st, err := os.Stat(path)
	return err == nil && st.Mode().IsRegular()
}
