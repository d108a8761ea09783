package fencing

import (
	"fmt"
	"slices"
	"sort"
	"strings"

	"github.com/evenkeel/evenkeel/internal/vclock"
)

// startup is the way to port b (R13).
type startup struct {
	open    int      // operations still out
	ok      int      // points that did what they were asked
	own     int      // points that were read and hold the own key
	foreign []Key    // keys of this cluster's other nodes
	failed  []string // what points said
	retryAt vclock.Time
}

// onStart begins the start-up, or notes a newer membership.
func (c *Core) onStart(now vclock.Time, e Start, out []Effect) []Effect {
	switch c.phase {
	case Waiting:
	case Refused:
		if c.start.open > 0 || now.Before(c.start.retryAt) {
			c.systems = e.Systems
			return out
		}
	case Starting:
		c.systems = e.Systems
		return out
	default:
		return out
	}
	c.cluster, c.self, c.systems = e.Cluster, e.Self, e.Systems
	c.attempt++
	if c.cfg.Points == 0 {
		c.phase, c.reason = Joining, ""
		return append(out, Attach{})
	}
	// Register first, then read: of two systems that start at once without
	// seeing each other, at least one reads the other's key (R13).
	c.phase = Starting
	c.start = startup{open: c.cfg.Points}
	for i := range c.cfg.Points {
		out = c.op(out, forRegister, i, Operation{Kind: OpRegisterAndIgnore, Key: c.key()})
	}
	return out
}

func (c *Core) startDone(now vclock.Time, p pending, r Result, out []Effect) []Effect {
	c.start.open--
	if r.Outcome == OK {
		c.start.ok++
	} else {
		c.start.failed = append(c.start.failed, fmt.Sprintf("point%d %v %s", p.point+1, r.Outcome, r.Detail))
	}
	if p.purpose == forCheck && r.Outcome == OK {
		c.readForCheck(r.Keys)
	}
	if c.start.open > 0 {
		return out
	}
	switch p.purpose {
	case forRegister:
		if c.start.ok < c.majority() {
			return c.refuse(now, fmt.Sprintf("could register on %d of %d coordination points only: %s", c.start.ok, c.cfg.Points, c.complaints()), out)
		}
		c.start = startup{open: c.cfg.Points}
		for i := range c.cfg.Points {
			out = c.op(out, forCheck, i, Operation{Kind: OpReadKeys})
		}
		return out
	case forCheck:
		return c.checkKeys(now, out)
	}
	return out // withdrawn
}

func (c *Core) complaints() string { return strings.Join(c.start.failed, "; ") }

// readForCheck notes the keys of one point. An own key of an earlier
// incarnation proves nothing (R13); registering has replaced it anyway.
func (c *Core) readForCheck(keys []Key) {
	for _, k := range keys {
		switch {
		case k == c.key():
			c.start.own++
		case k.Cluster != c.cluster || k.Node == c.self.Node:
		case !slices.Contains(c.start.foreign, k):
			c.start.foreign = append(c.start.foreign, k)
		}
	}
	sort.Slice(c.start.foreign, func(i, j int) bool { return c.start.foreign[i].String() < c.start.foreign[j].String() })
}

// strangers are the keys that were read of nodes outside the given systems.
func (c *Core) strangers(systems []System) []Key {
	var found []Key
	for _, k := range c.start.foreign {
		if !contains(systems, k.Node) {
			found = append(found, k)
		}
	}
	return found
}

func (c *Core) checkKeys(now vclock.Time, out []Effect) []Effect {
	if c.start.ok < c.majority() {
		return c.refuse(now, fmt.Sprintf("could read %d of %d coordination points only: %s", c.start.ok, c.cfg.Points, c.complaints()), out)
	}
	if found := c.strangers(c.systems); len(found) > 0 && c.cfg.broken != mutNoPreStartCheck {
		return c.refuse(now, splitBrain(found), out)
	}
	if c.start.own < c.majority() {
		return c.refuse(now, fmt.Sprintf("the key just registered is on %d of %d coordination points only: somebody removes it", c.start.own, c.cfg.Points), out)
	}
	c.phase, c.reason = Joining, ""
	return append(out, Attach{})
}

func splitBrain(found []Key) string {
	return fmt.Sprintf("potential pre-existing split brain: the coordination points hold keys of systems outside the membership: %s. "+
		"If these systems are really down: ha fencing clear", joinKeys(found))
}

// refuse withdraws the own key and stays off port b (R13).
func (c *Core) refuse(now vclock.Time, reason string, out []Effect) []Effect {
	c.phase, c.reason = Refused, reason
	c.attempt++
	retry := now.Add(startRetry)
	c.start = startup{open: c.cfg.Points, retryAt: retry}
	out = append(out, Note{Code: "start-refused", Text: reason})
	for i := range c.cfg.Points {
		out = c.op(out, forWithdraw, i, Operation{Kind: OpWithdrawOwn, Key: c.key()})
	}
	return out
}
