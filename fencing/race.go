package fencing

import (
	"fmt"
	"slices"
	"sort"
	"time"

	"github.com/evenkeel/evenkeel/internal/vclock"
)

// stage is how far the race of one view is.
type stage uint8

const (
	waitRacer stage = iota // another member races
	delaying               // R12: this side is the lighter one
	racing
	reported // this racer has said what came out; it is not ordered yet
	won
	answered
)

// String is the stage as the status shows it.
func (s stage) String() string {
	return [...]string{"waiting for the racer", "delay", "racing", "racing", "powering off", "answered"}[min(s, answered)]
}

// pointState is what is known of one point in this race.
type pointState uint8

const (
	pointUnknown pointState = iota
	pointWon
	pointLost
)

// race is the race that one view with losses began.
type race struct {
	view     ViewID
	order    []NodeID // members that may race, lowest first; later views only shrink it
	unable   []NodeID // members that have given up
	stage    stage
	began    vclock.Time // the view
	takeover vclock.Time // when this system takes the race over (R11)
	turn     vclock.Time // when this system's turn began
	raced    vclock.Time // first operation; 0 before
	ended    vclock.Time // won; 0 before
	proven   vclock.Time // last evidence; 0 before
	points   []pointState
	next     int  // point in work
	busy     bool // an operation on it is out
	again    vclock.Time
	wonBy    NodeID
	power    vclock.Time // next attempt to power off
	told     bool        // this system has answered gab
}

func (r *race) count(s pointState) int {
	n := 0
	for _, p := range r.points {
		if p == s {
			n++
		}
	}
	return n
}

// racer is the member whose turn it is; false if none is left.
func (r *race) racer() (NodeID, bool) {
	for _, n := range r.order {
		if !slices.Contains(r.unable, n) {
			return n, true
		}
	}
	return 0, false
}

// onView takes a view of port b: an agreed, flushed one. Nothing but such a
// view begins a race (R10).
func (c *Core) onView(now vclock.Time, e View, out []Effect) []Effect {
	switch c.phase {
	case Joining:
		// Who was a member when the keys were read and has gone since may have
		// raced against this system's earlier registration: what was checked
		// then is worth nothing now (R13).
		if found := c.strangers(e.Systems); len(found) > 0 && c.cfg.broken != mutNoRecheck && c.cfg.broken != mutNoPreStartCheck {
			reason := "a system left while this one was joining: " + splitBrain(found)
			return c.refuse(now, reason, append(out, Detach{Reason: reason}))
		}
		// The others still have operations out against this system's earlier
		// incarnation, or may send some: it is not admitted before (R7).
		if slices.ContainsFunc(e.Departed, func(d Departed) bool { return d.System.Node == c.self.Node && d.Evidence == NoEvidence }) {
			reason := "the cluster still waits for evidence that this system's earlier incarnation is gone"
			return c.refuse(now, reason, append(out, Detach{Reason: reason}))
		}
		c.phase, c.reason = Running, ""
	case Running:
	default:
		return out
	}
	c.systems, c.members = e.Systems, e.Members
	c.forgetReturned()
	lost := c.depart(e)
	if c.cfg.Points == 0 {
		// Mode disabled: gab assumes them gone by itself; a later vouch makes
		// the evidence stronger.
		for _, d := range c.gated {
			d.Evidence = Assumed
			c.release(e.ID, d)
		}
		c.gated = nil
		return out
	}
	if lost {
		return c.begin(now, e, out)
	}
	if c.nobodyRaces() && len(c.gated) > 0 && len(e.Members) > len(e.Unknown) {
		return c.begin(now, e, out) // whoever may race has come to port b now
	}
	return c.shrink(now, out)
}

// nobodyRaces: the race began while port b had nobody whose answer gab takes.
func (c *Core) nobodyRaces() bool {
	return c.race != nil && c.race.stage == waitRacer && len(c.race.order) == 0
}

// forgetReturned drops the released evidence of systems that are back.
func (c *Core) forgetReturned() {
	c.released = slices.DeleteFunc(c.released, func(r releasedSystem) bool {
		return contains(c.systems, r.departed.System.Node)
	})
}

