package server

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/evenkeel/evenkeel/internal/localrpc"
	"github.com/evenkeel/evenkeel/internal/vclock"
	"github.com/evenkeel/evenkeel/llt"
	lltconf "github.com/evenkeel/evenkeel/llt/conf"
	"github.com/evenkeel/evenkeel/llt/link"
	gabv1 "github.com/evenkeel/evenkeel/proto/evenkeel/gab/v1"
	"github.com/evenkeel/evenkeel/services/gab"
)

// linkSpec is what one number of a link stands for in this incarnation.
type linkSpec struct {
	lltconf.Link
	runTime bool // it came by AddLink
}

// linkSpecs are the links by number; a number that was in use keeps its spec.
func linkSpecs(tab *lltconf.Tab) (out [llt.MaxLinks]linkSpec) {
	for i, k := range tab.Links {
		out[i].Link = k
	}
	return out
}

// attached lists the links that are there now, by number.
func (l *loop) attached() (out []int) {
	for i, k := range l.llt.Links() {
		if !k.Absent {
			out = append(out, i)
		}
	}
	return out
}

// change runs f in the loop for a caller who may change things; f's error is
// the answer.
func (s *Server) change(ctx context.Context, f func(l *loop) error) error {
	if err := localrpc.MayChange(ctx); err != nil {
		return err
	}
	l, err := s.running()
	if err != nil {
		return err
	}
	var wrong error
	if err := l.do(ctx, func() { wrong = f(l) }); err != nil {
		return s.unavailable(err)
	}
	return wrong
}

// linkByTag finds a link that is attached.
func (l *loop) linkByTag(tag string) (int, error) {
	var tags []string
	for _, i := range l.attached() {
		if l.specs[i].Tag == tag {
			return i, nil
		}
		tags = append(tags, l.specs[i].Tag)
	}
	return 0, status.Errorf(codes.NotFound, "no link has the tag %q; there are: %s", tag, strings.Join(tags, " "))
}

func dash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}

// linkLine is a request as a line of llttab.
func linkLine(r *gabv1.AddLinkRequest) string {
	verb, kind := "link", r.GetKind()
	if r.GetLowPriority() {
		verb = "link-lowpri"
	}
	if kind == "" {
		kind = string(lltconf.Ether)
	}
	line := strings.Join([]string{verb, dash(r.GetTag()), dash(r.GetDevice()), "-", kind, dash(r.GetSap()), dash(r.GetMtu())}, " ")
	if kind == string(lltconf.UDP) || kind == string(lltconf.UDP6) {
		line += " " + dash(r.GetAddress()) + " " + dash(r.GetBroadcast())
	}
	return line
}

// AddLink attaches a link until the next start.
func (s *Server) AddLink(ctx context.Context, r *gabv1.AddLinkRequest) (*gabv1.AddLinkResponse, error) {
	out := &gabv1.AddLinkResponse{}
	err := s.change(ctx, func(l *loop) error {
		there := &lltconf.Tab{}
		for _, i := range l.attached() {
			if l.specs[i].Tag == r.GetTag() {
				return status.Errorf(codes.AlreadyExists, "link %s is attached already; lltconfig -u %s removes it", r.GetTag(), r.GetTag())
			}
			there.Links = append(there.Links, l.specs[i].Link)
		}
		for _, word := range []string{r.GetTag(), r.GetDevice(), r.GetKind(), r.GetSap(), r.GetMtu(), r.GetAddress(), r.GetBroadcast()} {
			if strings.ContainsAny(word, " \t\n#") {
				return status.Errorf(codes.InvalidArgument, "%q: a blank or # is no part of a word of llttab", word)
			}
		}
		if r.GetTag() == "" || r.GetDevice() == "" {
			return status.Error(codes.InvalidArgument, "a link needs a tag and a device: lltconfig -t TAG -d DEVICE")
		}
		spec, err := there.ParseLink("link", linkLine(r))
		if err != nil {
			return status.Error(codes.InvalidArgument, err.Error())
		}
		i, err := l.freeNumber(spec.Tag)
		if err != nil {
			return err
		}
		if old := l.specs[i]; old.Tag == spec.Tag && old.Kind == spec.Kind {
			spec.Peers = old.Peers
		}
		l.specs[i] = linkSpec{Link: spec, runTime: true}
		l.stepLLT(l.last, llt.AddLink{Link: llt.LinkID(i), Config: link.ConfigOf(spec)})
		l.links.Add(llt.LinkID(i), spec)
		l.log.Info("a link was added until the next start; to keep it, write it into llttab", "link", i, "tag", spec.Tag, "line", linkLine(r))
		out.Index = uint32(i)
		return nil
	})
	return out, err
}

