package doctor

import (
	"fmt"
	"slices"
	"strings"

	gabv1 "github.com/evenkeel/evenkeel/proto/evenkeel/gab/v1"
)

// LinkFacts are what the local gab says of the transport.
type LinkFacts struct {
	Peers     []*gabv1.Peer
	Links     []*gabv1.Link
	Troubles  []*gabv1.Trouble
	Transport *gabv1.GetTransportResponse
	Keys      *gabv1.GetKeysResponse
}

// Ages up to which something that happened counts as going on.
const (
	lately = 2 * 60_000  // ms: frames that were refused
	recent = 60 * 60_000 // ms: stalls of this system
)

// slowTrip is the round trip beyond which a peer or a link is called slow: LLT
// sends again after 100 ms by default.
const slowTrip = 50_000 // us

// linkChecks in the order of their findings.
var linkChecks = []struct {
	id, about string
	look      func(*LinkFacts) []Finding
}{
	{"link-down", "every link of llttab can be used here", linkDown},
	{"one-way", "frames go both ways on every link", oneWay},
	{"silent-link", "somebody is heard on every link that is up", silentLink},
	{"cross-link", "links are connected like to like", crossLink},
	{"foreign-cluster", "no other cluster is on a link", foreignCluster},
	{"duplicate-node", "every node id is used once", duplicateNode},
	{"foreign-key", "all systems have the same cluster key", foreignKey},
	{"old-key", "nobody slept through a change of the key", oldKey},
	{"mtu", "links pass frames of their configured size", mtuWrong},
	{"loss", "links lose no frames", lossy},
	{"local-stall", "this system gives gab its processor in time", localStall},
	{"slow-peer", "peers answer in time", slowPeer},
	{"disk-region", "disk regions answer in time and are whole", diskRegion},
	{"unreachable", "everybody who lives can be reached", aliveUnreachable},
	{"link-jeopardy", "every peer is seen over two links", linkJeopardy},
}

// LinkChecks lists what ExamineLinks looks at.
func LinkChecks() []Check {
	var out []Check
	for _, c := range linkChecks {
		out = append(out, Check{ID: c.id, About: c.about})
	}
	return out
}

// ExamineLinks names what is wrong with the links, the worst first.
func ExamineLinks(f *LinkFacts) []Finding {
	var out []Finding
	for _, c := range linkChecks {
		found := c.look(f)
		for i := range found {
			found[i].Check = c.id
		}
		out = append(out, found...)
	}
	slices.SortStableFunc(out, func(a, b Finding) int { return strings.Compare(a.Severity, b.Severity) })
	return out
}

func (f *LinkFacts) link(tag string) *gabv1.Link {
	for _, k := range f.Links {
		if k.GetTag() == tag {
			return k
		}
	}
	return nil
}

func (f *LinkFacts) name(id uint32) string {
	for _, p := range f.Peers {
		if p.GetNodeId() == id && p.GetName() != "" {
			return p.GetName()
		}
	}
	return fmt.Sprintf("node %d", id)
}

// eachPeer goes over the peers that are connected, and their network links.
func (f *LinkFacts) eachPeer(look func(p *gabv1.Peer, k *gabv1.PeerLink, l *gabv1.Link)) {
	for _, p := range f.Peers {
		if p.GetSelf() || (p.GetState() != "OPEN" && p.GetState() != "TROUBLE") {
			continue
		}
		for _, k := range p.GetLinks() {
			if l := f.link(k.GetTag()); l != nil && l.GetKind() != "disk" {
				look(p, k, l)
			}
		}
	}
}

func linkDown(f *LinkFacts) (out []Finding) {
	for _, l := range f.Links {
		if l.GetUp() {
			continue
		}
		command := "lltstat -l; ip link show"
		switch why := l.GetReason(); {
		case strings.Contains(why, " is down;"):
			command = "ip link set " + l.GetDevice() + " up"
		case strings.Contains(why, "no carrier"):
			command = "ethtool " + l.GetDevice() + "; look at cable and switch port"
		case strings.Contains(why, "gabdiskconf -i"):
			command = fmt.Sprintf("gabdiskconf -i %s -s %d   (once, on one system)", l.GetDevice(), l.GetSap())
		case l.GetKind() == "disk":
			command = "dmesg | tail; lsblk " + l.GetDevice()
		case strings.Contains(why, "find interface"):
			command = "ip link; correct the device of link " + l.GetTag() + " in /etc/evenkeel/llttab, or: lltconfig -u " + l.GetTag() + " and lltconfig -t " + l.GetTag() + " -d DEVICE"
		}
		out = append(out, Finding{Severity: isError, What: fmt.Sprintf("link %s cannot be used here%s", l.GetTag(), because(l.GetReason())),
			Why: "one link less: with one left a lost link and a lost system look alike", Command: command})
	}
	return out
}

