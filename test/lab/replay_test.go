package lab

import (
	"context"
	"strings"
	"testing"
	"time"
)

// TestReplay: what the flight recorders of both hads hold, one that built the
// cluster and one that joined it, plays again through the engine to equal
// hashes; a changed event is found at its line.
func TestReplay(t *testing.T) {
	needsRoot(t)
	c := start(t, "testdata/address-disabled", false)
	c.waitGroup("Server1", "svc", "Server1", online, 20*time.Second)
	c.switchTo("Server1", "svc", "Server2")
	c.switchTo("Server2", "svc", "Server1")
	c.must("Server1", "hagrp", "-freeze", "svc")
	c.must("Server2", "hagrp", "-unfreeze", "svc")
	const file = "/var/lib/evenkeel/had.journal"
	for _, system := range []string{"Server1", "Server2"} {
		c.must(system, "rm", "-f", file)
		c.must(system, "pkill", "-USR1", "-x", "had")
		if err := Until(c.within(20*time.Second), "the journal of "+system, func(ctx context.Context) (bool, string) {
			_, err := c.Must(ctx, system, "test", "-s", file)
			return err == nil, "no file"
		}); err != nil {
			t.Fatal(err)
		}
		out := c.must(system, "hasim", "replay", file)
		t.Logf("%s:\n%s", system, out)
		if !strings.HasSuffix(out, "equal\n") || strings.Contains(out, " 0 events") || strings.Contains(out, " 0 hashes") {
			t.Errorf("%s: the replay says\n%s", system, out)
		}
	}
	// The first line that names the command has another sum now.
	c.must("Server1", "sh", "-c", "sed 's/unfreeze/unfreezf/' "+file+" > /tmp/tampered.journal")
	r, err := c.Exec(c.within(20*time.Second), "Server1", "hasim", "replay", "/tmp/tampered.journal")
	if err != nil || r.Code != 1 || !strings.Contains(r.Out, "DIFFERENT: line ") || !strings.Contains(r.Out, "changed after had wrote it") {
		t.Errorf("a changed journal: %v, exit code %d\n%s%s", err, r.Code, r.Out, r.Err)
	}
}