// freeNumber is the number that a tag had before, else the lowest one that no
// link ever had, else the lowest one that none has.
func (l *loop) freeNumber(tag string) (int, error) {
	there := l.llt.Links()
	free := -1
	for i := range llt.MaxLinks {
		switch {
		case i < len(there) && !there[i].Absent:
		case l.specs[i].Tag == tag:
			return i, nil
		case free < 0, l.specs[free].Tag != "" && l.specs[i].Tag == "":
			free = i
		}
	}
	if free < 0 {
		return 0, status.Errorf(codes.ResourceExhausted, "there are %d links; more are not possible", llt.MaxLinks)
	}
	return free, nil
}

// RemoveLink detaches a link until the next start.
func (s *Server) RemoveLink(ctx context.Context, r *gabv1.RemoveLinkRequest) (*gabv1.RemoveLinkResponse, error) {
	err := s.change(ctx, func(l *loop) error {
		i, err := l.linkByTag(r.GetTag())
		if err != nil {
			return err
		}
		if why := l.neededLink(i); why != "" && !r.GetForce() {
			return status.Errorf(codes.FailedPrecondition, "link %s: %s; nothing was changed. To do it all the same: lltconfig -u %s -o", r.GetTag(), why, r.GetTag())
		}
		if len(l.attached()) == 1 {
			return status.Errorf(codes.FailedPrecondition, "link %s is the only one; leave the cluster instead: ha node stop", r.GetTag())
		}
		l.stepLLT(l.last, llt.RemoveLink{Link: llt.LinkID(i)})
		l.links.Remove(llt.LinkID(i))
		l.log.Warn("a link was removed until the next start; to keep it so, take it out of llttab", "link", i, "tag", r.GetTag())
		return nil
	})
	return &gabv1.RemoveLinkResponse{}, err
}

// neededLink says why the cluster would miss a link.
func (l *loop) neededLink(i int) string {
	all := l.llt.Links()
	if all[i].HeartbeatOnly {
		return ""
	}
	high := 0
	for _, k := range l.attached() {
		if k != i && !all[k].LowPriority && !all[k].HeartbeatOnly {
			high++
		}
	}
	if high == 0 && !all[i].LowPriority {
		return "it is the last high-priority link"
	}
	for _, p := range l.llt.Peers(l.last) {
		if p.Conn == 0 || p.Links[i].State != llt.LinkStateUp {
			continue
		}
		left := 0
		for k, pl := range p.Links {
			if k != i && !all[k].HeartbeatOnly && pl.State == llt.LinkStateUp {
				left++
			}
		}
		name := l.name(gab.NodeID(p.Node))
		switch left {
		case 0:
			return "it is the only link on which " + name + " is seen; " + name + " would be lost"
		case 1:
			return name + " would be seen over one link only (jeopardy)"
		}
	}
	return ""
}

// SetLinkPriority makes a link low or high priority until the next start.
func (s *Server) SetLinkPriority(ctx context.Context, r *gabv1.SetLinkPriorityRequest) (*gabv1.SetLinkPriorityResponse, error) {
	err := s.change(ctx, func(l *loop) error {
		i, err := l.linkByTag(r.GetTag())
		if err != nil {
			return err
		}
		if l.llt.Links()[i].HeartbeatOnly {
			return status.Errorf(codes.InvalidArgument, "link %s is a disk region; it carries heartbeats only and has no priority", r.GetTag())
		}
		l.specs[i].LowPriority = r.GetLowPriority()
		l.lltQueue = append(l.lltQueue, llt.SetLink{Link: llt.LinkID(i), LowPriority: r.GetLowPriority()})
		return nil
	})
	return &gabv1.SetLinkPriorityResponse{}, err
}

