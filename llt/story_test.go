package llt

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
)

// TestStories plays the protocol stories of testdata. Commands:
//
//	start id=0 [again=1] [high=2] [low=0] [key=1] [cluster=7]   start a system
//	run DURATION               let the world go on; prints what happened
//	cut a=0 b=1 link=0         cut a link; heal joins it again
//	heal a=0 b=1 link=0
//	local-down id=0 link=0     the interface goes down; local-up
//	local-up id=0 link=0
//	send from=0 to=1 text=x    send a message
//	crash id=1                 a system stops for ever
//	pause id=1                 it stands still; thaw ends that
//	thaw id=1
//	farewell id=1              an orderly stop
//	reset id=0 node=1          ends a connection
//	peers id=0                 what lltstat -nvv shows
//	add-link id=0 link=2       attach a link while the core runs; remove-link
//	exclude id=0 node=1 on=1   ignore a node, or no longer
//	key id=0 install=9 use=9 drop=1  change the cluster key, by number
//	troubles id=0              what went wrong
//	counter id=0 name="..."    one counter
func TestStories(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		if strings.Contains(path, "/fuzz") || strings.Contains(path, "/rapid") || strings.Contains(path, "/recorded") {
			return
		}
		w := newNetwork(t, 1)
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			return w.story(t, d)
		})
	})
}

func (w *network) story(t *testing.T, d *datadriven.TestData) string {
	arg := func(name string, def int) int {
		d.MaybeScanArgs(t, name, &def)
		return def
	}
	id, linkID := arg("id", 0), arg("link", 0)
	switch d.Cmd {
	case "start":
		var key Key
		switch k := arg("key", 1); k {
		case 0:
		case 1:
			key = testKey
		default:
			key = numberedKey(k)
		}
		cfg := w.config(id, arg("again", 0), arg("high", 2), arg("low", 0), key)
		cfg.Cluster = uint16(arg("cluster", 7))
		for range arg("disk", 0) {
			cfg.Links = append(cfg.Links, LinkConfig{Tag: "disk", HeartbeatOnly: true, NoBroadcast: true, MTU: 4000})
		}
		w.start(cfg)
		return ""
	case "run":
		d, err := time.ParseDuration(d.CmdArgs[0].Key)
		if err != nil {
			t.Fatal(err)
		}
		w.run(d)
		return w.log()
	case "cut", "heal":
		w.setCut(arg("a", 0), arg("b", 1), linkID, d.Cmd == "cut")
		return ""
	case "local-down":
		w.step(w.find(id), LinkDown{Link: LinkID(linkID)})
	case "local-up":
		w.step(w.find(id), LinkUp{Link: LinkID(linkID)})
	case "send":
		var text string
		d.ScanArgs(t, "text", &text)
		w.send(arg("from", 0), arg("to", 1), text)
	case "crash":
		w.find(id).dead = true
	case "pause", "thaw":
		w.find(id).paused = d.Cmd == "pause"
	case "farewell":
		w.step(w.find(id), Stop{})
	case "reset":
		w.step(w.find(id), Reset{Node: NodeID(arg("node", 1)), Reason: "story"})
	case "add-link":
		w.step(w.find(id), AddLink{Link: LinkID(linkID), Config: LinkConfig{Tag: fmt.Sprintf("l%d", linkID), MTU: 1500}})
		w.step(w.find(id), LinkUp{Link: LinkID(linkID)})
	case "remove-link":
		w.step(w.find(id), RemoveLink{Link: LinkID(linkID)})
	case "exclude":
		w.step(w.find(id), SetExclude{Node: NodeID(arg("node", 1)), Exclude: arg("on", 1) == 1})
	case "key":
		if k := arg("install", 0); k > 0 {
			w.step(w.find(id), InstallKey{Key: numberedKey(k)})
		}
		if k := arg("use", 0); k > 0 {
			w.step(w.find(id), UseKey{ID: numberedKey(k).ID()})
		}
		if k := arg("drop", 0); k > 0 {
			w.step(w.find(id), DropKey{ID: numberedKey(k).ID()})
		}
	case "troubles":
		var b strings.Builder
		for _, tr := range w.find(id).core.Troubles(w.now) {
			fmt.Fprintf(&b, "%s link=%d node=%d count=%d %s\n", tr.Cause, tr.Link, tr.Node, tr.Count, tr.Detail)
		}
		return b.String()
	case "peers":
		return w.showPeers(w.find(id))
	case "counter":
		var name string
		d.ScanArgs(t, "name", &name)
		return fmt.Sprint(counter(w.find(id).core, strings.ReplaceAll(name, "_", " ")))
	default:
		t.Fatalf("unknown command %s", d.Cmd)
	}
	return w.log()
}

// numberedKey is testKey for 1, another one for each other number.
func numberedKey(k int) Key {
	if k == 1 {
		return testKey
	}
	return bytes.Repeat([]byte{byte(k)}, 32)
}

func (w *network) showPeers(n *node) string {
	var b strings.Builder
	for _, p := range n.core.Peers(w.now) {
		fmt.Fprintf(&b, "%d %s stalled=%t jeopardy=%t", p.Node, p.State, p.Stalled, p.Jeopardy)
		if p.Unreachable {
			b.WriteString(" alive-unreachable")
		}
		for i, l := range p.Links {
			fmt.Fprintf(&b, " l%d=%s", i, l.State)
		}
		b.WriteByte('\n')
	}
	return b.String()
}
