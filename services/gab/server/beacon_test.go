package server

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/evenkeel/evenkeel/llt/link"
	gabv1 "github.com/evenkeel/evenkeel/proto/evenkeel/gab/v1"
)

// TestRecordedSlots_R20: the slot of a system on a real region is recorded while
// it lives. When it is gone, somebody writes what was recorded there again and
// again, as a disk does that was restored from a copy. Nobody takes it for
// life: not who knew that boot, not who starts afterwards.
func TestRecordedSlots_R20(t *testing.T) {
	dir, err := os.MkdirTemp(".", "region") // not /tmp: that may be in memory and refuse O_DIRECT
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	image, err := filepath.Abs(filepath.Join(dir, "disk"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(image, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := link.InitRegion(image, 16, [16]byte{4, 5, 6}, "test", false); err != nil {
		t.Skipf("no file here that takes O_DIRECT: %v", err)
	}
	const slot, at = 4096, 16*512 + 4096*(1+1) // of node 1, as docs/spec/llt.md section 9 says
	read := func() string {
		text, err := os.ReadFile(image)
		if err != nil {
			t.Fatal(err)
		}
		return string(text[at : at+slot])
	}
	c := newCluster(t, 2, "")
	c.extra += "link disk1 " + image + " - disk 16 -\n"
	c.start(0)
	c.start(1)
	c.waitMembers(c.nodes[0], "a", "s0 s1")
	waitLink(t, c.nodes[0], "s1", "disk1", "UP")
	recorded := []string{read()}
	until(t, func() string {
		if now := read(); now != recorded[len(recorded)-1] {
			recorded = append(recorded, now)
		}
		if len(recorded) < 6 {
			return fmt.Sprintf("%d slots recorded", len(recorded))
		}
		return ""
	})
	c.stop(c.nodes[1])
	c.waitMembers(c.nodes[0], "a", "s0")
	waitLink(t, c.nodes[0], "s1", "disk1", "DOWN")

	disk, err := os.OpenFile(image, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer disk.Close()
	// replay writes until the system has refused what it read, of all of them
	// some, and says what it then thinks of s1.
	replay := func(n *system) *gabv1.Peer {
		t.Helper()
		i := 0
		until(t, func() string {
			if _, err := disk.WriteAt([]byte(recorded[i%len(recorded)]), at); err != nil {
				t.Fatal(err)
			}
			i++
			p := n.peer("s1")
			if p.GetAliveUnreachable() || p.GetState() == "OPEN" {
				t.Fatalf("recorded slots count as life: %v\n%s", p, n.log)
			}
			for _, k := range p.GetLinks() {
				if k.GetTag() == "disk1" && k.GetStatus() != "DOWN" {
					t.Fatalf("recorded slots count as a heartbeat: %v\n%s", p, n.log)
				}
			}
			if i < 100 {
				return "still writing"
			}
			return ""
		})
		return n.peer("s1")
	}
	replay(c.nodes[0])
	if log := c.nodes[0].log.String(); !strings.Contains(log, "llt replayed") {
		t.Errorf("the system never read what was written:\n%s", log)
	}
	c.stop(c.nodes[0])
	n := c.start(0)
	waitLink(t, n, "s1", "disk1", "DOWN")
	if p := replay(n); p.GetState() != "CONNWAIT" && p.GetState() != "DOWN" {
		t.Errorf("s1 is %s for who has just started", p.GetState())
	}
}
