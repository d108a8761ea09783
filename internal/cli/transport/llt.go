package transport

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"

	gabv1 "github.com/evenkeel/evenkeel/proto/evenkeel/gab/v1"
)

// maxNodes is the number of possible node ids.
const maxNodes = 64

// statForms are the forms of lltstat that print one thing.
var statForms = map[string]func(ctx context.Context, c clients, out io.Writer) error{
	"":  statistics,
	"v": traffic,
	"l": links,
	"c": configuration,
	"t": lltTunables,
	"p": lltPorts,
	"P": portStatistics,
	"e": troubles,
	"C": clusterID,
	"N": func(ctx context.Context, c clients, out io.Writer) error {
		return nodes(ctx, c, "n", []string{"configured"}, out)
	},
	"z": func(ctx context.Context, c clients, _ io.Writer) error {
		_, err := c.llt.ResetStatistics(ctx, &gabv1.ResetStatisticsRequest{})
		return err
	},
	"q": func(ctx context.Context, c clients, _ io.Writer) error { // quiet: the exit code tells
		_, err := c.llt.GetTransport(ctx, &gabv1.GetTransportRequest{})
		return err
	},
}

func lltstat(ctx context.Context, c clients, args []string, out io.Writer) error {
	letters, words := flags(args)
	switch letters {
	case "a":
		for _, letter := range []string{"c", "t", "l", "p"} {
			if err := statForms[letter](ctx, c, out); err != nil {
				return err
			}
		}
		if err := nodes(ctx, c, "nvv", []string{"configured"}, out); err != nil {
			return err
		}
		for _, letter := range []string{"v", "", "e"} {
			if err := statForms[letter](ctx, c, out); err != nil {
				return err
			}
		}
		return nil
	case "n", "nv", "nvv", "vn", "vvn", "vnv", "nvvr", "rnvv":
		return nodes(ctx, c, "n"+strings.Repeat("v", strings.Count(letters, "v")), words, out)
	}
	form := statForms[letters]
	if form == nil || len(words) > 0 {
		return errUsage
	}
	return form(ctx, c, out)
}

func clusterID(ctx context.Context, c clients, out io.Writer) error {
	answer, err := c.llt.GetTransport(ctx, &gabv1.GetTransportRequest{})
	if err == nil {
		fmt.Fprintln(out, answer.GetClusterId())
	}
	return err
}

func statistics(ctx context.Context, c clients, out io.Writer) error {
	answer, err := c.llt.GetStatistics(ctx, &gabv1.GetStatisticsRequest{})
	if err != nil {
		return err
	}
	fmt.Fprintln(out, "LLT statistics:")
	for _, counter := range answer.GetCounters() {
		fmt.Fprintf(out, "    %-10d %s\n", counter.GetValue(), counter.GetName())
	}
	return nil
}

// nodes prints the peers: -n with the number of links, -nv and -nvv with each
// link. -nvv lists every possible id unless active or configured is given.
func nodes(ctx context.Context, c clients, letters string, words []string, out io.Writer) error {
	answer, err := c.llt.ListPeers(ctx, &gabv1.ListPeersRequest{})
	if err != nil {
		return err
	}
	only := strings.Join(words, " ")
	if only != "" && only != "active" && only != "configured" {
		return errUsage
	}
	peers := answer.GetPeers()
	if letters == "nvv" && only == "" {
		peers = everyID(peers)
	}
	fmt.Fprintln(out, "LLT node information:")
	if letters == "n" {
		fmt.Fprintln(out, "    Node                 State    Links")
	} else {
		fmt.Fprintln(out, "    Node                 State    Link  Status  Address")
	}
	for _, peer := range peers {
		if only == "active" && peer.GetState() != "OPEN" || only == "configured" && peer.GetName() == "" {
			continue
		}
		star := " "
		if peer.GetSelf() {
			star = "*"
		}
		if letters == "n" {
			fmt.Fprintf(out, "   %s %-2d %-17s %-11s %d\n", star, peer.GetNodeId(), peer.GetName(), stateOf(peer), linksUp(peer))
			continue
		}
		fmt.Fprintf(out, "   %s %-2d %-17s %s\n", star, peer.GetNodeId(), peer.GetName(), stateOf(peer))
		for _, link := range peer.GetLinks() {
			line := fmt.Sprintf("                                  %-6s %-7s %s", link.GetTag(), link.GetStatus(), link.GetAddress())
			fmt.Fprintln(out, strings.TrimRight(line, " "))
		}
	}
	return nil
}

// stateOf is the state of a peer as lltstat prints it. A peer that is heard but
// whose gab makes no step is STALLED (R19).
func stateOf(peer *gabv1.Peer) string {
	if s := peer.GetState(); peer.GetStalled() && (s == "OPEN" || s == "TROUBLE") {
		return "STALLED"
	}
	return peer.GetState()
}

func linksUp(peer *gabv1.Peer) int {
	up := 0
	for _, link := range peer.GetLinks() {
		if link.GetStatus() == "UP" {
			up++
		}
	}
	return up
}

