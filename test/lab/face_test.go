package lab

import (
	"bytes"
	"context"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/creack/pty"
)

// TestDoctorAndWatch: with real daemons: ha doctor finds nothing in a good
// cluster and names what is wrong in a bad one; ha watch, on a terminal, shows
// a move of a group as it happens, says when had is gone, and comes back.
func TestDoctorAndWatch(t *testing.T) {
	needsRoot(t)
	c := start(t, "../../examples/two-systems", false)
	c.waitGroup("east", "web", "east", online, 20*time.Second)
	c.waitSystem("east", "west", "RUNNING", 20*time.Second)
	c.untilOut(20*time.Second, "east", []string{"ha", "doctor"}, "nothing found by")

	cmd := c.Command(c.ctx, "east", "ha", "watch")
	cmd.Env = append(os.Environ(), "TERM=xterm")
	terminal, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 24, Cols: 80})
	if err != nil {
		t.Fatal(err)
	}
	defer terminal.Close()
	var mu sync.Mutex
	var drawn bytes.Buffer
	ended := make(chan struct{})
	go func() { // ends with the terminal
		defer close(ended)
		buffer := make([]byte, 4096)
		for {
			n, err := terminal.Read(buffer)
			mu.Lock()
			drawn.Write(buffer[:n])
			mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	escapes := regexp.MustCompile("\x1b\\[[0-9;?]*[A-Za-z]")
	sees := func(words ...string) {
		t.Helper()
		err := Until(c.within(30*time.Second), "ha watch to draw "+strings.Join(words, ", "), func(context.Context) (bool, string) {
			mu.Lock()
			defer mu.Unlock()
			text := escapes.ReplaceAllString(drawn.String(), "")
			for _, w := range words {
				if !strings.Contains(text, w) {
					return false, text
				}
			}
			drawn.Reset()
			return true, ""
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	sees("asked east", "live", "web", "ONLINE")
	c.must("east", "ha", "group", "switch", "web", "--to", "west", "--wait=30s")
	sees("Group web is online on system west")
	c.must("east", "hastop", "-local", "-force")
	sees("had does not answer")
	c.must("east", "hastart")
	sees("live")
	if _, err := terminal.WriteString("q"); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("ha watch ended with %v", err)
	}

	c.waitSystem("east", "east", "RUNNING", 30*time.Second)
	if err := c.Crash(c.ctx, "west"); err != nil {
		t.Fatal(err)
	}
	c.waitSystem("east", "west", "FAULTED", 30*time.Second)
	r, err := c.Exec(c.within(30*time.Second), "east", "ha", "doctor")
	if err != nil || r.Code != 1 || !strings.Contains(r.Out, "system west is FAULTED") || !strings.Contains(r.Out, "on west: ha node start") {
		t.Errorf("%v, exit %d:\n%s%s", err, r.Code, r.Out, r.Err)
	}
}