// depart takes over whom gab waits for: while its gate is held, every view of
// port b lists them all (R10), and whoever is listed no more has been answered
// for. It reports whether somebody is new there.
func (c *Core) depart(e View) bool {
	before := c.gated
	c.gated = nil
	lost := false
	for _, d := range e.Departed {
		if d.Evidence != NoEvidence {
			c.release(e.ID, d)
			continue
		}
		i := slices.IndexFunc(before, func(g Departed) bool { return g.System.same(d.System) })
		if i < 0 {
			lost = true
		} else {
			d = before[i] // with the evidence that is known already
			if c.cfg.broken == mutOnlyNewLosses {
				continue
			}
		}
		c.gated = append(c.gated, d)
	}
	sort.SliceStable(c.gated, func(i, j int) bool { return c.gated[i].System.Node < c.gated[j].System.Node })
	return lost
}

func (c *Core) release(view ViewID, d Departed) {
	c.released = slices.DeleteFunc(c.released, func(r releasedSystem) bool { return r.departed.System.Node == d.System.Node })
	c.released = append(c.released, releasedSystem{view: view, departed: d})
}

// begin starts the race of a view that lost systems.
func (c *Core) begin(now vclock.Time, e View, out []Effect) []Effect {
	c.attempt++
	r := &race{view: e.ID, began: now, takeover: vclock.Never, points: make([]pointState, c.cfg.Points)}
	for _, m := range e.Members {
		if !slices.Contains(e.Unknown, m.Node) {
			r.order = append(r.order, m.Node)
		}
	}
	slices.Sort(r.order)
	// The k-th member waits for k races of those before it (R11): T_stop
	// includes that chain.
	if k := slices.Index(r.order, c.self.Node); k > 0 {
		r.takeover = now.Add(vclock.Duration(k) * c.cfg.RaceTimeout)
	}
	c.race = r
	out = append(out, Note{Code: "race-begins", Text: fmt.Sprintf("view %v lost [%s]", e.ID, joinDeparted(c.gated))})
	return out
}

// shrink takes those out of the race that are no longer on port b.
func (c *Core) shrink(now vclock.Time, out []Effect) []Effect {
	r := c.race
	if r == nil || r.stage == answered {
		return out
	}
	if len(c.gated) == 0 { // another member has answered for all
		r.stage = answered
		return out
	}
	r.order = slices.DeleteFunc(r.order, func(n NodeID) bool { return !contains(c.members, n) })
	if r.stage == won {
		return c.prove(now, out)
	}
	return out
}

// deadline is when the race wants to be woken by the timer.
func (c *Core) raceDeadline() vclock.Time {
	r := c.race
	switch r.stage {
	case waitRacer:
		return r.takeover
	case delaying:
		return r.turn.Add(c.cfg.RaceDelay)
	case racing:
		end := r.turn.Add(c.cfg.RaceTimeout)
		if !r.busy {
			end = vclock.Earlier(end, r.again)
		}
		return end
	case won:
		if c.duty() == c.self.Node && r.power != 0 {
			return r.power
		}
	}
	return vclock.Never
}

// raceTime does what is due.
func (c *Core) raceTime(now vclock.Time, out []Effect) []Effect {
	r := c.race
	if r.stage == waitRacer {
		first, left := r.racer()
		if left && first == c.self.Node || r.takeover <= now {
			out = c.myTurn(now, out)
		}
	}
	if r.stage == delaying && (c.provenGone() || r.turn.Add(c.cfg.RaceDelay) <= now) {
		r.stage, r.again = racing, now
	}
	if r.stage == racing {
		switch {
		case r.turn.Add(c.cfg.RaceTimeout) <= now:
			return c.report(Unable, fmt.Sprintf("%d points won, %d lost, the rest not reached in %v", r.count(pointWon), r.count(pointLost), c.cfg.RaceTimeout), out)
		case !r.busy && r.again <= now:
			return c.tryPoint(now, out)
		}
	}
	if r.stage == won && r.power != 0 && r.power <= now {
		return c.prove(now, out)
	}
	return out
}

// myTurn makes this system the racer. Who takes over has waited long enough.
func (c *Core) myTurn(now vclock.Time, out []Effect) []Effect {
	r := c.race
	took := r.takeover <= now
	r.turn, r.takeover, r.stage, r.again = now, vclock.Never, racing, now
	if took || len(c.systems) >= len(c.gated) || c.provenGone() || c.cfg.RaceDelay == 0 {
		return out
	}
	r.stage = delaying
	if c.cfg.PowerSwitch { // to know who is proven gone already (R12)
		for _, d := range c.gated {
			c.lastID++
			c.ops = append(c.ops, pending{id: c.lastID, purpose: forPowerQuery, system: d.System, attempt: c.attempt})
			out = append(out, PowerQuery{ID: c.lastID, System: d.System})
		}
	}
	return out
}

