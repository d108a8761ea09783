package server

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/evenkeel/evenkeel/llt/link"
	gabv1 "github.com/evenkeel/evenkeel/proto/evenkeel/gab/v1"
)

func ask(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// linkOf is how a system sees another on a link: "" if it does not know it.
func (n *system) linkOf(peer, tag string) *gabv1.PeerLink {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	out, err := n.llt.ListPeers(ctx, &gabv1.ListPeersRequest{})
	if err != nil {
		return nil
	}
	for _, p := range out.GetPeers() {
		for _, k := range p.GetLinks() {
			if p.GetName() == peer && k.GetTag() == tag {
				return k
			}
		}
	}
	return nil
}

func (n *system) peer(name string) *gabv1.Peer {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	out, err := n.llt.ListPeers(ctx, &gabv1.ListPeersRequest{})
	if err != nil {
		return nil
	}
	for _, p := range out.GetPeers() {
		if p.GetName() == name {
			return p
		}
	}
	return nil
}

func waitLink(t *testing.T, n *system, peer, tag, want string) {
	t.Helper()
	until(t, func() string {
		if got := n.linkOf(peer, tag).GetStatus(); got != want {
			return fmt.Sprintf("link %s to %s is %q, want %q\n%s", tag, peer, got, want, n.log)
		}
		return ""
	})
}

// TestLinksAtRunTime: a link is removed and added again under its number, with
// the addresses that it had; the last high-priority one stays unless forced;
// what is not in llttab is gone with the next start.
func TestLinksAtRunTime(t *testing.T) {
	c := formed(t, 2, "")
	s0, s1 := c.nodes[0], c.nodes[1]
	waitLink(t, s0, "s1", "b", "UP")
	_, err := s0.llt.RemoveLink(ask(t), &gabv1.RemoveLinkRequest{Tag: "b"})
	if status.Code(err) != codes.FailedPrecondition || !strings.Contains(err.Error(), "jeopardy") || !strings.Contains(err.Error(), "lltconfig -u b -o") {
		t.Fatalf("removing a link that leaves one alone: %v", err)
	}
	for _, n := range []*system{s0, s1} {
		if _, err := n.llt.RemoveLink(ask(t), &gabv1.RemoveLinkRequest{Tag: "b", Force: true}); err != nil {
			t.Fatal(err)
		}
	}
	if s0.linkOf("s1", "b") != nil {
		t.Error("a removed link is listed")
	}
	_, err = s0.llt.RemoveLink(ask(t), &gabv1.RemoveLinkRequest{Tag: "a"})
	if status.Code(err) != codes.FailedPrecondition || !strings.Contains(err.Error(), "last high-priority link") {
		t.Fatalf("removing the last high-priority link: %v", err)
	}
	until(t, func() string {
		if !s0.peer("s1").GetJeopardy() {
			return "no jeopardy over one link"
		}
		return ""
	})
	for i, n := range []*system{s0, s1} {
		r, err := n.llt.AddLink(ask(t), &gabv1.AddLinkRequest{Tag: "b", Device: "udp", Kind: "udp", Sap: fmt.Sprint(c.ports[i][1]), Address: "127.0.0.1", LowPriority: true})
		if err != nil || r.GetIndex() != 1 {
			t.Fatalf("AddLink: %v %v", r, err)
		}
		if _, err := n.llt.SetAddress(ask(t), &gabv1.SetAddressRequest{Node: fmt.Sprintf("s%d", 1-i), Tag: "b", Address: fmt.Sprintf("127.0.0.1:%d", c.ports[1-i][1])}); err != nil {
			t.Fatal(err)
		}
	}
	waitLink(t, s0, "s1", "b", "UP")
	until(t, func() string {
		if k := s0.linkOf("s1", "b"); k.GetSeenByPeer() != "UP" || k.GetPeerMtu() != 8192 {
			return fmt.Sprintf("s1 does not say how it sees s0: %v", k)
		}
		return ""
	})
	if _, err := s0.llt.SetLinkPriority(ask(t), &gabv1.SetLinkPriorityRequest{Tag: "b"}); err != nil {
		t.Fatal(err)
	}
	until(t, func() string {
		l, err := s0.llt.ListLinks(ask(t), &gabv1.ListLinksRequest{})
		if err != nil || l.GetLinks()[1].GetLowPriority() || !l.GetLinks()[1].GetRunTime() {
			return fmt.Sprintf("links: %v %v", l, err)
		}
		return ""
	})
	for _, wrong := range []struct {
		r    *gabv1.AddLinkRequest
		code codes.Code
		says string
	}{
		{&gabv1.AddLinkRequest{Tag: "a", Device: "eth9"}, codes.AlreadyExists, "lltconfig -u a"},
		{&gabv1.AddLinkRequest{Tag: "c"}, codes.InvalidArgument, "lltconfig -t TAG -d DEVICE"},
		{&gabv1.AddLinkRequest{Tag: "c", Device: "udp", Kind: "udp", Sap: "0", Address: "127.0.0.1"}, codes.InvalidArgument, "UDP port"},
		{&gabv1.AddLinkRequest{Tag: "c", Device: "eth9 x"}, codes.InvalidArgument, "blank"},
		{&gabv1.AddLinkRequest{Tag: "c", Device: "sdc", Kind: "disk"}, codes.InvalidArgument, "block device"},
	} {
		if _, err := s0.llt.AddLink(ask(t), wrong.r); status.Code(err) != wrong.code || !strings.Contains(err.Error(), wrong.says) {
			t.Errorf("AddLink %v: %v", wrong.r, err)
		}
	}
	if _, err := s0.llt.SetNodes(ask(t), &gabv1.SetNodesRequest{Low: 1, High: 1, Exclude: true}); status.Code(err) != codes.FailedPrecondition {
		t.Errorf("a member was excluded: %v", err)
	}
	if got, _ := s0.members("a"); got != "s0 s1" {
		t.Errorf("port a has %q after all that", got)
	}
}

// TestKeyRotation: R20. The key changes while messages flow, on every member
// and in every key file; a system that was down is told from a stranger, and
// joins once it has the new file.
func TestKeyRotation(t *testing.T) {
	c := newCluster(t, 3, "")
	for i := range 3 {
		c.start(i)
	}
	c.waitMembers(c.nodes[0], "a", "s0 s1 s2")
	c.stop(c.nodes[2])
	c.waitMembers(c.nodes[0], "a", "s0 s1")
	d := c.attach(c.nodes[0], "d")
	c.attach(c.nodes[1], "d")
	nextView(t, d, 2)
	ctx, stop := context.WithCancel(context.Background())
	sent := make(chan int, 1)
	go func() { // ends with stop
		n := 0
		for ctx.Err() == nil {
			if _, err := d.Send(ctx, []byte("traffic")); err != nil {
				break
			}
			n++
		}
		sent <- n
	}()
	got, lost := 0, 0
	flows, counted := make(chan struct{}), make(chan struct{})
	go func() { // ends when the client is closed
		defer close(counted)
		for e := range d.Events() {
			if e.GetMessage() != nil {
				if got++; got == 1 {
					close(flows)
				}
			}
			if o := e.GetOutcome(); o != nil && o.GetResult() != gabv1.SendResult_SEND_RESULT_DELIVERED {
				lost++
			}
			if e.GetView() != nil {
				t.Error("the membership changed during the rotation")
			}
		}
	}()
	select {
	case <-flows: // there is traffic before the rotation begins
	case <-time.After(patience):
		t.Fatal("no message came")
	}
	key := make([]byte, 32)
	rand.Read(key)
	r, err := c.nodes[1].llt.RotateKey(ask(t), &gabv1.RotateKeyRequest{Key: key})
	if err != nil {
		t.Fatalf("%v\n%s", err, c.nodes[0].log)
	}
	if strings.Join(r.GetSystems(), " ") != "s0 s1" || strings.Join(r.GetAbsent(), " ") != "s2" {
		t.Errorf("rotation: %v", r)
	}
	stop()
	n := <-sent
	d.Close()
	<-counted
	t.Logf("%d messages sent during the rotation, %d delivered while it was watched, %d lost", n, got, lost)
	if lost > 0 {
		t.Errorf("%d messages of %d were lost, %d came", lost, n, got)
	}
	for _, node := range c.nodes[:2] {
		until(t, func() string {
			k, err := node.llt.GetKeys(ask(t), &gabv1.GetKeysRequest{})
			if err != nil || k.GetUsed() != r.GetKeyId() || len(k.GetAccepted()) != 1 || k.GetRotation() != "" {
				return fmt.Sprintf("keys: %v %v", k, err)
			}
			return ""
		})
		st, err := os.Stat(node.root.Config("cluster.key"))
		if err != nil || st.Mode().Perm() != 0o600 {
			t.Errorf("cluster.key: %v %v", st, err)
		}
		if text, _ := os.ReadFile(node.root.Config("cluster.key")); strings.TrimSpace(string(text)) != fmt.Sprintf("%x", key) {
			t.Error("cluster.key is not the new one")
		}
		if _, err := os.Stat(node.root.Config("cluster.key.new")); !os.IsNotExist(err) {
			t.Error("cluster.key.new was left behind")
		}
	}
	// s2 comes with the old key.
	c.start(2)
	until(t, func() string {
		k, err := c.nodes[0].llt.GetKeys(ask(t), &gabv1.GetKeysRequest{})
		if err != nil || len(k.GetOldKeyNodeIds()) != 1 || k.GetOldKeyNodeIds()[0] != 2 {
			return fmt.Sprintf("s2 is not known to have the old key: %v %v", k, err)
		}
		return ""
	})
	if got, _ := c.nodes[0].members("a"); got != "s0 s1" {
		t.Fatalf("port a has %q with a system of the old key", got)
	}
	c.stop(c.nodes[2])
	c.write(c.nodes[2].root, "cluster.key", fmt.Sprintf("%x\n", key))
	c.start(2)
	c.waitMembers(c.nodes[0], "a", "s0 s1 s2")
	if _, err := c.nodes[0].llt.RotateKey(ask(t), &gabv1.RotateKeyRequest{Key: []byte("short")}); status.Code(err) != codes.InvalidArgument {
		t.Errorf("a short key: %v", err)
	}
}

// TestKeyInstalledBeforeCrash: R20. A system that stopped between install and
// use has both keys; it follows the others when it is back.
func TestKeyInstalledBeforeCrash(t *testing.T) {
	c := formed(t, 2, "")
	c.stop(c.nodes[1])
	c.waitMembers(c.nodes[0], "a", "s0")
	key := strings.Repeat("7b", 32)
	c.write(c.nodes[1].root, "cluster.key.new", key)
	raw := []byte(strings.Repeat("\x7b", 32))
	if _, err := c.nodes[0].llt.RotateKey(ask(t), &gabv1.RotateKeyRequest{Key: raw}); err != nil {
		t.Fatal(err)
	}
	c.start(1)
	c.waitMembers(c.nodes[0], "a", "s0 s1")
	until(t, func() string {
		if text, err := os.ReadFile(c.nodes[1].root.Config("cluster.key")); err != nil || strings.TrimSpace(string(text)) != key {
			return fmt.Sprintf("the key file of s1 does not follow: %q %v", text, err)
		}
		return ""
	})
}

// TestDiskHeartbeatAlone: R16. All links are gone and the disk heartbeat goes
// on: each side has the other out of the view, without evidence, and visible.
func TestDiskHeartbeatAlone(t *testing.T) {
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
	if err := link.InitRegion(image, 16, [16]byte{1, 2, 3}, "test", false); err != nil {
		t.Skipf("no file here that takes O_DIRECT: %v", err)
	}
	c := newCluster(t, 2, "")
	c.extra += "link disk1 " + image + " - disk 16 -\n"
	c.start(0)
	c.start(1)
	c.waitMembers(c.nodes[0], "a", "s0 s1")
	h := c.attach(c.nodes[0], "h")
	c.attach(c.nodes[1], "h")
	nextView(t, h, 2)
	for i, n := range c.nodes {
		waitLink(t, n, fmt.Sprintf("s%d", 1-i), "disk1", "UP")
	}
	for _, n := range c.nodes {
		for _, tag := range []string{"a", "b"} {
			if _, err := n.llt.RemoveLink(ask(t), &gabv1.RemoveLinkRequest{Tag: tag, Force: true}); err != nil {
				t.Fatal(err)
			}
		}
	}
	v := nextView(t, h, 1)
	if len(v.GetDeparted()) != 1 || v.GetDeparted()[0].GetEvidence() != gabv1.EvidenceKind_EVIDENCE_KIND_UNSPECIFIED || !strings.Contains(v.GetDeparted()[0].GetDetail(), "disk heartbeat") {
		t.Errorf("view without s1: %v", v)
	}
	for i, n := range c.nodes {
		other := fmt.Sprintf("s%d", 1-i)
		until(t, func() string {
			_, m := n.members("a")
			if p := n.peer(other); !p.GetAliveUnreachable() || len(m.GetPorts()) == 0 || len(m.GetPorts()[0].GetVisible()) != 1 || m.GetPorts()[0].GetVisible()[0].GetName() != other {
				return fmt.Sprintf("%s is not shown as alive: %v %v\n%s", other, p, m, n.log)
			}
			return ""
		})
	}
	// It stops after it was seen alone: nothing is taken back.
	c.stop(c.nodes[1])
	waitLink(t, c.nodes[0], "s1", "disk1", "DOWN")
	if !c.nodes[0].peer("s1").GetAliveUnreachable() {
		t.Error("silence on the disk after a time alone was taken for a death")
	}
}
