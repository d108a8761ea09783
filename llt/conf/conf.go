// Package conf reads llttab and llthosts, in the syntax that VCS gave them. It
// is pure: the shell reads the files. docs/spec/llt.md describes every
// directive.
package conf

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/evenkeel/evenkeel/internal/vclock"
	"github.com/evenkeel/evenkeel/llt"
)

// Tab is the content of one llttab.
type Tab struct {
	// Node is the argument of set-node: an id, a name from llthosts, or the
	// absolute path of a file that holds the name.
	Node string
	// Cluster is the cluster id, 0 if the file does not say.
	Cluster uint16
	// Links in the order of the file, at least one.
	Links []Link
	// Timers after set-profile and set-timer.
	Timers llt.Timers
	// Profile is the name given to set-profile, "default" if none.
	Profile string
	// KeyFile is the argument of set-key-file: a path, "none", or "" if the
	// file does not say; then the key is in cluster.key beside llttab.
	KeyFile string
	// Include and Exclude are node ids; Include is nil if the file has none.
	Include, Exclude []llt.NodeID
	// MinLinks is set-dbg-minlinks: a peer seen over fewer network links is
	// logged; 0 is never.
	MinLinks int
	// Ignored are directives that were understood and have no effect here,
	// with their positions.
	Ignored []string

	nodePos pos
}

// Link is one line link or link-lowpri.
type Link struct {
	Tag         string
	LowPriority bool
	// Device is the interface for Kind ether; as written otherwise.
	Device string
	Kind   Kind
	// SAP is the ethertype or the UDP port.
	SAP uint16
	// MTU is the largest frame payload in bytes, 0 for the interface's own
	// (ether) or DefaultUDPMTU.
	MTU int
	// Local is the own address of a UDP link.
	Local netip.Addr
	// Broadcast is where discovery goes on a UDP link: a broadcast address or
	// a multicast group; invalid if there is none, then set-addr is needed.
	Broadcast netip.Addr
	// Block is where a disk region begins, in units of BlockSize.
	Block uint64
	// NoBroadcast is true with set-arp 0: addresses are those of set-addr, which
	// the link has, and those of frames that come.
	NoBroadcast bool
	// Peers are the addresses of set-addr.
	Peers []PeerAddr

	at pos
}

// PeerAddr is one set-addr.
type PeerAddr struct {
	Node llt.NodeID
	// UDP is the address on a udp or udp6 link.
	UDP netip.AddrPort
	// MAC is the address on an ether link, 6 bytes.
	MAC []byte
}

// Kind is the type of a link.
type Kind string

// Types of links.
const (
	Ether Kind = "ether"
	UDP   Kind = "udp"
	UDP6  Kind = "udp6"
	Disk  Kind = "disk" // a heartbeat region: heartbeats only
)

// BlockSize is the unit in which the beginning of a disk region is given, in
// bytes. A region begins at a multiple of 8 of them.
const BlockSize = 512

// Defaults of the fields of a link that may be "-".
const (
	DefaultSAP    = 0xCAFE
	DefaultUDPMTU = 8192
	DefaultBlock  = 16 // leaves the label area of the disk
)

// KeyNone is the KeyFile that says: no encryption, and I know what that means.
const KeyNone = "none"

type pos struct{ line, col int }

type word struct {
	text string
	at   pos
}

type parser struct {
	file string
	tab  Tab
	seen map[string]pos
	adds []addLine
	// noDiscovery is where set-arp 0 stands; line 0 if nowhere.
	noDiscovery pos
}

// addLine is a set-addr; the link may come after it.
type addLine struct{ node, tag, addr word }

// errorAt is an error with its place in the file.
func (p *parser) errorAt(at pos, format string, args ...any) error {
	return fmt.Errorf("%s:%d:%d: %s", p.file, at.line, at.col, fmt.Sprintf(format, args...))
}