// provenGone reports whether every departed system is known to be gone.
func (c *Core) provenGone() bool {
	for _, d := range c.gated {
		if !d.Evidence.suffices() {
			return false
		}
	}
	return true
}

func (c *Core) victims() []Key {
	keys := make([]Key, len(c.gated))
	for i, d := range c.gated {
		keys[i] = c.keyOf(d.System)
	}
	return keys
}

// tryPoint works on the next point that is not decided, in the fixed order.
func (c *Core) tryPoint(now vclock.Time, out []Effect) []Effect {
	r := c.race
	if r.raced == 0 {
		r.raced = now
		out = append(out, Note{Code: "race-operates", Text: fmt.Sprintf("%v after its view (R12)", now.Sub(r.began))})
	}
	for r.next < len(r.points) && r.points[r.next] != pointUnknown {
		r.next++
	}
	if r.next == len(r.points) {
		r.next = slices.Index(r.points, pointUnknown)
		if r.next < 0 { // an odd number of decided points has a majority
			return append(out, Note{Code: "race-undecided", Text: "every point is decided and nobody has a majority"})
		}
	}
	r.busy = true
	return c.op(out, forPreempt, r.next, Operation{Kind: OpPreempt, Key: c.key(), Victims: c.victims()})
}

func (c *Core) raceDone(now vclock.Time, p pending, result Result, out []Effect) []Effect {
	r := c.race
	if r == nil || r.stage != racing || p.purpose == forCleanup {
		return out
	}
	if p.purpose == forPreempt && result.Outcome == Conflict && c.cfg.broken == mutRegisterInRace {
		return c.op(out, forConflict, p.point, Operation{Kind: OpRegisterAndIgnore, Key: c.key()})
	}
	if c.cfg.broken == mutConflictIsWon && result.Outcome == Conflict {
		result.Outcome = OK
	}
	if p.purpose == forPreempt && result.Outcome == Conflict {
		// R11: a conflict alone says nothing; read what is there.
		return c.op(out, forConflict, p.point, Operation{Kind: OpReadKeys})
	}
	r.busy, r.again = false, now
	switch {
	case result.Outcome == Failed:
		out = append(out, Note{Code: "point-failed", Text: fmt.Sprintf("point%d: %s", p.point+1, result.Detail)})
		c.pass(now)
	case c.cfg.broken == mutRegisterInRace && p.purpose == forConflict:
	case p.purpose == forPreempt:
		r.points[p.point] = pointWon
	default:
		c.readConflict(now, p.point, result.Keys)
	}
	switch {
	case r.count(pointWon) >= c.majority():
		out = c.report(Won, fmt.Sprintf("%d of %d points", r.count(pointWon), len(r.points)), out)
		return c.cleanUp(out)
	case r.count(pointLost) >= c.majority():
		return c.report(Lost, fmt.Sprintf("the key of this system is off %d of %d points", r.count(pointLost), len(r.points)), out)
	}
	return out
}

// readConflict judges a point by its keys after a conflict (R11): own absent
// is lost, own present with all departed absent is won, else it is tried again.
func (c *Core) readConflict(now vclock.Time, point int, keys []Key) {
	r := c.race
	if !slices.Contains(keys, c.key()) {
		r.points[point] = pointLost
		// Let the winner of this point go on to the next: fewer ties when
		// there are more than two sides.
		r.again = now.Add(c.cfg.Retry)
		return
	}
	for _, v := range c.victims() {
		if slices.Contains(keys, v) {
			r.again = now.Add(c.cfg.Retry)
			return
		}
	}
	r.points[point] = pointWon
}

// pass goes on to the next point; after the last one it pauses.
func (c *Core) pass(now vclock.Time) {
	r := c.race
	r.next++
	if r.next >= len(r.points) || !slices.Contains(r.points[r.next:], pointUnknown) {
		r.next = 0
		r.again = now.Add(c.cfg.Retry)
	}
}

// report orders the outcome of this system's race.
func (c *Core) report(v Verdict, detail string, out []Effect) []Effect {
	c.race.stage = reported
	return append(out, Broadcast{RaceResult{View: c.race.view, Verdict: v, Detail: detail}})
}

// cleanUp takes the keys of the departed off the points that the decision did
// not need.
func (c *Core) cleanUp(out []Effect) []Effect {
	for i, state := range c.race.points {
		if state == pointUnknown {
			out = c.op(out, forCleanup, i, Operation{Kind: OpPreempt, Key: c.key(), Victims: c.victims()})
		}
	}
	return out
}