// SetAddress fixes, deletes or forgets addresses of peers.
func (s *Server) SetAddress(ctx context.Context, r *gabv1.SetAddressRequest) (*gabv1.SetAddressResponse, error) {
	err := s.change(ctx, func(l *loop) error {
		nodes, err := l.nodesNamed(r)
		if err != nil {
			return err
		}
		links := l.attached()
		if r.GetTag() != "" {
			i, err := l.linkByTag(r.GetTag())
			if err != nil {
				return err
			}
			links = []int{i}
		} else if r.GetAddress() != "" {
			return status.Error(codes.InvalidArgument, "an address belongs to one link: lltconfig -a set SYSTEM TAG ADDRESS")
		}
		for _, i := range links {
			for _, n := range nodes {
				if err := l.setAddress(n, i, r.GetAddress()); err != nil {
					return err
				}
			}
		}
		return nil
	})
	return &gabv1.SetAddressResponse{}, err
}

func (l *loop) setAddress(n llt.NodeID, i int, text string) error {
	ev := llt.SetAddress{Node: n, Link: llt.LinkID(i)}
	spec := &l.specs[i]
	spec.Peers = slices.DeleteFunc(slices.Clone(spec.Peers), func(p lltconf.PeerAddr) bool { return p.Node == n })
	if text != "" {
		a, err := spec.ParseAddr(n, text)
		if err != nil {
			return status.Error(codes.InvalidArgument, err.Error())
		}
		spec.Peers = append(spec.Peers, a)
		ev.Addr = link.AddrOf(a)
	}
	l.lltQueue = append(l.lltQueue, ev)
	return nil
}

// nodesNamed are the peers that a SetAddress is about.
func (l *loop) nodesNamed(r *gabv1.SetAddressRequest) ([]llt.NodeID, error) {
	if r.GetFlush() && r.GetNode() == "" {
		var all []llt.NodeID
		for _, p := range l.llt.Peers(l.last) {
			all = append(all, p.Node)
		}
		return all, nil
	}
	if id, ok := l.s.cfg.Hosts.ID(r.GetNode()); ok {
		return []llt.NodeID{id}, nil
	}
	n, err := strconv.ParseUint(r.GetNode(), 10, 8)
	if err != nil || n >= llt.MaxNodes {
		return nil, status.Errorf(codes.NotFound, "llthosts has no system %q; give its name or its node id, 0 to %d", r.GetNode(), llt.MaxNodes-1)
	}
	return []llt.NodeID{llt.NodeID(n)}, nil
}

// SetNodes changes which node ids are ignored.
func (s *Server) SetNodes(ctx context.Context, r *gabv1.SetNodesRequest) (*gabv1.SetNodesResponse, error) {
	err := s.change(ctx, func(l *loop) error {
		low, high := r.GetLow(), r.GetHigh()
		if low > high || high >= llt.MaxNodes {
			return status.Errorf(codes.InvalidArgument, "%d to %d is no range of node ids; they are 0 to %d", low, high, llt.MaxNodes-1)
		}
		for n := low; n <= high; n++ {
			if n == uint32(s.cfg.Node) && r.GetExclude() {
				return status.Errorf(codes.InvalidArgument, "node %d is this system", n)
			}
			if r.GetExclude() && l.conns[n] != 0 {
				return status.Errorf(codes.FailedPrecondition, "node %d (%s) is in the cluster; stop it first: ha node stop", n, l.name(gab.NodeID(n)))
			}
		}
		for n := low; n <= high; n++ {
			l.lltQueue = append(l.lltQueue, llt.SetExclude{Node: llt.NodeID(n), Exclude: r.GetExclude()})
		}
		return nil
	})
	return &gabv1.SetNodesResponse{}, err
}

// ResetStatistics sets all counters to zero.
func (s *Server) ResetStatistics(ctx context.Context, _ *gabv1.ResetStatisticsRequest) (*gabv1.ResetStatisticsResponse, error) {
	err := s.change(ctx, func(l *loop) error {
		l.lltQueue = append(l.lltQueue, llt.ResetCounters{})
		return nil
	})
	return &gabv1.ResetStatisticsResponse{}, err
}

