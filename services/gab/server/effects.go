package server

import (
	"fmt"
	"strings"

	"github.com/evenkeel/evenkeel/internal/standing"
	"github.com/evenkeel/evenkeel/llt"
	gabv1 "github.com/evenkeel/evenkeel/proto/evenkeel/gab/v1"
	"github.com/evenkeel/evenkeel/services/gab"
)

// messageIDs are the operator messages of VCS that notes of LLT stand for.
var messageIDs = map[string]string{
	"link-trouble": "V-14-1-10205", "link-active": "V-14-1-10024", "link-expired": "V-14-1-10509", "timer-late": "V-14-1-10035",
	"peer-alive-unreachable": "V-14-1-20004", "old-key": "V-14-1-20006",
}

// lltEffect carries out what LLT's core wants.
func (l *loop) lltEffect(e llt.Effect) {
	switch e := e.(type) {
	case *llt.FrameOut:
		l.frameOut(e)
	case *llt.Deliver:
		l.transportIn(e)
	case llt.PeerUp:
		l.conns[e.Node] = e.Conn
		l.log.Info("peer is up", "system", l.name(gab.NodeID(e.Node)), "conn", e.Conn)
		l.gabQueue = append(l.gabQueue, gab.PeerUp{Node: gab.NodeID(e.Node), Incarnation: e.Incarnation, Conn: e.Conn, Formats: gab.Formats(e.Messages)})
		l.tellFlow(e.Node)
	case llt.PeerFormats:
		l.gabQueue = append(l.gabQueue, gab.PeerFormats{Node: gab.NodeID(e.Node), Conn: e.Conn, Formats: gab.Formats(e.Messages)})
	case llt.PeerDown:
		l.conns[e.Node], l.clogged[e.Node], l.slow[e.Node], l.stalled[e.Node] = 0, false, 0, 0
		l.log.Warn("peer is down", "system", l.name(gab.NodeID(e.Node)), "reason", e.Reason.String(), "jeopardy", e.Jeopardy)
		l.gabQueue = append(l.gabQueue, gab.PeerDown{Node: gab.NodeID(e.Node), Conn: e.Conn})
	case llt.PeerLinks:
		if l.jeopardy[e.Node] != e.Jeopardy {
			l.jeopardy[e.Node] = e.Jeopardy
			l.gabQueue = append(l.gabQueue, gab.PeerJeopardy{Node: gab.NodeID(e.Node), On: e.Jeopardy})
		}
		if e.Up < l.s.cfg.Tab.MinLinks {
			l.log.Warn("peer is seen over fewer links than set-dbg-minlinks", "system", l.name(gab.NodeID(e.Node)), "links", e.Up, "least", l.s.cfg.Tab.MinLinks, "id", "V-14-1-20005")
		}
	case llt.PeerDisk:
		level := l.log.Info
		if l.conns[e.Node] == 0 && e.Seen {
			level = l.log.Warn
		}
		level("disk heartbeat of the peer", "system", l.name(gab.NodeID(e.Node)), "alive", e.Seen)
		l.gabQueue = append(l.gabQueue, gab.PeerDisk{Node: gab.NodeID(e.Node), Seen: e.Seen})
	case llt.PeerStalled:
		l.log.Warn("gab of the peer makes no steps", "system", l.name(gab.NodeID(e.Node)), "stalled", e.Stalled)
	case llt.KeyAdopted:
		l.keyAdopted()
	case llt.SendBlocked:
		l.clogged[e.Node] = true
	case llt.SendReady:
		l.clogged[e.Node] = false
	case llt.DuplicateNode:
		l.duplicate()
	case *llt.Beats:
		l.pulse.loan.Store(e)
	case *llt.SendDone: // the gab core has acknowledgements of its own
	case llt.Note:
		level := l.log.Info
		if strings.HasPrefix(e.Code, "frame-") || e.Code == "link-trouble" || e.Code == "link-expired" || strings.HasPrefix(e.Code, "duplicate") || e.Code == "foreign-cluster" || e.Code == "old-key" || e.Code == "peer-alive-unreachable" {
			level = l.log.Warn
		}
		attrs := noteAttrs(e.Attrs)
		if id := messageIDs[e.Code]; id != "" {
			attrs = append(attrs, "id", id)
		}
		level("llt "+e.Code, attrs...)
	}
}