// everyID fills in the ids that nobody has configured.
func everyID(peers []*gabv1.Peer) []*gabv1.Peer {
	known := map[uint32]*gabv1.Peer{}
	var tags []*gabv1.PeerLink
	for _, peer := range peers {
		known[peer.GetNodeId()] = peer
		if len(tags) == 0 {
			for _, link := range peer.GetLinks() {
				tags = append(tags, &gabv1.PeerLink{Tag: link.GetTag(), Status: "DOWN"})
			}
		}
	}
	all := make([]*gabv1.Peer, 0, maxNodes)
	for id := range uint32(maxNodes) {
		peer := known[id]
		if peer == nil {
			peer = &gabv1.Peer{NodeId: id, State: "CONNWAIT", Links: tags}
		}
		all = append(all, peer)
	}
	return all
}

func links(ctx context.Context, c clients, out io.Writer) error {
	answer, err := c.llt.ListLinks(ctx, &gabv1.ListLinksRequest{})
	if err != nil {
		return err
	}
	fmt.Fprintln(out, "LLT link information:")
	for _, link := range answer.GetLinks() {
		priority := "hipri"
		if link.GetLowPriority() {
			priority = "lowpri"
		}
		state := ""
		if !link.GetUp() {
			state = " down"
		}
		sap := fmt.Sprintf("0x%04x", link.GetSap())
		if link.GetKind() != "ether" {
			sap = strconv.Itoa(int(link.GetSap()))
		}
		fmt.Fprintf(out, "link %d  %s on %s %s%s\n", link.GetIndex(), link.GetTag(), link.GetKind(), priority, state)
		fmt.Fprintf(out, "        mtu %d, sap %s, broadcast %s, device %s\n", link.GetMtu(), sap, link.GetBroadcast(), link.GetDevice())
		fmt.Fprintf(out, "        txpkts %d  txbytes %d\n", link.GetTxFrames(), link.GetTxBytes())
		fmt.Fprintf(out, "        rxpkts %d  rxbytes %d\n", link.GetRxFrames(), link.GetRxBytes())
		fmt.Fprintf(out, "        latehb %d  badcksum %d  errors %d\n", link.GetLateHeartbeats(), link.GetBadChecksums(), link.GetTxErrors())
		if link.GetReason() != "" {
			fmt.Fprintf(out, "        reason: %s\n", link.GetReason())
		}
	}
	return nil
}

func configuration(ctx context.Context, c clients, out io.Writer) error {
	answer, err := c.llt.GetTransport(ctx, &gabv1.GetTransportRequest{})
	if err != nil {
		return err
	}
	encryption := fmt.Sprintf("AES-256-GCM, key %08x", answer.GetKeyId())
	if !answer.GetEncrypted() {
		encryption = "none: anybody on a link can pose as any system"
	}
	fmt.Fprintln(out, "LLT configuration information:")
	for _, line := range [][2]string{
		{"node", strconv.Itoa(int(answer.GetNodeId()))},
		{"name", answer.GetName()},
		{"cluster", strconv.Itoa(int(answer.GetClusterId()))},
		{"nodes", "0 - 63"},
		{"max nodes", strconv.Itoa(maxNodes)},
		{"max ports", "26"},
		{"links", strconv.Itoa(int(answer.GetLinks()))},
		{"mtu", strconv.Itoa(int(answer.GetPieceBytes()))},
		{"max sdu", strconv.Itoa(16 << 20)},
		{"broadcast HB", "0"},
		{"encryption", encryption},
	} {
		fmt.Fprintf(out, "    %s: %s\n", line[0], line[1])
	}
	if len(answer.GetExcludedNodeIds()) > 0 {
		fmt.Fprintf(out, "    excluded: %s\n", strings.Trim(fmt.Sprint(answer.GetExcludedNodeIds()), "[]"))
	}
	return nil
}

// lltTunables are what VCS's module is given when it is loaded; here they are
// fixed.
func lltTunables(ctx context.Context, c clients, out io.Writer) error {
	if _, err := c.llt.GetTransport(ctx, &gabv1.GetTransportRequest{}); err != nil {
		return err
	}
	fmt.Fprintf(out, "LLT tunables:\n    maxnids: %d\n    maxports: 26\n    nominpad: 0\n", maxNodes)
	return nil
}

// lltPorts are GAB's: LLT carries one stream for each peer, and GAB tells its
// ports apart.
func lltPorts(ctx context.Context, c clients, out io.Writer) error {
	answer, err := c.gab.GetMembership(ctx, &gabv1.GetMembershipRequest{})
	if err != nil {
		return err
	}
	peers, err := c.llt.ListPeers(ctx, &gabv1.ListPeersRequest{})
	if err != nil {
		return err
	}
	var opens []string
	for _, p := range peers.GetPeers() {
		if p.GetState() == "OPEN" || p.GetState() == "TROUBLE" {
			opens = append(opens, strconv.Itoa(int(p.GetNodeId())))
		}
	}
	fmt.Fprintln(out, "LLT port information:")
	fmt.Fprintln(out, "    Port  Usage    Cookie")
	for _, p := range answer.GetPorts() {
		var members []string
		for _, m := range p.GetMembers() {
			members = append(members, strconv.Itoa(int(m.GetNodeId())))
		}
		number := int(p.GetPort()[0] - 'a')
		fmt.Fprintf(out, "    %-5d gab      0x%X\n", number, number)
		fmt.Fprintf(out, "          opens:    %s\n", strings.Join(opens, " "))
		fmt.Fprintf(out, "          connects: %s\n", strings.Join(members, " "))
	}
	return nil
}