func isUp(s string) bool { return s == "UP" }

func oneWay(f *LinkFacts) (out []Finding) {
	f.eachPeer(func(p *gabv1.Peer, k *gabv1.PeerLink, l *gabv1.Link) {
		if k.GetSeenByPeer() == "" || !l.GetUp() || isUp(k.GetStatus()) == isUp(k.GetSeenByPeer()) {
			return
		}
		what := fmt.Sprintf("link %s: frames of %s do not arrive here, while those from here arrive there", k.GetTag(), p.GetName())
		command := fmt.Sprintf("tcpdump -ni %s ether proto 0xcafe; look for a filter of what comes in here (nft list ruleset) and at the switch", l.GetDevice())
		if isUp(k.GetStatus()) {
			what = fmt.Sprintf("link %s: frames from here do not arrive at %s, while its frames arrive here", k.GetTag(), p.GetName())
			command = fmt.Sprintf("on %s: nft list ruleset; tcpdump -ni DEVICE ether proto 0xcafe; look at the switch ports of both", p.GetName())
		}
		out = append(out, Finding{Severity: isError, What: what, Why: "the link carries nothing for the two, and a switch or filter that drops one way may soon drop both", Command: command})
	})
	return out
}

// silentLink: the link is up, nobody is heard on it, and nobody hears this
// system there, while they are heard elsewhere.
func silentLink(f *LinkFacts) (out []Finding) {
	for _, l := range f.Links {
		if !l.GetUp() || l.GetKind() == "disk" {
			continue
		}
		silent, heard := 0, 0
		var names []string
		f.eachPeer(func(p *gabv1.Peer, k *gabv1.PeerLink, at *gabv1.Link) {
			switch {
			case at != l:
			case isUp(k.GetStatus()) || isUp(k.GetSeenByPeer()):
				heard++
			default:
				silent++
				names = append(names, p.GetName())
			}
		})
		if silent == 0 || foreignOn(f, l.GetTag()) {
			continue
		}
		what := fmt.Sprintf("link %s is up, but neither is anybody heard there nor this system by the others", l.GetTag())
		why := "a wrong VLAN, a cable in another switch, or a filter for both ways"
		if heard > 0 {
			what = fmt.Sprintf("link %s is up, but %s and this system do not hear each other there; others do", l.GetTag(), strings.Join(names, ", "))
			why = "the fault is at the other end: its VLAN, its cable, its filter"
		}
		out = append(out, Finding{Severity: isError, What: what, Why: why,
			Command: fmt.Sprintf("ip -d link show %s; compare VLAN and switch port of all systems; tcpdump -ni %s", l.GetDevice(), l.GetDevice())})
	}
	return out
}

func foreignOn(f *LinkFacts, tag string) bool {
	return slices.ContainsFunc(f.troubles("foreign-cluster", "cross-link"), func(t *gabv1.Trouble) bool { return t.GetTag() == tag })
}

// troubles lists those of some causes that go on.
func (f *LinkFacts) troubles(causes ...string) (out []*gabv1.Trouble) {
	for _, t := range f.Troubles {
		if slices.Contains(causes, t.GetCause()) && t.GetAgeMs() <= lately {
			out = append(out, t)
		}
	}
	return out
}

func crossLink(f *LinkFacts) (out []Finding) {
	for _, t := range f.troubles("cross-link") {
		out = append(out, Finding{Severity: isError, What: fmt.Sprintf("link %s here is %s of %s: %d frames", t.GetTag(), or(t.GetDetail(), "another link"), f.name(t.GetNodeId()), t.GetCount()),
			Why:     "two links on one network fail together; or llttab numbers them otherwise there",
			Command: "compare the order of the lines link in llttab of both systems; else give each link a VLAN or a SAP of its own"})
	}
	return out
}