// ListTroubles tells what went wrong on links.
func (s *Server) ListTroubles(ctx context.Context, _ *gabv1.ListTroublesRequest) (*gabv1.ListTroublesResponse, error) {
	l, err := s.running()
	if err != nil {
		return nil, err
	}
	out := &gabv1.ListTroublesResponse{}
	err = l.do(ctx, func() {
		for _, t := range l.llt.Troubles(l.last) {
			g := &gabv1.Trouble{Cause: t.Cause, Count: t.Count, AgeMs: t.Age.Milliseconds(), Detail: t.Detail}
			if t.Link >= 0 {
				g.Tag = l.specs[t.Link].Tag
			}
			if t.Src != "" && t.Link >= 0 {
				g.Detail = strings.TrimPrefix(g.Detail+" from "+l.addrText(t.Link, t.Src), " ")
			}
			if t.Node >= 0 {
				n := uint32(t.Node)
				g.NodeId = &n
			}
			out.Troubles = append(out.Troubles, g)
		}
	})
	if err != nil {
		return nil, s.unavailable(err)
	}
	return out, nil
}

func (l *loop) addrText(i int, hexed string) string {
	var raw []byte
	if _, err := fmt.Sscanf(hexed, "%x", &raw); err != nil {
		return hexed
	}
	return link.AddrText(l.specs[i].Kind, raw)
}

// What a system tells its peers about the links between them, so that each end
// can say what is wrong at the other: version 1, then per link its number, how
// the peer is seen there, and the own MTU.
const (
	tagReport   byte = 'D'
	reportEvery      = time.Second
	reportSize       = 1 + 1 + 4
)

// report is the last word of a peer.
type report struct {
	there bool
	state [llt.MaxLinks]llt.LinkState
	mtu   [llt.MaxLinks]int
}

// sendReports tells the peers what has changed, at most once per reportEvery.
func (l *loop) sendReports(now vclock.Time) {
	if now.Sub(l.reportedAt) < reportEvery {
		return
	}
	l.reportedAt = now
	links := l.llt.Links()
	for _, p := range l.llt.Peers(now) {
		if l.conns[p.Node] == 0 {
			l.reported[p.Node] = ""
			continue
		}
		msg := []byte{1}
		for i, k := range p.Links {
			if links[i].Absent || links[i].HeartbeatOnly {
				continue
			}
			m := links[i].MTU
			msg = append(msg, byte(i), byte(k.State), byte(m>>24), byte(m>>16), byte(m>>8), byte(m))
		}
		if string(msg) != l.reported[p.Node] {
			l.reported[p.Node] = string(msg)
			l.transport(p.Node, append(msg, tagReport))
		}
	}
}

func (l *loop) reportIn(from llt.NodeID, body []byte) {
	if len(body) == 0 || body[0] != 1 || (len(body)-1)%reportSize != 0 {
		return // another version says more; nothing depends on it
	}
	r := report{there: true}
	for b := body[1:]; len(b) > 0; b = b[reportSize:] {
		if b[0] >= llt.MaxLinks || b[1] > byte(llt.LinkStateUp) {
			return
		}
		r.state[b[0]] = llt.LinkState(b[1])
		r.mtu[b[0]] = int(b[2])<<24 | int(b[3])<<16 | int(b[4])<<8 | int(b[5])
	}
	l.reports[from] = r
}

// ListPeers tells the state of each peer on each link.
func (s *Server) ListPeers(ctx context.Context, _ *gabv1.ListPeersRequest) (*gabv1.ListPeersResponse, error) {
	l, err := s.running()
	if err != nil {
		return nil, err
	}
	out := &gabv1.ListPeersResponse{}
	err = l.do(ctx, func() {
		own := uint32(s.cfg.Node)
		self := &gabv1.Peer{NodeId: own, Name: s.cfg.Hosts.Name(s.cfg.Node), State: "OPEN", Self: true}
		links := l.llt.Links()
		for _, i := range l.attached() {
			state := "DOWN"
			if links[i].Up {
				state = "UP"
			}
			self.Links = append(self.Links, &gabv1.PeerLink{Tag: links[i].Tag, Status: state, Address: l.ownAddress(i), AgeMs: 0})
		}
		placed := false
		for _, p := range l.llt.Peers(l.last) {
			if !placed && uint32(p.Node) > own {
				out.Peers, placed = append(out.Peers, self), true
			}
			out.Peers = append(out.Peers, l.peerTo(p))
		}
		if !placed {
			out.Peers = append(out.Peers, self)
		}
	})
	if err != nil {
		return nil, s.unavailable(err)
	}
	return out, nil
}