// onResult takes the ordered outcome of one racer: the same on every member.
func (c *Core) onResult(now vclock.Time, from NodeID, m RaceResult, out []Effect) []Effect {
	r := c.race
	if r == nil || m.View != r.view || r.stage == answered {
		return append(out, Note{Code: "stale-result", Text: m.String()})
	}
	switch m.Verdict {
	case Won:
		if r.stage == won {
			return out
		}
		r.stage, r.wonBy, r.ended = won, from, now
		out = append(out, Note{Code: "race-won", Text: fmt.Sprintf("by node %d: %s", from, m.Detail)})
		return c.prove(now, out)
	case Answered:
		for _, d := range c.gated {
			c.release(r.view, d)
		}
		c.gated = nil
		r.stage = answered
		if r.proven == 0 {
			r.proven = now
		}
		return append(out, Note{Code: "race-answered", Text: m.Detail})
	case Lost:
		if r.stage == won {
			return out
		}
		return c.lost("this side lost the race for the coordination points: "+m.Detail, out)
	case Unable:
		if r.stage == won {
			return out
		}
		if !slices.Contains(r.unable, from) {
			r.unable = append(r.unable, from)
		}
		if from == c.self.Node {
			r.stage, r.takeover = waitRacer, vclock.Never
		}
		if _, left := r.racer(); !left {
			return c.lost("no member of this side could reach a majority of the coordination points: "+m.Detail, out)
		}
	}
	return out
}

func (c *Core) lost(reason string, out []Effect) []Effect {
	c.phase, c.reason = Stopped, reason
	return append(out, SelfStop{Reason: reason})
}

// duty is the member that gathers the evidence: the winner, or the lowest
// member of the race if the winner is gone.
func (c *Core) duty() NodeID {
	r := c.race
	if r.stage == won && contains(c.members, r.wonBy) {
		return r.wonBy
	}
	for _, n := range r.order {
		if contains(c.members, n) {
			return n
		}
	}
	return c.self.Node
}

// prove gathers evidence after a win, and answers when it is complete (R1).
func (c *Core) prove(now vclock.Time, out []Effect) []Effect {
	r := c.race
	if r.stage != won || c.duty() != c.self.Node {
		return out
	}
	r.power = 0
	for i := range c.gated {
		d := &c.gated[i]
		switch {
		case d.Evidence.suffices():
		case c.cfg.PowerSwitch && contains(c.members, d.System.Node):
			// A later incarnation was admitted to port b (R7): it must not be
			// powered off for an earlier one's sake. One that is merely visible
			// is: nothing else proves that the earlier one is gone (R4).
			d.Detail = "a later incarnation is on port b; vouch for the earlier one"
			r.power = now.Add(powerRetry)
		case c.cfg.PowerSwitch:
			out = c.powerOff(d.System, out)
		case c.cfg.DataDisksFenced:
			d.Evidence, d.Detail = Cut, "its keys are off a majority of the coordination points and off the data disks"
		default:
			d.Detail = "the race is won, but nothing proves that it is gone: no power switch, no fenced data disks"
		}
	}
	return c.maybeAnswer(now, out)
}

func (c *Core) powerOff(s System, out []Effect) []Effect {
	for _, p := range c.ops {
		if p.purpose == forPowerOff && p.system.same(s) {
			return out
		}
	}
	c.lastID++
	c.ops = append(c.ops, pending{id: c.lastID, purpose: forPowerOff, system: s, attempt: c.attempt})
	return append(out, PowerOff{ID: c.lastID, System: s})
}

// onPowerDone notes what the switch said. "Off" is true of that incarnation
// for ever, whatever race it was asked for.
func (c *Core) onPowerDone(now vclock.Time, e PowerDone, out []Effect) []Effect {
	p, ok := c.take(e.ID)
	if !ok {
		return append(out, Note{Code: "unknown-completion", Text: e.String()})
	}
	for i := range c.gated {
		d := &c.gated[i]
		if !d.System.same(p.system) || d.Evidence.suffices() {
			continue
		}
		if e.Off {
			d.Evidence, d.Detail = PoweredOff, "the power switch says off"
		} else if p.purpose == forPowerOff {
			d.Detail = "the power switch failed: " + e.Detail
			out = append(out, Note{Code: "power-off-failed", Text: fmt.Sprintf("%v: %s; if it is really down: ha fencing vouch %s", d.System, e.Detail, d.System.Name)})
		}
	}
	if c.race == nil || c.race.stage != won {
		return out
	}
	if !e.Off {
		c.race.power = now.Add(powerRetry)
	}
	return c.maybeAnswer(now, out)
}

