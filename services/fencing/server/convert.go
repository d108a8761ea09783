package server

import (
	"fmt"

	"github.com/evenkeel/evenkeel/fencing"
	fencingv1 "github.com/evenkeel/evenkeel/proto/evenkeel/fencing/v1"
	gabv1 "github.com/evenkeel/evenkeel/proto/evenkeel/gab/v1"
	"google.golang.org/protobuf/proto"
)

func systemOf(m *gabv1.Member) fencing.System {
	return fencing.System{Node: fencing.NodeID(m.GetNodeId()), Name: m.GetName(), Incarnation: m.GetIncarnation()}
}

func systemsOf(members []*gabv1.Member) []fencing.System {
	out := make([]fencing.System, len(members))
	for i, m := range members {
		out[i] = systemOf(m)
	}
	return out
}

func memberOf(s fencing.System) *gabv1.Member {
	return &gabv1.Member{NodeId: uint32(s.Node), Name: s.Name, Incarnation: s.Incarnation}
}

func viewIDOf(id *gabv1.ViewId) fencing.ViewID {
	return fencing.ViewID{
		Lineage: id.GetLineage(), Counter: id.GetCounter(),
		Coordinator: fencing.NodeID(id.GetCoordinator()), Incarnation: id.GetIncarnation(),
	}
}

func viewIDTo(id fencing.ViewID) *gabv1.ViewId {
	return &gabv1.ViewId{Lineage: id.Lineage, Counter: id.Counter, Coordinator: uint32(id.Coordinator), Incarnation: id.Incarnation}
}

func viewOf(v *gabv1.View) fencing.View {
	out := fencing.View{ID: viewIDOf(v.GetId()), Members: systemsOf(v.GetMembers()), Systems: systemsOf(v.GetSystems())}
	for _, m := range v.GetMembers() {
		if m.GetUnknownToDeparted() {
			out.Unknown = append(out.Unknown, fencing.NodeID(m.GetNodeId()))
		}
	}
	for _, d := range v.GetDeparted() {
		out.Departed = append(out.Departed, fencing.Departed{
			System: systemOf(d.GetMember()), Evidence: fencing.Evidence(d.GetEvidence()), Detail: d.GetDetail(),
		})
	}
	return out
}

func answerTo(a fencing.Answer) *gabv1.AttachRequest {
	answer := &gabv1.FenceAnswer{View: viewIDTo(a.View)}
	for _, d := range a.Departed {
		answer.Departed = append(answer.Departed, &gabv1.Departed{
			Member: memberOf(d.System), Evidence: gabv1.EvidenceKind(d.Evidence), Detail: d.Detail,
		})
	}
	return &gabv1.AttachRequest{Body: &gabv1.AttachRequest_FenceAnswer{FenceAnswer: answer}}
}

func systemTo(s fencing.System) *fencingv1.System {
	return &fencingv1.System{NodeId: uint32(s.Node), Name: s.Name, Incarnation: s.Incarnation}
}

// encode is a port-b message on the wire.
func encode(m fencing.Message) ([]byte, error) {
	out := &fencingv1.PortMessage{}
	switch m := m.(type) {
	case fencing.RaceResult:
		out.Body = &fencingv1.PortMessage_RaceResult{RaceResult: &fencingv1.RaceResult{
			ViewLineage: m.View.Lineage, ViewCounter: m.View.Counter,
			ViewCoordinator: uint32(m.View.Coordinator), ViewIncarnation: m.View.Incarnation,
			Verdict: fencingv1.RaceVerdict(m.Verdict), Detail: m.Detail,
		}}
	case fencing.Vouch:
		out.Body = &fencingv1.PortMessage_Vouched{Vouched: &fencingv1.Vouched{System: systemTo(m.System), Who: m.Who, RequestId: m.Request}}
	default:
		return nil, fmt.Errorf("encode port-b message: unknown kind %T", m)
	}
	return proto.Marshal(out)
}

// decode is the inverse of encode. What it does not know is an error: the
// caller drops and counts it.
func decode(payload []byte) (fencing.Message, error) {
	in := &fencingv1.PortMessage{}
	if err := proto.Unmarshal(payload, in); err != nil {
		return nil, fmt.Errorf("decode port-b message: %w", err)
	}
	switch body := in.GetBody().(type) {
	case *fencingv1.PortMessage_RaceResult:
		r := body.RaceResult
		if r.GetViewCoordinator() > 63 || r.GetVerdict() < fencingv1.RaceVerdict_RACE_VERDICT_WON || r.GetVerdict() > fencingv1.RaceVerdict_RACE_VERDICT_ANSWERED {
			return nil, fmt.Errorf("decode port-b message: race result out of range")
		}
		return fencing.RaceResult{
			View: fencing.ViewID{
				Lineage: r.GetViewLineage(), Counter: r.GetViewCounter(),
				Coordinator: fencing.NodeID(r.GetViewCoordinator()), Incarnation: r.GetViewIncarnation(),
			},
			Verdict: fencing.Verdict(r.GetVerdict()), Detail: r.GetDetail(),
		}, nil
	case *fencingv1.PortMessage_Vouched:
		v := body.Vouched
		if v.GetSystem().GetNodeId() > 63 {
			return nil, fmt.Errorf("decode port-b message: node id out of range")
		}
		return fencing.Vouch{
			System: fencing.System{Node: fencing.NodeID(v.GetSystem().GetNodeId()), Name: v.GetSystem().GetName(), Incarnation: v.GetSystem().GetIncarnation()},
			Who:    v.GetWho(), Request: v.GetRequestId(),
		}, nil
	}
	return nil, fmt.Errorf("decode port-b message: empty")
}