// words splits a line; "#" at the beginning of a word starts a comment.
func words(line string, n int) []word {
	var out []word
	for i := 0; i < len(line); {
		if line[i] == ' ' || line[i] == '\t' || line[i] == '\r' {
			i++
			continue
		}
		if line[i] == '#' {
			break
		}
		end := i
		for end < len(line) && line[end] != ' ' && line[end] != '\t' && line[end] != '\r' {
			end++
		}
		out = append(out, word{text: line[i:end], at: pos{n, utf8.RuneCountInString(line[:i]) + 1}})
		i = end
	}
	return out
}

// ParseTab reads llttab. file is its name for error messages.
func ParseTab(file, text string) (*Tab, error) {
	p := &parser{file: file, seen: map[string]pos{}}
	p.tab.Profile = "default"
	p.tab.Timers, _ = llt.Profile("default")
	lines := strings.Split(text, "\n")
	// The profile first: set-timer changes it, wherever it stands.
	for n, line := range lines {
		if w := words(line, n+1); len(w) > 0 && w[0].text == "set-profile" {
			if err := p.profile(w); err != nil {
				return nil, err
			}
		}
	}
	for n, line := range lines {
		w := words(line, n+1)
		if len(w) == 0 {
			continue
		}
		if w[0].text == "start" {
			break
		}
		if err := p.directive(w); err != nil {
			return nil, err
		}
	}
	return p.finish(len(lines))
}

var directives = map[string]func(*parser, []word) error{
	"set-node":         (*parser).node,
	"set-cluster":      (*parser).cluster,
	"link":             (*parser).link,
	"link-lowpri":      (*parser).link,
	"set-addr":         (*parser).addr,
	"set-timer":        (*parser).timer,
	"set-profile":      func(*parser, []word) error { return nil },
	"set-key-file":     (*parser).keyFile,
	"include":          (*parser).nodes,
	"exclude":          (*parser).nodes,
	"set-bcasthb":      (*parser).bcasthb,
	"set-arp":          (*parser).arp,
	"set-discpeer":     (*parser).discpeer,
	"set-flow":         (*parser).flow,
	"set-dbg-minlinks": (*parser).minLinks,
}

var directiveNames = []string{
	"set-node", "set-cluster", "link", "link-lowpri", "set-addr", "set-timer", "set-profile", "set-key-file",
	"include", "exclude", "set-bcasthb", "set-arp", "set-discpeer", "set-flow", "set-dbg-minlinks", "start",
}

func (p *parser) directive(w []word) error {
	f := directives[w[0].text]
	if f == nil {
		return p.errorAt(w[0].at, "unknown directive %q%s", w[0].text, guess(w[0].text, directiveNames))
	}
	return f(p, w)
}

// once refuses a directive that came before.
func (p *parser) once(w word) error {
	if before, ok := p.seen[w.text]; ok {
		return p.errorAt(w.at, "%s was given before, in line %d; remove one of the two", w.text, before.line)
	}
	p.seen[w.text] = w.at
	return nil
}

// args checks the number of words after the directive.
func (p *parser) args(w []word, least, most int, usage string) error {
	switch n := len(w) - 1; {
	case n < least:
		return p.errorAt(w[len(w)-1].at, "%s: an argument is missing; write: %s", w[0].text, usage)
	case n > most:
		return p.errorAt(w[most+1].at, "%s: %q is too much; write: %s", w[0].text, w[most+1].text, usage)
	}
	return nil
}

func (p *parser) node(w []word) error {
	if err := p.args(w, 1, 1, "set-node NAME|ID|FILE"); err != nil {
		return err
	}
	p.tab.Node, p.tab.nodePos = w[1].text, w[1].at
	return p.once(w[0])
}

func (p *parser) cluster(w []word) error {
	if err := p.args(w, 1, 1, "set-cluster NUMBER"); err != nil {
		return err
	}
	n, err := strconv.ParseUint(w[1].text, 0, 16)
	if err != nil {
		return p.errorAt(w[1].at, "cluster id %q is no number from 0 to 65535", w[1].text)
	}
	p.tab.Cluster = uint16(n)
	return p.once(w[0])
}

