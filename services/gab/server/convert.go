package server

import (
	"fmt"
	"strings"

	gabv1 "github.com/evenkeel/evenkeel/proto/evenkeel/gab/v1"
	"github.com/evenkeel/evenkeel/services/gab"
)

func viewIDTo(v gab.ViewID) *gabv1.ViewId {
	return &gabv1.ViewId{Lineage: v.Lineage, Counter: v.Counter, Coordinator: uint32(v.Coordinator), Incarnation: v.Incarnation}
}

func viewIDOf(v *gabv1.ViewId) gab.ViewID {
	return gab.ViewID{Lineage: v.GetLineage(), Counter: v.GetCounter(), Coordinator: gab.NodeID(v.GetCoordinator()), Incarnation: v.GetIncarnation()}
}

func (l *loop) memberTo(m gab.Member) *gabv1.Member {
	return &gabv1.Member{NodeId: uint32(m.Node), Name: l.name(m.Node), Incarnation: m.Incarnation, Jeopardy: m.Jeopardy,
		UnknownToDeparted: m.Unknown}
}

func (l *loop) membersTo(ms []gab.Member) []*gabv1.Member {
	out := make([]*gabv1.Member, len(ms))
	for i, m := range ms {
		out[i] = l.memberTo(m)
	}
	return out
}

func (l *loop) departedTo(ds []gab.Departed) []*gabv1.Departed {
	out := make([]*gabv1.Departed, len(ds))
	for i, d := range ds {
		out[i] = &gabv1.Departed{Member: l.memberTo(d.Member), Evidence: gabv1.EvidenceKind(d.Evidence), Detail: d.Detail}
	}
	return out
}

func (l *loop) gateTo(g gab.Gate) *gabv1.Gate {
	return &gabv1.Gate{Held: g.Held, View: viewIDTo(g.View), WaitingFor: l.membersTo(g.WaitingFor), Reason: l.gateReason(g, g.Reason)}
}

// gateReason puts the systems' names where the core, which knows none, has
// node ids, so that the command that leads out can be copied.
func (l *loop) gateReason(g gab.Gate, text string) string {
	if len(g.WaitingFor) == 0 {
		return text
	}
	var ids, names []string
	for _, m := range g.WaitingFor {
		ids = append(ids, fmt.Sprint(m.Node))
		names = append(names, l.name(m.Node))
	}
	return strings.NewReplacer("["+strings.Join(ids, " ")+"]", strings.Join(names, ", "), "vouch SYSTEM", "vouch "+strings.Join(names, "; ha fencing vouch ")).Replace(text)
}

func (l *loop) viewTo(v gab.DeliverView) *gabv1.View {
	out := &gabv1.View{
		Id: viewIDTo(v.ID), PortGeneration: v.Generation, Members: l.membersTo(v.Members), Systems: l.membersTo(v.Systems),
		Departed: l.departedTo(v.Departed), Seq: v.Seq, First: v.First,
	}
	for _, n := range v.DaemonDown {
		out.DaemonDownNodeIds = append(out.DaemonDownNodeIds, uint32(n))
	}
	return out
}

// answerOf reads a fence answer; what it names must be possible.
func answerOf(a *gabv1.FenceAnswer) (gab.FenceAnswer, error) {
	out := gab.FenceAnswer{View: viewIDOf(a.GetView())}
	for _, d := range a.GetDeparted() {
		m := d.GetMember()
		if m == nil || m.GetNodeId() >= gab.MaxNodes {
			return out, fmt.Errorf("fence answer: node id %d is not in 0 to %d", m.GetNodeId(), gab.MaxNodes-1)
		}
		if d.GetEvidence() < 0 || d.GetEvidence() > gabv1.EvidenceKind_EVIDENCE_KIND_ASSUMED {
			return out, fmt.Errorf("fence answer: unknown evidence %d", d.GetEvidence())
		}
		detail := d.GetDetail()
		if len(detail) > 256 {
			detail = detail[:256]
		}
		out.Departed = append(out.Departed, gab.Departed{
			Member:   gab.Member{Node: gab.NodeID(m.GetNodeId()), Incarnation: m.GetIncarnation()},
			Evidence: gab.Evidence(d.GetEvidence()), Detail: detail,
		})
	}
	return out, nil
}

// generationText is what gabconfig -a prints for a view or a port.
func generationText(v gab.ViewID, generation uint64) string {
	return fmt.Sprintf("%02x%06x", byte(v.Lineage), generation&0xffffff)
}
