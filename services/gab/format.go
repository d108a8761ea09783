package gab

import "fmt"

// Formats is a range of message formats that a build speaks.
type Formats struct{ Lowest, Highest uint8 }

func (f Formats) String() string { return fmt.Sprintf("%d to %d", f.Lowest, f.Highest) }

// SpokenFormats is what this build speaks. Systems of several builds are members of
// one view at the highest format that all of them speak: a cluster is upgraded
// system by system, and the last one brings the newest format into use.
//
//	1  as in the first release
//	2  messages of one sender that follow each other are written without the
//	   fields that repeat; REACH; disk and control entries
var SpokenFormats = Formats{Lowest: 1, Highest: 2}

const (
	formatFirst   = 1
	formatCompact = 2
)

// formatsOf is what a peer speaks, as its PeerUp said; a build that says
// nothing of formats is the first one.
func formatsOf(f Formats) Formats {
	if f.Highest == 0 {
		return Formats{formatFirst, formatFirst}
	}
	return f
}

// common is the highest format that two builds speak, 0 if there is none.
func (f Formats) common(o Formats) uint8 {
	if h := min(f.Highest, o.Highest); h >= max(f.Lowest, o.Lowest) {
		return h
	}
	return 0
}

// needs is the lowest format that can say an entry.
func (e *entry) needs() uint8 {
	switch e.kind {
	case entryDisk, entryControl:
		return formatCompact
	case entryView:
		return max(e.format, formatFirst)
	}
	return formatFirst
}

// needed is the lowest format that can say all of these entries.
func needed(es []entry) uint8 {
	f := uint8(formatFirst)
	for i := range es {
		f = max(f, es[i].needs())
	}
	return f
}

// speaks reports whether a peer and this system have a format in common.
// Whoever has none is told of, once, and never admitted.
func (c *Core) speaks(n NodeID) bool {
	p := &c.peers[n]
	if c.cfg.Formats.common(p.formats) != 0 {
		return true
	}
	if !p.strange {
		p.strange = true
		older := "that system"
		if c.cfg.Formats.Highest < p.formats.Lowest {
			older = "this system"
		}
		c.note("format-differs", "node=%d: not admitted, its build speaks message formats %s and this one %s; upgrade %s first", n, p.formats, c.cfg.Formats, older)
	}
	return false
}

// outdated reports whether a peer cannot be admitted yet, because what is in
// the order, or in the state that a joiner gets, cannot be said in its format.
func (c *Core) outdated(n NodeID) bool {
	p := &c.peers[n]
	if p.formats.Highest >= formatCompact {
		return false
	}
	disks := false
	for i := range c.rep.systems {
		disks = disks || c.rep.systems[i].disk != 0
	}
	if disks && !p.strange {
		p.strange = true
		c.note("format-differs", "node=%d: not admitted while disk regions say that a system lives; its build speaks message formats %s and cannot be told; upgrade it first", n, p.formats)
	}
	return disks || needed(c.log.between(c.rep.pos, c.log.length())) > p.formats.Highest
}

// viewFormat is the format of a view with these members.
func (c *Core) viewFormat(ms []Member) uint8 {
	f := c.cfg.Formats.Highest
	for _, m := range ms {
		if m.Node != c.cfg.Node {
			f = min(f, c.peers[m.Node].formats.Highest)
		}
	}
	return max(f, formatFirst)
}

// formatChanged is called when a view with another format begins. What the new
// one can say and the one before could not is said now; what it cannot say is
// dropped: disk regions and control messages belong to builds that all know.
func (c *Core) formatChanged(before uint8) {
	if c.format < formatCompact {
		kept := c.ops[:0]
		for _, op := range c.ops {
			if op.needs() <= c.format || op.queued {
				kept = append(kept, op)
			} else {
				c.note("format-lacks", "kind=%s: not said in a view of format %d", entryNames[op.kind], c.format)
			}
		}
		clear(c.ops[len(kept):])
		c.ops = kept
		return
	}
	if before != 0 && before < formatCompact {
		for n := range c.peers {
			if c.peers[n].disk {
				c.enqueue(operation{entry: entry{kind: entryDisk, node: NodeID(n), on: true}})
			}
		}
	}
}

// says reports whether the present view's format can say something, and notes
// it if not.
func (c *Core) says(what string, format uint8) bool {
	if c.format < format {
		c.note("format-lacks", "kind=%s: not said in a view of format %d", what, c.format)
		return false
	}
	return true
}
