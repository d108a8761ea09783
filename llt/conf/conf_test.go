package conf

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	"github.com/evenkeel/evenkeel/llt"
)

// TestFiles plays testdata: "tab" and "hosts" parse their input and print what
// was understood or the error.
func TestFiles(t *testing.T) {
	datadriven.RunTest(t, "testdata/conf.txt", func(t *testing.T, d *datadriven.TestData) string {
		switch d.Cmd {
		case "tab":
			tab, err := ParseTab("llttab", d.Input)
			if err != nil {
				return err.Error()
			}
			return show(tab)
		case "hosts":
			h, err := ParseHosts("llthosts", d.Input)
			if err != nil {
				return err.Error()
			}
			var b strings.Builder
			for _, id := range h.IDs() {
				fmt.Fprintf(&b, "%d=%s\n", id, h.NameOf(id))
			}
			return b.String()
		}
		t.Fatalf("unknown command %s", d.Cmd)
		return ""
	})
}

func show(t *Tab) string {
	var b strings.Builder
	fmt.Fprintf(&b, "node=%s cluster=%d profile=%s key=%q include=%v exclude=%v\n", t.Node, t.Cluster, t.Profile, t.KeyFile, t.Include, t.Exclude)
	for _, l := range t.Links {
		fmt.Fprintf(&b, "link %s low=%t %s %s sap=%#x mtu=%d local=%s broadcast=%s", l.Tag, l.LowPriority, l.Kind, l.Device, l.SAP, l.MTU, l.Local, l.Broadcast)
		if l.Kind == Disk {
			fmt.Fprintf(&b, " block=%d", l.Block)
		}
		if l.NoBroadcast {
			b.WriteString(" no-broadcast")
		}
		for _, p := range l.Peers {
			fmt.Fprintf(&b, " %d=%s%x", p.Node, p.UDP, p.MAC)
		}
		b.WriteByte('\n')
	}
	for _, name := range llt.TimerNames() {
		v, _ := t.Timers.Get(name)
		fmt.Fprintf(&b, "%s=%s ", name, v)
	}
	if t.MinLinks > 0 {
		fmt.Fprintf(&b, "minlinks=%d", t.MinLinks)
	}
	b.WriteByte('\n')
	for _, i := range t.Ignored {
		b.WriteString(i + "\n")
	}
	return b.String()
}

func TestNodeOf(t *testing.T) {
	h, err := ParseHosts("llthosts", "0 galaxy\n5 nebula\n")
	if err != nil {
		t.Fatal(err)
	}
	read := func(path string) (string, error) {
		if path == "/etc/nodename" {
			return "nebula\n", nil
		}
		return "", errors.New("no such file")
	}
	for node, want := range map[string]string{
		"galaxy": "0", "nebula": "5", "5": "5", "63": "63", "/etc/nodename": "5",
		"galaxi":  `llttab:1:10: set-node: llthosts has no system "galaxi"; did you mean "galaxy"?`,
		"/etc/no": "llttab:1:10: set-node: no such file",
		"64":      `llttab:1:10: set-node: llthosts has no system "64"; known are: galaxy nebula`,
	} {
		tab, err := ParseTab("llttab", "set-node "+node+"\nlink a eth0 - ether - -\n")
		if err != nil {
			t.Fatal(err)
		}
		id, err := tab.NodeOf("llttab", h, read)
		got := fmt.Sprint(id)
		if err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("set-node %s: %s, want %s", node, got, want)
		}
	}
}

// FuzzTab: any text gives a table or an error with a position, never a crash.
func FuzzTab(f *testing.F) {
	f.Add("set-node a\nset-cluster 2\nlink l1 eth0 - ether - -\nlink-lowpri l2 eth1 - ether 0xcaff 1400\nset-addr 1 l1 00:04:23:AC:12:C4\n")
	f.Add("set-node 0\nlink a udp - udp 50000 - 127.0.0.1 -\nset-addr 1 a 127.0.0.1:50001\nset-timer peerinact:1200\nexclude 2-63\nstart")
	f.Add("set-profile vcs\nset-key-file none # here\ninclude 0-3 7\nset-arp 0")
	f.Fuzz(func(t *testing.T, text string) {
		if _, err := ParseTab("llttab", text); err != nil && !strings.HasPrefix(err.Error(), "llttab:") {
			t.Fatalf("error without position: %v", err)
		}
	})
}

// FuzzHosts is FuzzTab for llthosts.
func FuzzHosts(f *testing.F) {
	f.Add("0 galaxy\n1 nebula\n")
	f.Fuzz(func(t *testing.T, text string) {
		if _, err := ParseHosts("llthosts", text); err != nil && !strings.HasPrefix(err.Error(), "llthosts:") {
			t.Fatalf("error without position: %v", err)
		}
	})
}
