// Command hashadow keeps had running and watches, with gab and fencing, that
// none of the system's daemons is lost under something protected.
//
//	hashadow [-had PATH] [-log-level LEVEL] [-- ARGUMENT OF HAD...]
//
// hastart starts hashadow, which starts had. hastop ends both: had says that
// it stops in order, and hashadow follows. SIGTERM ends hashadow alone.
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
	"github.com/evenkeel/evenkeel/internal/selfstop"
	"github.com/evenkeel/evenkeel/internal/standing"
	"github.com/evenkeel/evenkeel/services/hashadow/server"
)

func main() {
	level := slog.LevelInfo
	flag.TextVar(&level, "log-level", level, "least level that is logged: DEBUG, INFO, WARN, ERROR")
	had := flag.String("had", "", "program of had (default: had beside this program); arguments for it follow --")
	logFile := flag.String("log", "", "log file (default /var/log/evenkeel/hashadow_A.log; - is stderr)")
	flag.Parse()
	if err := run(*had, *logFile, level); err != nil {
		fmt.Fprintln(os.Stderr, "hashadow:", err)
		os.Exit(1)
	}
}

// afterwards are the arguments of had when it is started again: -force and
// -stale are about one start.
func afterwards(args []string) []string {
	again := make([]string, 0, len(args))
	for _, a := range args {
		if a != "-force" && a != "-stale" {
			again = append(again, a)
		}
	}
	return again
}

func run(had, logFile string, level slog.Level) error {
	root := paths.FromEnvironment()
	if err := root.MakeRunDirs(); err != nil {
		return err
	}
	out := os.Stderr
	if logFile != "-" {
		if logFile == "" {
			logFile = root.Log("hashadow_A.log")
		}
		f, err := os.OpenFile(logFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o640)
		if err != nil {
			return fmt.Errorf("open log: %w", err)
		}
		defer f.Close()
		out = f
	}
	log := slog.New(slog.NewJSONHandler(out, &slog.HandlerOptions{Level: level})).With("daemon", "hashadow")
	if had == "" {
		self, err := os.Executable()
		if err != nil {
			return fmt.Errorf("find had: %w", err)
		}
		had = filepath.Join(filepath.Dir(self), "had")
	}
	stopper, err := selfstop.Load(root)
	if err != nil {
		return err
	}
	shadow, err := server.New(server.Config{
		Root: root, Stopper: stopper, Log: log,
		Had:   standing.Program{Path: had, Args: flag.Args(), Output: root.Log("had_A.log")},
		Again: afterwards(flag.Args()),
	})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	terminate := make(chan os.Signal, 1) // one is enough
	signal.Notify(terminate, syscall.SIGTERM, syscall.SIGINT)
	context.AfterFunc(ctx, func() { signal.Stop(terminate); close(terminate) })
	go func() {
		if _, asked := <-terminate; asked {
			shadow.OrderedStop()
		}
	}()
	realtime.Take(log, realtime.Hashadow)
	return shadow.Run(ctx)
}
