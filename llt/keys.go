package llt

import (
	"bytes"
	"fmt"

	"github.com/evenkeel/evenkeel/llt/frame"
)

// keyByID returns an accepted cluster key, or nil.
func (c *Core) keyByID(id uint32) Key {
	for _, k := range c.keys {
		if k.ID() == id {
			return k
		}
	}
	return nil
}

// sealerOf returns what opens the frames of one start of a node under a
// cluster key; nil if the key is unknown.
func (c *Core) sealerOf(node NodeID, who *identity, keyID uint32) *frame.Sealer {
	for _, s := range who.sealers {
		if s.KeyID() == keyID {
			return s
		}
	}
	k := c.keyByID(keyID)
	if k == nil {
		return nil
	}
	s, err := frame.NewSealer(k, c.cfg.Cluster, uint8(node), who.boot)
	if err != nil {
		return nil
	}
	who.sealers = append(who.sealers, s)
	return s
}

// Rotation without downtime (R20): InstallKey on every system, then UseKey by
// an ordered message, then DropKey by another.

func (c *Core) installKey(k Key) {
	if len(c.keys) == 0 || c.keyByID(k.ID()) != nil {
		c.noteOnce("key-refused", fmt.Sprintf("id=%08x", k.ID()), "cause=running-without-key-or-installed")
		return
	}
	if len(k) < frame.MinKey || len(c.keys) >= 4 {
		c.note("key-refused", fmt.Sprintf("id=%08x", k.ID()), "cause=too-short-or-too-many")
		return
	}
	c.keys = append(c.keys, bytes.Clone(k))
	c.note("key-installed", fmt.Sprintf("id=%08x", k.ID()))
}

func (c *Core) useKey(id uint32) {
	k := c.keyByID(id)
	if k == nil {
		c.note("key-refused", fmt.Sprintf("id=%08x", id), "cause=not-installed")
		return
	}
	s, err := frame.NewSealer(k, c.cfg.Cluster, uint8(c.cfg.Node), c.cfg.BootID)
	if err != nil {
		return
	}
	c.sendKey, c.sealer = k, s
	c.freshBeatSealer()
	c.note("key-used", fmt.Sprintf("id=%08x", id))
}

func (c *Core) dropKey(id uint32) {
	if id == c.sendKey.ID() {
		c.note("key-refused", fmt.Sprintf("id=%08x", id), "cause=in-use")
		return
	}
	for i, k := range c.keys {
		if k.ID() != id {
			continue
		}
		c.keys = append(c.keys[:i:i], c.keys[i+1:]...)
		if c.oldKeys = append(c.oldKeys, k); len(c.oldKeys) > maxOldKeys {
			c.oldKeys = c.oldKeys[1:]
		}
		for _, p := range c.peers {
			if p != nil {
				p.who.forget(id)
				p.cand.forget(id)
			}
		}
		c.note("key-dropped", fmt.Sprintf("id=%08x", id))
		return
	}
}

func (w *identity) forget(keyID uint32) {
	for i, s := range w.sealers {
		if s.KeyID() == keyID {
			w.sealers = append(w.sealers[:i:i], w.sealers[i+1:]...)
			return
		}
	}
}
