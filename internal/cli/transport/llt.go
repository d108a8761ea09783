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

func lltstat(ctx context.Context, c clients, args []string, out io.Writer) error {
	letters, words := flags(args)
	switch letters {
	case "":
		answer, err := c.llt.GetStatistics(ctx, &gabv1.GetStatisticsRequest{})
		if err != nil {
			return err
		}
		fmt.Fprintln(out, "LLT statistics:")
		for _, counter := range answer.GetCounters() {
			fmt.Fprintf(out, "    %-10d %s\n", counter.GetValue(), counter.GetName())
		}
		return nil
	case "v":
		return traffic(ctx, c, out)
	case "C":
		answer, err := c.llt.GetTransport(ctx, &gabv1.GetTransportRequest{})
		if err != nil {
			return err
		}
		fmt.Fprintln(out, answer.GetClusterId())
		return nil
	case "N":
		return nodes(ctx, c, "n", []string{"configured"}, out)
	case "a":
		for _, form := range [][]string{{"-c"}, {"-l"}, {"-nvv", "configured"}, {"-v"}, nil} {
			if err := lltstat(ctx, c, form, out); err != nil {
				return err
			}
		}
		return nil
	case "n", "nv", "nvv":
		return nodes(ctx, c, letters, words, out)
	case "l":
		return links(ctx, c, out)
	case "c":
		return configuration(ctx, c, out)
	}
	return errUsage
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
			fmt.Fprintf(out, "   %s %-2d %-17s %-11s %d\n", star, peer.GetNodeId(), peer.GetName(), peer.GetState(), linksUp(peer))
			continue
		}
		fmt.Fprintf(out, "   %s %-2d %-17s %s\n", star, peer.GetNodeId(), peer.GetName(), peer.GetState())
		for _, link := range peer.GetLinks() {
			line := fmt.Sprintf("                                  %-6s %-7s %s", link.GetTag(), link.GetStatus(), link.GetAddress())
			fmt.Fprintln(out, strings.TrimRight(line, " "))
		}
	}
	return nil
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
		fmt.Fprintf(out, "        errors %d\n", link.GetTxErrors())
	}
	return nil
}

func configuration(ctx context.Context, c clients, out io.Writer) error {
	answer, err := c.llt.GetTransport(ctx, &gabv1.GetTransportRequest{})
	if err != nil {
		return err
	}
	encryption := "AES-256-GCM"
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
		{"links", strconv.Itoa(int(answer.GetLinks()))},
		{"encryption", encryption},
	} {
		fmt.Fprintf(out, "    %s: %s\n", line[0], line[1])
	}
	return nil
}

func lltconfig(ctx context.Context, c clients, args []string, out io.Writer) error {
	switch {
	case len(args) == 0:
		if _, err := c.llt.GetTransport(ctx, &gabv1.GetTransportRequest{}); err != nil {
			return err
		}
		fmt.Fprintln(out, "LLT is running")
		return nil
	case len(args) == 2 && args[0] == "-T" && args[1] == "query":
		return timers(ctx, c, out)
	case len(args) == 2 && args[0] == "-T":
		name, value, found := strings.Cut(args[1], ":")
		ticks, err := strconv.ParseUint(value, 10, 32)
		if !found || err != nil {
			return errUsage
		}
		_, err = c.llt.SetTimer(ctx, &gabv1.SetTimerRequest{Timer: &gabv1.Timer{Name: name, Ticks: uint32(ticks)}})
		return err
	case len(args) == 2 && args[0] == "-a" && args[1] == "list":
		return addresses(ctx, c, out)
	}
	return errUsage
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
