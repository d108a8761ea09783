package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/evenkeel/evenkeel/llt"
	"github.com/evenkeel/evenkeel/test/lab"
)

// lossOn is the private link that loses frames in soaks, and how many of a hundred.
const (
	lossOn      = "priv2"
	lossPercent = 5
)

// hogs keep every core busy at normal priority, twice over, until stopped.
type hogs []*exec.Cmd

func startHogs() (hogs, error) {
	var all hogs
	for range 2 * runtime.NumCPU() {
		c := exec.Command("sh", "-c", "while :; do :; done")
		c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		if err := c.Start(); err != nil {
			all.stop()
			return nil, err
		}
		all = append(all, c)
	}
	return all, nil
}

func (h hogs) stop() {
	for _, c := range h {
		_ = c.Process.Kill()
		_ = c.Wait() // says that it was killed
	}
}

// detection kills the gab of one system as a crash does, at a moment of no
// meaning, and measures until the other one's LLT says DOWN and until its
// membership is without the dead one; idle and with every core busy.
func detection(ctx context.Context, runs int) error {
	for _, profile := range []string{"default", "fast", "experimental"} {
		for _, busy := range []bool{false, true} {
			if err := detectionOf(ctx, profile, busy, runs); err != nil {
				return fmt.Errorf("profile %s: %w", profile, err)
			}
		}
	}
	return nil
}

func detectionOf(ctx context.Context, profile string, busy bool, runs int) error {
	conf, err := twoSystems(profile, 0)
	if err != nil {
		return err
	}
	defer os.RemoveAll(conf)
	return withLab(ctx, "bench-detect", conf, func(l *lab.Lab) error {
		when := "idle"
		if busy {
			when = "all cores busy"
			h, err := startHogs()
			if err != nil {
				return err
			}
			defer h.stop()
		}
		down := &figures{name: fmt.Sprintf("%s, %s: kill to DOWN", profile, when)}
		view := &figures{name: fmt.Sprintf("%s, %s: kill to the view without it", profile, when)}
		for range max(runs, 7) {
			if err := killOnce(ctx, l, down, view); err != nil {
				return err
			}
		}
		down.print()
		view.print()
		return nil
	})
}

func twoSystems(profile string, loss int) (string, error) {
	conf, err := os.MkdirTemp("", "bench-detect-")
	if err != nil {
		return "", err
	}
	if err := writeEmptyCluster(conf, 2); err != nil {
		return "", err
	}
	text := fmt.Sprintf("fencing: {mode: disabled}\nprofile: %s\n", profile)
	if loss > 0 {
		text += fmt.Sprintf("env: {EVENKEEL_LLT_LOSS: \"%s:%d\"}\n", lossOn, loss)
	}
	return conf, os.WriteFile(filepath.Join(conf, "lab.yaml"), []byte(text), 0o644)
}

// killOnce kills Server2's gab, waits until Server1 is alone, and boots
// Server2 again.
func killOnce(ctx context.Context, l *lab.Lab, down, view *figures) error {
	status, err := l.Status(ctx)
	if err != nil {
		return err
	}
	pid := 0
	for _, s := range status.Systems {
		if s.Name == "Server2" {
			pid = s.Pids["gab"]
		}
	}
	if pid == 0 {
		return errors.New("Server2 has no gab to kill")
	}
	killed := time.Now()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		return err
	}
	var downAt, viewAt time.Time
	err = lab.Until(within(ctx, 20*time.Second), "Server1 to be alone", func(ctx context.Context) (bool, string) {
		lines, err := gabLines(ctx, l, "Server1", killed)
		if err != nil {
			return false, err.Error()
		}
		for _, line := range lines {
			switch {
			case line.Msg == "peer is down" && downAt.IsZero():
				downAt = line.Time
			case line.Msg == "view" && line.Port == "a" && line.Members == 1 && viewAt.IsZero():
				viewAt = line.Time
			}
		}
		return !downAt.IsZero() && !viewAt.IsZero(), "not yet"
	})
	if err != nil {
		return err
	}
	down.add(downAt.Sub(killed))
	view.add(viewAt.Sub(killed))
	if err := l.Crash(ctx, "Server2"); err != nil {
		return err
	}
	if err := l.Boot(ctx, "Server2"); err != nil {
		return err
	}
	return waitRunning(ctx, l, "Server1", "Server2")
}

// gabLine is a record of gab's log.
type gabLine struct {
	Time    time.Time `json:"time"`
	Msg     string    `json:"msg"`
	Port    string    `json:"port"`
	Members int       `json:"members"`
	Reason  string    `json:"reason"`
	Ms      int       `json:"ms,string"`
}

// gabLines reads what a system's gab has logged since.
func gabLines(ctx context.Context, l *lab.Lab, system string, since time.Time) ([]gabLine, error) {
	text, err := l.Must(ctx, system, "cat", "/var/log/evenkeel/gab_A.log")
	if err != nil {
		return nil, err
	}
	var out []gabLine
	for _, line := range bytes.Split([]byte(text), []byte("\n")) {
		var g gabLine
		if json.Unmarshal(line, &g) != nil && g.Msg == "" {
			continue
		}
		if !g.Time.Before(since) {
			out = append(out, g)
		}
	}
	return out, nil
}

// soak lets two systems stand for a time with every core busy at normal
// priority and one of two links losing frames, and counts false alarms: peers
// that are DOWN, links that are in trouble on the good link, systems that
// stopped. It fails if a peer was DOWN.
func soak(ctx context.Context, profile string, d time.Duration) error {
	if _, ok := llt.Profile(profile); !ok {
		return fmt.Errorf("unknown profile %q; known are %s", profile, strings.Join(llt.Profiles(), ", "))
	}
	conf, err := twoSystems(profile, lossPercent)
	if err != nil {
		return err
	}
	defer os.RemoveAll(conf)
	return withLab(ctx, "soak-"+profile, conf, func(l *lab.Lab) error {
		h, err := startHogs()
		if err != nil {
			return err
		}
		defer h.stop()
		began := time.Now()
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(d):
		}
		alarms := 0
		for _, system := range []string{"Server1", "Server2"} {
			lines, err := gabLines(ctx, l, system, began)
			if err != nil {
				fmt.Printf("  %s, %s: gone, it took itself for evicted: %v\n", profile, system, err)
				alarms++
				continue
			}
			count := map[string]int{}
			longest := 0
			for _, line := range lines {
				count[line.Msg]++
				if line.Msg == "llt timer-late" {
					longest = max(longest, line.Ms)
				}
			}
			alarms += count["peer is down"]
			fmt.Printf("  %s, %s, %s, %d busy loops on %d cores, %d %% loss on %s: %d peers DOWN, links in trouble %d, expired %d, gab late %d times (at most %d ms), stood still %d\n",
				profile, system, d, len(h), runtime.NumCPU(), lossPercent, lossOn, count["peer is down"], count["llt link-trouble"], count["llt link-expired"],
				count["llt timer-late"], longest, count["gab stood still"])
		}
		if alarms > 0 {
			return fmt.Errorf("profile %s: %d false alarms", profile, alarms)
		}
		return nil
	})
}