// duplicate ends the daemon if it has just come: the other one was first.
func (l *loop) duplicate() {
	l.log.Error("another system of this cluster has this node id; correct set-node in llttab on one of them", "node", l.s.cfg.Node)
	if l.last.Sub(l.started) < startGrace && !l.standing.Load() {
		l.over = &ending{err: errDuplicate}
	}
}

// transportIn takes a message of a peer.
func (l *loop) transportIn(e *llt.Deliver) {
	n := len(e.Msg)
	if n == 0 {
		return
	}
	switch body := e.Msg[:n-1]; e.Msg[n-1] {
	case tagCore:
		l.gabQueue = append(l.gabQueue, gab.MsgIn{From: gab.NodeID(e.From), Conn: e.Conn, Msg: body})
	case tagFlow:
		if len(body) != 2 || body[0] < 'a' || body[0] > 'z' {
			return
		}
		switch bit := uint32(1) << (body[0] - 'a'); body[1] {
		case flowSlow, flowFree:
			l.markSlow(e.From, bit, body[1] == flowSlow)
		case flowStalled, flowAlive:
			l.markStalled(e.From, bit, body[1] == flowStalled)
		}
	case tagReport:
		l.reportIn(e.From, body)
	}
}

func (l *loop) transport(to llt.NodeID, msg []byte) {
	l.sends++
	var send *llt.Send
	if n := len(l.sendPool); n > 0 {
		send, l.sendPool = l.sendPool[n-1], l.sendPool[:n-1]
	} else {
		send = &llt.Send{}
	}
	*send = llt.Send{ID: l.sends, To: to, Msg: msg}
	l.lltQueue = append(l.lltQueue, send)
}

// frameOut gives a frame to its link, which sends it at the end of the turn.
func (l *loop) frameOut(f *llt.FrameOut) {
	if !l.links.Send(f) {
		l.llt.Recycle(f)
	}
}

// gabEffect carries out what GAB's core wants.
func (l *loop) gabEffect(e gab.Effect) {
	switch e.(type) {
	case gab.TransportSend, gab.DeliverMessage, gab.Outcome:
	default:
		l.dirty = true
	}
	switch e := e.(type) {
	case gab.TransportSend:
		if l.conns[e.To] == e.Conn {
			l.transport(llt.NodeID(e.To), append(e.Msg, tagCore))
		}
	case gab.DeliverMessage:
		l.deliver(e.Port, waiting{view: l.viewID(e.View), seq: e.Seq, from: e.From, payload: e.Payload, own: e.Own, id: e.ID})
	case gab.DeliverView:
		l.view(e)
	case gab.ControlOrdered:
		l.controlIn(e)
	case gab.DeliverEvidence:
		u := &gabv1.EvidenceUpdate{View: viewIDTo(e.View), Seq: e.Seq, Departed: l.departedTo([]gab.Departed{e.Departed})[0]}
		l.deliver(gab.PortH, waiting{response: &gabv1.AttachResponse{Body: &gabv1.AttachResponse_EvidenceUpdate{EvidenceUpdate: u}}})
	case gab.Outcome:
		l.outcome(e)
	case gab.Blocked:
		if c := l.client(e.Port); c != nil {
			c.blocked = true
		}
	case gab.Ready:
		if c := l.client(e.Port); c != nil {
			c.blocked = false
		}
	case gab.Gate:
		l.gate(e)
	case gab.Lease:
		l.standing.Store(true)
		l.setLease(&gabv1.WatchLeaseResponse{Lease: &gabv1.Lease{ExpiresBoottimeNs: int64(e.Until)}})
	case gab.PersistCounter:
		l.persist <- e // one at a time, so there is room
	case gab.ClosePort:
		l.closePort(e)
	case gab.StandDown:
		l.standDown(e)
	case gab.Left:
		l.left(e)
	case gab.LeaveRefused:
		for _, w := range l.leave {
			w <- leaveRefused(e.Reason)
		}
		l.leave = nil
	case gab.Note:
		l.log.Info("gab "+e.Code, noteAttrs(strings.Fields(e.Attrs))...)
	}
}