func (l *loop) peerTo(p llt.PeerInfo) *gabv1.Peer {
	out := &gabv1.Peer{
		NodeId: uint32(p.Node), Name: l.s.cfg.Hosts.Name(p.Node), State: p.State.String(), AliveUnreachable: p.Unreachable,
		Stalled: p.Stalled, Jeopardy: p.Jeopardy, QueuedBytes: uint64(p.Queued),
	}
	said := l.reports[p.Node]
	for _, i := range l.attached() {
		k, spec := p.Links[i], &l.specs[i]
		g := &gabv1.PeerLink{
			Tag: spec.Tag, Status: k.State.String(), Address: link.AddrText(spec.Kind, k.Addr), AgeMs: -1,
			TxFrames: k.TxFrames, TxBytes: k.TxBytes, RxFrames: k.RxFrames, RxBytes: k.RxBytes,
			ResentFrames: k.Resent, MissedHeartbeats: k.Missed, RoundTripUs: k.RTT.Microseconds(), JitterUs: k.Jitter.Microseconds(),
			LossPermille: uint32(k.LossPermille), PathMtu: uint32(k.PathMTU),
		}
		if k.Age >= 0 {
			g.AgeMs = k.Age.Milliseconds()
		}
		switch {
		case spec.Kind == lltconf.Disk:
			g.Address = fmt.Sprintf("slot %d", p.Node)
		case said.there && l.conns[p.Node] != 0:
			g.SeenByPeer, g.PeerMtu = said.state[i].String(), uint32(said.mtu[i])
		}
		out.Links = append(out.Links, g)
	}
	return out
}

// ownAddress is this system's address on a link.
func (l *loop) ownAddress(i int) string {
	k := &l.specs[i].Link
	switch k.Kind {
	case lltconf.Ether:
		return link.OwnMAC(k)
	case lltconf.Disk:
		return fmt.Sprintf("slot %d", l.s.cfg.Node)
	}
	return net.JoinHostPort(k.Local.String(), strconv.Itoa(int(k.SAP)))
}

// ListLinks tells the local links.
func (s *Server) ListLinks(ctx context.Context, _ *gabv1.ListLinksRequest) (*gabv1.ListLinksResponse, error) {
	l, err := s.running()
	if err != nil {
		return nil, err
	}
	out := &gabv1.ListLinksResponse{}
	err = l.do(ctx, func() {
		stats, all := l.links.Stats(), l.llt.Links()
		for _, i := range l.attached() {
			k, c := all[i], &l.specs[i]
			g := &gabv1.Link{
				Index: uint32(i), Tag: k.Tag, Device: c.Device, Kind: string(c.Kind), LowPriority: k.LowPriority, Up: k.Up,
				Mtu: uint32(k.MTU), Sap: uint32(c.SAP), TxFrames: k.TxFrames, TxBytes: k.TxBytes, RxFrames: k.RxFrames,
				RxBytes: k.RxBytes, TxErrors: stats[i].TxErrors, Reason: stats[i].Reason, Address: l.ownAddress(i),
				LateHeartbeats: stats[i].LateHeartbeats, BadChecksums: stats[i].BadChecksums, RunTime: c.runTime,
			}
			switch c.Kind {
			case lltconf.Ether:
				g.Broadcast = "FF:FF:FF:FF:FF:FF"
			case lltconf.Disk:
				g.Sap = uint32(c.Block)
			default:
				g.Device = c.Local.String()
				if c.Broadcast.IsValid() {
					g.Broadcast = c.Broadcast.String()
				}
			}
			out.Links = append(out.Links, g)
		}
	})
	if err != nil {
		return nil, s.unavailable(err)
	}
	return out, nil
}