func foreignCluster(f *LinkFacts) (out []Finding) {
	said := map[string]bool{}
	for _, t := range f.troubles("foreign-cluster") {
		who := f.name(t.GetNodeId())
		key := t.GetTag() + t.GetDetail()
		if said[key] {
			continue
		}
		said[key] = true
		alone := true
		f.eachPeer(func(_ *gabv1.Peer, k *gabv1.PeerLink, l *gabv1.Link) {
			alone = alone && (l.GetTag() != t.GetTag() || !isUp(k.GetStatus()))
		})
		severity, what := isWarning, fmt.Sprintf("another cluster sends on link %s: %s, its %s", t.GetTag(), t.GetDetail(), who)
		command := "give the clusters VLANs of their own"
		if alone {
			severity = isError
			what += "; and nobody of this cluster is heard there"
			command = fmt.Sprintf("if that is a system of this cluster: set-cluster %d in its llttab; else correct the VLAN of link %s here", f.Transport.GetClusterId(), t.GetTag())
		}
		out = append(out, Finding{Severity: severity, What: what, Why: "frames of other clusters are refused", Command: command})
	}
	return out
}

func duplicateNode(f *LinkFacts) (out []Finding) {
	said := map[string]bool{}
	for _, t := range f.troubles("duplicate-node", "duplicate-peer") {
		who := fmt.Sprint(t.GetCause(), t.GetNodeId())
		if said[who] {
			continue // on another link
		}
		said[who] = true
		what := fmt.Sprintf("two systems have node id %d, %s", t.GetNodeId(), f.name(t.GetNodeId()))
		if t.GetCause() == "duplicate-node" {
			what = fmt.Sprintf("another system has the node id of this one, %d", t.GetNodeId())
		}
		out = append(out, Finding{Severity: isError, What: what + because(strings.TrimPrefix(t.GetDetail(), "from ")), Why: "the one that came second is refused and is in no cluster",
			Command: "correct set-node (or /etc/evenkeel/sysname) on the second one, then there: ha node start"})
	}
	return out
}

func foreignKey(f *LinkFacts) (out []Finding) {
	said := map[uint32]bool{}
	for _, t := range f.troubles("unknown-key", "clear", "not-authentic") {
		if said[t.GetNodeId()] {
			continue
		}
		said[t.GetNodeId()] = true
		who := f.name(t.GetNodeId())
		how := map[string]string{
			"unknown-key":   "are sealed with a key that this system does not have",
			"clear":         "are not sealed, or this system has no key while they are",
			"not-authentic": "do not open with the cluster key: damaged, or forged",
		}[t.GetCause()]
		out = append(out, Finding{Severity: isError, What: fmt.Sprintf("frames on link %s that name %s as sender %s%s", t.GetTag(), who, how, because(t.GetDetail())),
			Why:     "they count for nothing: a system with a wrong key, or somebody who poses as one",
			Command: fmt.Sprintf("compare on both: sha256sum /etc/evenkeel/cluster.key; if %s is yours, copy the key of a running member there and: ha node start", who)})
	}
	return out
}

func oldKey(f *LinkFacts) (out []Finding) {
	for _, id := range f.Keys.GetOldKeyNodeIds() {
		who := f.name(id)
		out = append(out, Finding{Severity: isError, What: who + " has the cluster key of before the last rotation: it was down meanwhile",
			Why: "its frames are authentic under the old key and count for nothing", Command: fmt.Sprintf("scp %s %s:%s; then on %s: ha node start", or(f.Keys.GetFile(), "/etc/evenkeel/cluster.key"), who, or(f.Keys.GetFile(), "/etc/evenkeel/cluster.key"), who)})
	}
	return out
}

func mtuWrong(f *LinkFacts) (out []Finding) {
	f.eachPeer(func(p *gabv1.Peer, k *gabv1.PeerLink, l *gabv1.Link) {
		switch {
		case k.GetPeerMtu() > 0 && k.GetPeerMtu() != l.GetMtu():
			least := min(k.GetPeerMtu(), l.GetMtu())
			out = append(out, Finding{Severity: isWarning, What: fmt.Sprintf("link %s has MTU %d here and %d at %s", k.GetTag(), l.GetMtu(), k.GetPeerMtu(), p.GetName()),
				Why: "large frames are lost one way; data goes in smaller ones, at a price", Command: fmt.Sprintf("ip link set %s mtu %d   on both, or the larger one on both and on the switch", l.GetDevice(), least)})
		case k.GetPathMtu() > 0 && k.GetPathMtu() < l.GetMtu():
			out = append(out, Finding{Severity: isWarning, What: fmt.Sprintf("link %s passes frames of %d bytes to %s, not of %d", k.GetTag(), k.GetPathMtu(), p.GetName(), l.GetMtu()),
				Why: "something between the two has a smaller MTU; data goes in smaller frames, at a price", Command: fmt.Sprintf("ip link set %s mtu %d   on both, or enlarge it on the switches", l.GetDevice(), k.GetPathMtu())})
		}
	})
	return out
}

