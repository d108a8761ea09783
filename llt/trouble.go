package llt

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/evenkeel/evenkeel/internal/vclock"
	"github.com/evenkeel/evenkeel/llt/frame"
)

// maxTroubles bounds what is remembered: causes, links and node ids are few,
// but frames of strangers name what they like.
const maxTroubles = 512

// maxOldKeys is how many keys of earlier rotations are remembered.
const maxOldKeys = 2

type troubleKey struct {
	cause      string
	link, node int
}

type trouble struct {
	count  uint64
	last   vclock.Time
	src    string
	detail string
}

// Trouble is one thing that went wrong, by cause, link and node.
type Trouble struct {
	// Cause is a stable word, such as "foreign-cluster" or "timer-late".
	Cause string
	// Link is -1 if it concerns none, Node -1 if none is named. What frames
	// that are not authentic say about their sender need not be true.
	Link, Node int
	Count      uint64
	Age        vclock.Duration
	// Src is the address that the last such frame came from, in hexadecimal, "" if not known.
	Src string
	// Detail is for people.
	Detail string
}

// trouble remembers what went wrong.
func (c *Core) trouble(cause string, link, node int, src, detail string) {
	k := troubleKey{cause, link, node}
	t := c.troubles[k]
	if t == nil {
		if len(c.troubles) >= maxTroubles {
			return
		}
		t = &trouble{}
		c.troubles[k] = t
	}
	t.count++
	t.last = c.now
	if src != "" {
		t.src = src
	}
	if detail != "" {
		t.detail = detail
	}
}

// Troubles lists what went wrong since the start, sorted by cause, link and
// node.
func (c *Core) Troubles(now vclock.Time) []Trouble {
	out := make([]Trouble, 0, len(c.troubles))
	for k, t := range c.troubles {
		out = append(out, Trouble{Cause: k.cause, Link: k.link, Node: k.node, Count: t.count, Age: max(now.Sub(t.last), 0), Src: t.src, Detail: t.detail})
	}
	slices.SortFunc(out, func(a, b Trouble) int {
		return cmp.Or(cmp.Compare(a.Cause, b.Cause), cmp.Compare(a.Link, b.Link), cmp.Compare(a.Node, b.Node))
	})
	return out
}

func addrText(src []byte) string { return fmt.Sprintf("%x", src) }

// strangeKey looks at a frame under a key that is not accepted. One that opens
// with a key of an earlier rotation comes from a system that was down
// meanwhile; anything else is a stranger's (R20). Neither has any effect.
func (c *Core) strangeKey(e *FrameIn, h frame.Header, n int) {
	for _, k := range c.oldKeys {
		if k.ID() != h.KeyID || !h.Kind.WithBoot() {
			continue
		}
		s, err := frame.NewSealer(k, c.cfg.Cluster, h.Src, h.Boot)
		if err != nil {
			continue
		}
		if _, err = frame.Open(append([]byte(nil), e.Data...), h, n, s); err != nil {
			continue
		}
		c.counters[cntNotAuthentic]++
		c.trouble("old-key", int(e.Link), int(h.Src), addrText(e.Src), fmt.Sprintf("key %08x", h.KeyID))
		c.noteOnce("old-key", nodeAttr(NodeID(h.Src)), fmt.Sprintf("key=%08x", h.KeyID))
		return
	}
	for _, k := range c.oldKeys {
		if k.ID() == h.KeyID { // not a kind that can be opened without more
			c.counters[cntNotAuthentic]++
			return
		}
	}
	c.counters[cntNotAuthentic]++
	c.noteOnce("frame-refused", c.linkAttr(e.Link), fmt.Sprintf("cause=%q", errUnknownKey))
	c.trouble("unknown-key", int(e.Link), int(h.Src), addrText(e.Src), fmt.Sprintf("key %08x", h.KeyID))
}

// adoptKey begins to use the key of a rotation that this system slept through
// after it had installed it: an authentic frame shows that the others use it.
func (c *Core) adoptKey(id uint32) {
	if c.nextKey == nil || id != c.nextKey.ID() {
		return
	}
	c.nextKey = nil
	c.useKey(id)
	c.emit(KeyAdopted{ID: id})
}

// Keys lists the ids of the accepted cluster keys, the one in use first.
func (c *Core) Keys() []uint32 {
	var out []uint32
	for _, k := range c.keys {
		if id := k.ID(); id == c.sendKey.ID() {
			out = append([]uint32{id}, out...)
		} else {
			out = append(out, id)
		}
	}
	return out
}