// maybeAnswer tells gab once every departed system has evidence (R1, R10).
func (c *Core) maybeAnswer(now vclock.Time, out []Effect) []Effect {
	r := c.race
	if r == nil || r.told || r.stage == answered || len(c.gated) == 0 || c.duty() != c.self.Node {
		return out
	}
	for i := range c.gated {
		if d := &c.gated[i]; d.Evidence == NoEvidence {
			if c.cfg.broken != mutAnswerUnproven {
				return out
			}
			d.Evidence = PoweredOff
		}
	}
	if r.stage != won && !c.provenGone() {
		return out
	}
	r.told, r.proven = true, now
	out = append(out, Answer{View: r.view, Departed: slices.Clone(c.gated)})
	return append(out, Broadcast{RaceResult{View: r.view, Verdict: Answered, Detail: joinDeparted(c.gated)}})
}

// releasedWith lists whoever was answered for with a view and has evidence.
func (c *Core) releasedWith(view ViewID) []Departed {
	var departed []Departed
	for _, r := range c.released {
		if r.view == view && r.departed.Evidence != NoEvidence {
			departed = append(departed, r.departed)
		}
	}
	return departed
}

// onVouch takes an operator's word, ordered: the same on every member.
func (c *Core) onVouch(now vclock.Time, m Vouch, out []Effect) []Effect {
	detail := fmt.Sprintf("vouched for by %s, request %s", m.Who, m.Request)
	for i := range c.gated {
		d := &c.gated[i]
		if !d.System.same(m.System) {
			continue
		}
		if !d.Evidence.suffices() {
			d.Evidence, d.Detail = Vouched, detail
		}
		out = append(out, Note{Code: "vouched", Text: m.String()})
		return c.maybeAnswer(now, out)
	}
	for i := range c.released {
		r := &c.released[i]
		if !r.departed.System.same(m.System) || r.departed.Evidence == Vouched {
			continue
		}
		// Also over evidence that suffices: gab takes no evidence but this
		// from a system that the departed did not know, and then its gate is
		// still held although the race is answered (R10).
		r.departed.Evidence, r.departed.Detail = Vouched, detail
		out = append(out, Note{Code: "vouched", Text: m.String()})
		if len(c.members) > 0 && c.members[0].Node == c.self.Node {
			out = append(out, Answer{View: r.view, Departed: c.releasedWith(r.view)})
		}
		return out
	}
	return append(out, Note{Code: "vouch-ignored", Text: m.String()})
}

// Snapshot is what the status shows. It shares nothing with the core.
type Snapshot struct {
	Phase    Phase
	Reason   string
	Cluster  uint16
	Self     System
	Systems  []System
	Members  []System
	Gated    []Departed
	Released []Departed
	Race     *RaceStatus
}

// RaceStatus is the race under way or the last one.
type RaceStatus struct {
	View      ViewID
	Stage     string
	Racer     NodeID
	PointsWon int
	// Delay is from the view to the first operation, Took from there to the
	// ordered win, Proof from there to the last evidence; 0 while unknown or if
	// another member raced.
	Delay, Took, Proof time.Duration
}

// Snapshot returns the status.
func (c *Core) Snapshot() Snapshot {
	s := Snapshot{
		Phase: c.phase, Reason: c.reason, Cluster: c.cluster, Self: c.self,
		Systems: slices.Clone(c.systems), Members: slices.Clone(c.members), Gated: slices.Clone(c.gated),
	}
	for _, r := range c.released {
		s.Released = append(s.Released, r.departed)
	}
	r := c.race
	if r == nil {
		return s
	}
	s.Race = &RaceStatus{View: r.view, Stage: r.stage.String(), PointsWon: r.count(pointWon)}
	if c.phase == Stopped {
		s.Race.Stage = "lost"
	}
	s.Race.Racer, _ = r.racer()
	if r.stage >= won {
		s.Race.Racer = r.wonBy
	}
	if r.raced != 0 {
		s.Race.Delay = r.raced.Sub(r.began)
		if r.ended != 0 {
			s.Race.Took = r.ended.Sub(r.raced)
		}
	}
	if r.ended != 0 && r.proven != 0 {
		s.Race.Proof = r.proven.Sub(r.ended)
	}
	return s
}