func lossy(f *LinkFacts) (out []Finding) {
	f.eachPeer(func(p *gabv1.Peer, k *gabv1.PeerLink, l *gabv1.Link) {
		if k.GetLossPermille() < 10 {
			return
		}
		out = append(out, Finding{Severity: isWarning, What: fmt.Sprintf("link %s loses %d.%d %% of the data frames to %s", k.GetTag(), k.GetLossPermille()/10, k.GetLossPermille()%10, p.GetName()),
			Why: "they are sent again over another link; each costs a round trip", Command: fmt.Sprintf("ethtool -S %s; ip -s link show %s; look at duplex, cable and switch port", l.GetDevice(), l.GetDevice())})
	})
	return out
}

func localStall(f *LinkFacts) (out []Finding) {
	for _, t := range f.Troubles {
		if t.GetCause() == "timer-late" && t.GetAgeMs() <= recent {
			out = append(out, Finding{Severity: isWarning, What: fmt.Sprintf("gab got no processor here %d times, the last time %d s ago: %s", t.GetCount(), t.GetAgeMs()/1000, t.GetDetail()),
				Why: "beyond peerinact the others take this system for lost", Command: "top; vmstat 1 (steal, swap); virtual machines need reserved processors"})
		}
	}
	return out
}

func slowPeer(f *LinkFacts) (out []Finding) {
	for _, p := range f.Peers {
		if p.GetSelf() || (p.GetState() != "OPEN" && p.GetState() != "TROUBLE") {
			continue
		}
		measured, slow := 0, 0
		for _, k := range p.GetLinks() {
			if k.GetRoundTripUs() > 0 && isUp(k.GetStatus()) {
				measured++
				if k.GetRoundTripUs() > slowTrip {
					slow++
				}
			}
		}
		what := ""
		switch {
		case p.GetStalled():
			what = p.GetName() + " sends heartbeats, but its gab makes no steps"
		case p.GetQueuedBytes() > 1<<20:
			what = fmt.Sprintf("%d KiB wait to be sent to %s, which takes them slowly", p.GetQueuedBytes()>>10, p.GetName())
		case measured > 0 && slow == measured:
			what = fmt.Sprintf("%s answers slowly over every link", p.GetName())
		}
		if what != "" {
			out = append(out, Finding{Severity: isWarning, What: what, Why: "it holds up what waits for all members; beyond its timeout it is expelled",
				Command: fmt.Sprintf("on %s: top; vmstat 1; ha link doctor", p.GetName())})
		}
	}
	return out
}

func diskRegion(f *LinkFacts) (out []Finding) {
	for _, l := range f.Links {
		if l.GetKind() != "disk" || l.GetLateHeartbeats()+l.GetBadChecksums() == 0 {
			continue
		}
		if l.GetLateHeartbeats() > 0 {
			out = append(out, Finding{Severity: isWarning, What: fmt.Sprintf("%d requests to the disk of link %s took longer than a heartbeat", l.GetLateHeartbeats(), l.GetTag()),
				Why: "a slow disk proves less: who is seen there is noticed later", Command: "iostat -x 1 " + l.GetDevice()})
		}
		if l.GetBadChecksums() > 100 {
			out = append(out, Finding{Severity: isWarning, What: fmt.Sprintf("%d slots of link %s were damaged or torn", l.GetBadChecksums(), l.GetTag()),
				Why: "somebody else writes there, or the disk is failing", Command: fmt.Sprintf("gabdiskhb -l; smartctl -a %s", l.GetDevice())})
		}
	}
	return out
}

func aliveUnreachable(f *LinkFacts) (out []Finding) {
	for _, p := range f.Peers {
		if p.GetAliveUnreachable() {
			out = append(out, Finding{Severity: isError, What: p.GetName() + " is alive, by its disk heartbeat, and no link reaches it",
				Why: "it is out of the membership; without fencing its groups are autodisabled on both sides", Command: "mend the links between the two: ha link doctor there; or power it off and: ha fencing vouch " + p.GetName()})
		}
	}
	return out
}

func linkJeopardy(f *LinkFacts) (out []Finding) {
	for _, p := range f.Peers {
		if p.GetJeopardy() && !p.GetSelf() {
			out = append(out, Finding{Severity: isWarning, What: p.GetName() + " is seen over one link only (jeopardy)",
				Why: "if that link goes too, a lost link and a lost system look alike", Command: "mend the other links; a second one can be added while all runs: lltconfig -t TAG -d DEVICE"})
		}
	}
	return out
}