func (p *parser) profile(w []word) error {
	usage := "set-profile " + strings.Join(llt.Profiles(), "|")
	if err := p.args(w, 1, 1, usage); err != nil {
		return err
	}
	t, ok := llt.Profile(w[1].text)
	if !ok {
		return p.errorAt(w[1].at, "unknown profile %q; write: %s", w[1].text, usage)
	}
	p.tab.Timers, p.tab.Profile = t, w[1].text
	return p.once(w[0])
}

// otherTimers are timers of VCS whose work is done otherwise here.
var otherTimers = map[string]bool{
	"rpeertrouble": true, "rpeerinact": true, "timetoreqhb": true, "rtimetoreqhb": true, "reqhbtime": true,
	"timetosendhb": true, "sendhbcap": true, "oos": true, "service": true, "arp": true, "arpreq": true,
}

func (p *parser) timer(w []word) error {
	if err := p.args(w, 1, 64, "set-timer NAME:TICKS, a tick is 10 ms"); err != nil {
		return err
	}
	for _, a := range w[1:] {
		name, value, ok := strings.Cut(a.text, ":")
		ticks, err := strconv.ParseUint(value, 10, 32)
		if !ok || err != nil {
			return p.errorAt(a.at, "timer %q is not of the form NAME:TICKS, a tick is 10 ms", a.text)
		}
		if otherTimers[name] {
			p.ignore(a, "that is done otherwise")
			continue
		}
		if ticks == 0 || ticks > 24*3600*100 {
			return p.errorAt(a.at, "timer %s: %d ticks of 10 ms are out of range; 1 to 8640000 are possible", name, ticks)
		}
		if !p.tab.Timers.Set(name, vclock.Duration(ticks)*10*time.Millisecond) {
			return p.errorAt(a.at, "unknown timer %q%s", name, guess(name, llt.TimerNames()))
		}
		p.seen["set-timer"] = a.at
	}
	return nil
}

func (p *parser) keyFile(w []word) error {
	if err := p.args(w, 1, 1, "set-key-file PATH|none"); err != nil {
		return err
	}
	p.tab.KeyFile = w[1].text
	return p.once(w[0])
}

// truth reads the argument of a directive that is on or off.
func (p *parser) truth(w []word) (bool, error) {
	if err := p.args(w, 1, 1, w[0].text+" 0|1"); err != nil {
		return false, err
	}
	if w[1].text != "0" && w[1].text != "1" {
		return false, p.errorAt(w[1].at, "%s: %q is neither 0 nor 1", w[0].text, w[1].text)
	}
	return w[1].text == "1", p.once(w[0])
}

func (p *parser) bcasthb(w []word) error {
	on, err := p.truth(w)
	if err == nil && on { // 0 is how it is done here
		p.ignore(w[0], "heartbeats go to each peer; discovery alone is broadcast")
	}
	return err
}

// arp reads set-arp: with 0 no address is discovered.
func (p *parser) arp(w []word) error {
	on, err := p.truth(w)
	if err == nil && !on {
		p.noDiscovery = w[0].at
	}
	return err
}

func (p *parser) discpeer(w []word) error {
	_, err := p.truth(w)
	if err == nil {
		p.ignore(w[0], "set-arp says whether peers are discovered")
	}
	return err
}

// flowLimits are the limits of VCS; windows adapt by themselves here.
var flowLimits = []string{"highwater", "lowwater", "rporthighwater", "rportlowwater", "window", "linkburst", "ackval", "sws", "largepktlen"}

func (p *parser) flow(w []word) error {
	if err := p.args(w, 1, 64, "set-flow NAME:PACKETS"); err != nil {
		return err
	}
	for _, a := range w[1:] {
		name, value, ok := strings.Cut(a.text, ":")
		if _, err := strconv.ParseUint(value, 10, 32); !ok || err != nil {
			return p.errorAt(a.at, "limit %q is not of the form NAME:PACKETS", a.text)
		}
		if !slices.Contains(flowLimits, name) {
			return p.errorAt(a.at, "unknown limit %q%s", name, guess(name, flowLimits))
		}
		p.ignore(a, "windows adapt to losses and round trips by themselves")
	}
	return nil
}