// portStatistics are frames and bytes of the one stream that all ports share.
func portStatistics(ctx context.Context, c clients, out io.Writer) error {
	answer, err := c.llt.ListPeers(ctx, &gabv1.ListPeersRequest{})
	if err != nil {
		return err
	}
	fmt.Fprintln(out, "LLT port statistics (all ports of GAB share one stream to each peer):")
	fmt.Fprintln(out, "    Node                 Txpkts     Txbytes      Rxpkts     Rxbytes      Queued")
	for _, p := range answer.GetPeers() {
		if p.GetSelf() || p.GetName() == "" {
			continue
		}
		var tx, txb, rx, rxb uint64
		for _, k := range p.GetLinks() {
			tx, txb, rx, rxb = tx+k.GetTxFrames(), txb+k.GetTxBytes(), rx+k.GetRxFrames(), rxb+k.GetRxBytes()
		}
		fmt.Fprintf(out, "    %-2d %-17s %-10d %-12d %-10d %-12d %d\n", p.GetNodeId(), p.GetName(), tx, txb, rx, rxb, p.GetQueuedBytes())
	}
	return nil
}

// troubles prints what was refused or went wrong, by cause, link and node.
func troubles(ctx context.Context, c clients, out io.Writer) error {
	answer, err := c.llt.ListTroubles(ctx, &gabv1.ListTroublesRequest{})
	if err != nil {
		return err
	}
	fmt.Fprintln(out, "LLT errors by cause:")
	fmt.Fprintln(out, "    Cause            Link   Node  Count      Ago s    Detail")
	for _, t := range answer.GetTroubles() {
		node := "-"
		if t.NodeId != nil {
			node = strconv.Itoa(int(t.GetNodeId()))
		}
		tag := t.GetTag()
		if tag == "" {
			tag = "-"
		}
		line := fmt.Sprintf("    %-16s %-6s %-5s %-10d %-8d %s", t.GetCause(), tag, node, t.GetCount(), t.GetAgeMs()/1000, t.GetDetail())
		fmt.Fprintln(out, strings.TrimRight(line, " "))
	}
	return nil
}

func timers(ctx context.Context, c clients, out io.Writer) error {
	answer, err := c.llt.GetTransport(ctx, &gabv1.GetTransportRequest{})
	if err != nil {
		return err
	}
	fmt.Fprintln(out, "Current LLT timer values (.01 sec units):")
	for _, timer := range answer.GetTimers() {
		fmt.Fprintf(out, "  %-11s = %d\n", timer.GetName(), timer.GetTicks())
	}
	return nil
}

func addresses(ctx context.Context, c clients, out io.Writer) error {
	answer, err := c.llt.ListPeers(ctx, &gabv1.ListPeersRequest{})
	if err != nil {
		return err
	}
	links, err := c.llt.ListLinks(ctx, &gabv1.ListLinksRequest{})
	if err != nil {
		return err
	}
	for number, link := range links.GetLinks() {
		fmt.Fprintf(out, "Link %d (%s):\n", number, link.GetTag())
		for _, peer := range answer.GetPeers() {
			if number >= len(peer.GetLinks()) || peer.GetLinks()[number].GetAddress() == "" {
				continue
			}
			permanent := ""
			if peer.GetSelf() {
				permanent = "  permanent"
			}
			fmt.Fprintf(out, "    Node %3d %-17s :      %s%s\n", peer.GetNodeId(), peer.GetName(), peer.GetLinks()[number].GetAddress(), permanent)
		}
	}
	return nil
}

// traffic prints what went over each link to each peer, and how well.
func traffic(ctx context.Context, c clients, out io.Writer) error {
	answer, err := c.llt.ListPeers(ctx, &gabv1.ListPeersRequest{})
	if err != nil {
		return err
	}
	fmt.Fprintln(out, "LLT traffic by peer and link:")
	fmt.Fprintln(out, "    Node                 Link   Status  Txpkts     Rxpkts     Resent  Missed  RTT us  Jitter us  Silent ms")
	for _, peer := range answer.GetPeers() {
		if peer.GetSelf() || peer.GetName() == "" {
			continue
		}
		for _, k := range peer.GetLinks() {
			fmt.Fprintf(out, "    %-2d %-17s %-6s %-7s %-10d %-10d %-7d %-7d %-7d %-10d %d\n", peer.GetNodeId(), peer.GetName(), k.GetTag(), k.GetStatus(),
				k.GetTxFrames(), k.GetRxFrames(), k.GetResentFrames(), k.GetMissedHeartbeats(), k.GetRoundTripUs(), k.GetJitterUs(), k.GetAgeMs())
		}
	}
	return nil
}
