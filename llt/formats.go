package llt

import (
	"fmt"

	"github.com/evenkeel/evenkeel/llt/frame"
)

// Formats is a range of formats that a build speaks.
type Formats = frame.Range

// Formats of frames. The header, and what hello and handshake say, are the same
// in all of them.
//
//	1  as in the first release
//	2  parts of pieces (KindPart); formats
const (
	formatFirst = 1
	formatParts = 2
)

// spokenFrames is what this build speaks.
var spokenFrames = Formats{Lowest: formatFirst, Highest: formatParts}

// formatsTold is how many heartbeats long a peer that does not answer is told
// with each of them; afterwards with each formatsTold-th: it is of the first
// release, or what it was told was lost as long as a cut or a clogged link lasts.
const formatsTold = 20

// speech is what a peer's build speaks, as far as it said.
type speech struct {
	frames, messages Formats // zero: it has not said
	heard            bool    // it knows what this build speaks
	told             int     // heartbeats at which it had not heard
	noted            bool    // that nothing fits
}

// fits reports whether the peer speaks frames of a format that this build does.
func (s *speech) fits(own Formats) bool {
	return s.frames == Formats{} || min(s.frames.Highest, own.Highest) >= max(s.frames.Lowest, own.Lowest)
}

// ownFrames is what this core speaks.
func (c *Core) ownFrames() Formats {
	if c.cfg.Frames == (Formats{}) {
		return spokenFrames
	}
	return c.cfg.Frames
}

// parts reports whether a piece may be cut for a peer.
func (c *Core) parts(p *peer) bool {
	return min(p.speech.frames.Highest, c.ownFrames().Highest) >= formatParts
}

// tellFormats says what this build speaks, until the peer says that it heard.
func (c *Core) tellFormats(p *peer, l LinkID) {
	if c.ownFrames().Highest < formatParts || p.speech.heard {
		return
	}
	if p.speech.told++; p.speech.told <= formatsTold || p.speech.told%formatsTold == 0 {
		c.sayFormats(p, l)
	}
}

func (c *Core) sayFormats(p *peer, l LinkID) {
	f := c.beginFrame(uint8(p.id), l, p.links[l].addr, frame.KindFormats)
	f.Data = frame.Formats{Frames: c.ownFrames(), Messages: c.messages(), Heard: p.speech.frames != Formats{}}.Append(f.Data)
	f.Urgent = true
	c.finishFrame(f, uint8(p.id))
}

func (c *Core) messages() Formats {
	if c.cfg.Messages == (Formats{}) {
		return Formats{Lowest: 1, Highest: 1}
	}
	return c.cfg.Messages
}

// formatsIn takes what a peer's build speaks.
func (c *Core) formatsIn(p *peer, l LinkID, m frame.Formats) {
	if c.ownFrames().Highest < formatParts {
		return // as the first release does
	}
	s := &p.speech
	changed := s.frames != m.Frames || s.messages != m.Messages
	s.frames, s.messages, s.heard = m.Frames, m.Messages, m.Heard
	if !m.Heard && p.links[l].addr != nil {
		c.sayFormats(p, l)
	}
	if !s.fits(c.ownFrames()) && !s.noted {
		s.noted = true
		own, older := c.ownFrames(), "that system"
		if own.Highest < s.frames.Lowest {
			older = "this system"
		}
		c.note("formats-differ", fmt.Sprintf("node=%d", p.id), fmt.Sprintf("its-frames=%d-%d", s.frames.Lowest, s.frames.Highest),
			fmt.Sprintf("own-frames=%d-%d", own.Lowest, own.Highest), fmt.Sprintf("upgrade=%q", older+" first"))
	}
	if changed && p.open {
		c.emit(PeerFormats{Node: p.id, Conn: p.conn, Messages: s.messages})
	}
}