func (p *parser) minLinks(w []word) error {
	if err := p.args(w, 1, 1, "set-dbg-minlinks NUMBER"); err != nil {
		return err
	}
	n, err := strconv.Atoi(w[1].text)
	if err != nil || n < 0 || n > llt.MaxLinks {
		return p.errorAt(w[1].at, "set-dbg-minlinks: %q is no number from 0 to %d", w[1].text, llt.MaxLinks)
	}
	p.tab.MinLinks = n
	return p.once(w[0])
}

func (p *parser) ignore(w word, why string) {
	p.tab.Ignored = append(p.tab.Ignored, fmt.Sprintf("%s:%d:%d: %s has no effect here: %s", p.file, w.at.line, w.at.col, w.text, why))
}

func (p *parser) nodes(w []word) error {
	if err := p.args(w, 1, 64, w[0].text+" ID|LOW-HIGH ..."); err != nil {
		return err
	}
	for _, a := range w[1:] {
		low, high, found := strings.Cut(a.text, "-")
		if !found {
			high = low
		}
		from, err1 := strconv.ParseUint(low, 10, 8)
		to, err2 := strconv.ParseUint(high, 10, 8)
		if err1 != nil || err2 != nil || from > to || to >= llt.MaxNodes {
			return p.errorAt(a.at, "%q is no range of node ids; write ID or LOW-HIGH, from 0 to %d", a.text, llt.MaxNodes-1)
		}
		for n := from; n <= to; n++ {
			if w[0].text == "include" {
				p.tab.Include = append(p.tab.Include, llt.NodeID(n))
			} else {
				p.tab.Exclude = append(p.tab.Exclude, llt.NodeID(n))
			}
		}
	}
	return nil
}

func (p *parser) finish(lines int) (*Tab, error) {
	t := &p.tab
	end := pos{lines, 1}
	if t.Node == "" {
		return nil, p.errorAt(end, "set-node is missing; write: set-node NAME|ID|FILE")
	}
	if len(t.Links) == 0 {
		return nil, p.errorAt(end, "no link is configured; write: link TAG DEVICE - ether - -   (two of them, one alone is permanent jeopardy)")
	}
	for _, a := range p.adds {
		if err := p.addTo(a); err != nil {
			return nil, err
		}
	}
	if !slices.ContainsFunc(t.Links, func(l Link) bool { return l.Kind != Disk }) {
		return nil, p.errorAt(t.Links[0].at, "disk regions carry heartbeats only; configure a network link too, better two")
	}
	for i := range t.Links {
		l := &t.Links[i]
		if l.Kind == Disk {
			continue
		}
		if p.noDiscovery.line > 0 {
			if l.NoBroadcast = len(l.Peers) > 0; !l.NoBroadcast {
				p.ignore(word{"set-arp 0", p.noDiscovery}, "link "+l.Tag+" has no set-addr, nobody would be found there")
			}
		}
		if l.Kind != Ether && !l.Broadcast.IsValid() && len(l.Peers) == 0 {
			return nil, p.errorAt(l.at, "link %s has neither a broadcast address nor a peer; write set-addr NODE %s ADDRESS for each peer", l.Tag, l.Tag)
		}
	}
	if err := t.Timers.Validate(); err != nil {
		at, ok := p.seen["set-timer"]
		if !ok {
			at = end
		}
		return nil, p.errorAt(at, "%s", err)
	}
	return t, nil
}

// guess proposes the known name that is nearest to a wrong one.
func guess(wrong string, known []string) string {
	best, at := 4, ""
	for _, k := range known {
		if d := distance(wrong, k); d < best {
			best, at = d, k
		}
	}
	if at == "" {
		return "; known are: " + strings.Join(known, " ")
	}
	return fmt.Sprintf("; did you mean %q?", at)
}

// distance is the number of letters to change, insert or remove.
func distance(a, b string) int {
	if len(a) > 32 || len(b) > 32 {
		return 99
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