func (l *loop) view(e gab.DeliverView) {
	l.log.Info("view", "port", e.Port.String(), "view", e.ID.String(), "members", len(e.Members), "systems", len(e.Systems), "departed", len(e.Departed), "seq", e.Seq)
	l.newView = l.newView || e.Port == gab.PortA
	if e.Port != gab.PortA {
		l.deliver(e.Port, waiting{response: &gabv1.AttachResponse{Body: &gabv1.AttachResponse_View{View: l.viewTo(e)}}})
		return
	}
	if l.s.options.Load().Quorum {
		l.quorum(e)
	}
}

// quorum is gabconfig -q: less than half of what was goes on nowhere. Who left
// in order does not count.
func (l *loop) quorum(e gab.DeliverView) {
	lost := 0
	for _, d := range e.Departed {
		if d.Evidence != gab.EvidenceClean {
			lost++
		}
	}
	if lost == 0 || len(e.Members) >= lost {
		return
	}
	reason := fmt.Sprintf("quorum flag: %d of %d systems are left", len(e.Members), len(e.Members)+lost)
	l.log.Error("less than half of the membership is left", "members", len(e.Members), "lost", lost)
	if standing.Resources(l.s.cfg.Root) > 0 {
		l.out.Store(true)
		l.over = &ending{stop: true, reason: reason}
		return
	}
	l.over = &ending{left: true, reason: reason}
}

func (l *loop) gate(e gab.Gate) {
	if e.Held {
		l.log.Warn("the fence gate is held", "view", e.View.String(), "reason", l.gateReason(e, e.Reason))
	} else {
		l.log.Info("the fence gate is open")
	}
	if c := l.client(gab.PortH); c != nil {
		c.box.putFirst(&gabv1.AttachResponse{Body: &gabv1.AttachResponse_Gate{Gate: l.gateTo(e)}})
	}
}

// setLease tells clients and watchers how long this system is in good
// standing.
func (l *loop) setLease(r *gabv1.WatchLeaseResponse) {
	l.leaseMu.Lock()
	l.leaseNow = r
	close(l.leaseNew)
	l.leaseNew = make(chan struct{})
	l.leaseMu.Unlock()
	if r.Lease == nil {
		return
	}
	for _, c := range l.clients {
		if c != nil {
			c.box.putFirst(&gabv1.AttachResponse{Body: &gabv1.AttachResponse_Lease{Lease: r.Lease}})
		}
	}
}

func (l *loop) closePort(e gab.ClosePort) {
	l.log.Error("the client is out of its port", "port", e.Port.String(), "reason", e.Reason, "protected", e.Protected)
	if c := l.client(e.Port); c != nil {
		l.clients[c.port-'a'] = nil // the core has closed the port already
		l.forgive(c)
		c.close(e.Reason)
	}
	if e.Protected || standing.Resources(l.s.cfg.Root) > 0 {
		l.out.Store(true)
		l.over = &ending{stop: true, reason: e.Reason}
	}
}

// standDown ends this incarnation. With something protected here the system
// must stop (R2, R19), unless it is the side that yields after a split without
// fencing, which rejoins flagged (R17).
func (l *loop) standDown(e gab.StandDown) {
	l.out.Store(true)
	l.log.Error("this incarnation of gab stands down", "code", e.Code, "reason", e.Reason, "protected", e.Protected, "flagged", e.Flagged)
	protected := e.Protected || standing.Resources(l.s.cfg.Root) > 0
	// Only without fencing: with it, the side that stays may have evidence that
	// nothing runs here.
	rejoins := e.Flagged && l.s.cfg.FencingMode == "disabled" && !l.s.options.Load().HaltOnRejoin
	l.over = &ending{reason: e.Reason, yielded: e.Flagged, stop: protected && !rejoins}
	switch {
	case l.over.stop:
		l.setLease(&gabv1.WatchLeaseResponse{Lost: true, Reason: e.Reason})
	case rejoins: // the next incarnation goes on with this word
		l.setLease(&gabv1.WatchLeaseResponse{YieldingUntilBoottimeNs: int64(l.last.Add(2 * l.lease))})
	}
}

func (l *loop) left(e gab.Left) {
	l.log.Info("this system has left the cluster", "clean", e.Clean)
	for _, w := range l.leave {
		w <- nil
	}
	l.leave = nil
	for _, f := range l.llt.Step(l.last, llt.Stop{}, nil) {
		if f, ok := f.(*llt.FrameOut); ok {
			l.frameOut(f)
		}
	}
	l.over = &ending{left: true, reason: "this system has left the cluster"}
}
