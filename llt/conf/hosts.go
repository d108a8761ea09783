package conf

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/evenkeel/evenkeel/llt"
)

// Hosts are the names of the systems, as llthosts has them.
type Hosts struct {
	names [llt.MaxNodes]string
}

// ParseHosts reads llthosts: lines of a node id and a name.
func ParseHosts(file, text string) (*Hosts, error) {
	p := &parser{file: file}
	h := &Hosts{}
	count := 0
	for n, line := range strings.Split(text, "\n") {
		w := words(line, n+1)
		if len(w) == 0 {
			continue
		}
		if len(w) != 2 {
			return nil, p.errorAt(w[0].at, "the line has %d words; write: ID NAME", len(w))
		}
		id, err := strconv.ParseUint(w[0].text, 10, 8)
		if err != nil || id >= llt.MaxNodes {
			return nil, p.errorAt(w[0].at, "node id %q is no number from 0 to %d", w[0].text, llt.MaxNodes-1)
		}
		if h.names[id] != "" {
			return nil, p.errorAt(w[0].at, "node id %d is %s already", id, h.names[id])
		}
		if other, ok := h.ID(w[1].text); ok {
			return nil, p.errorAt(w[1].at, "%s is node %d already", w[1].text, other)
		}
		if c := strings.IndexFunc(w[1].text, func(r rune) bool { return r > 126 || strings.ContainsRune("\"'{}()=,:;/", r) }); c >= 0 {
			return nil, p.errorAt(w[1].at, "system name %q has a character that no name can have", w[1].text)
		}
		h.names[id] = w[1].text
		count++
	}
	if count == 0 {
		return nil, p.errorAt(pos{1, 1}, "no system is named; write: ID NAME, one line for each system")
	}
	return h, nil
}

// Name is the name of a node id, "" if llthosts has none.
func (h *Hosts) Name(id llt.NodeID) string {
	if id >= llt.MaxNodes {
		return ""
	}
	return h.names[id]
}

// NameOf is Name, or the decimal node id for one without a name.
func (h *Hosts) NameOf(id llt.NodeID) string {
	if n := h.Name(id); n != "" {
		return n
	}
	return strconv.Itoa(int(id))
}

// ID is the node id of a name.
func (h *Hosts) ID(name string) (llt.NodeID, bool) {
	for id, n := range h.names {
		if n != "" && n == name {
			return llt.NodeID(id), true
		}
	}
	return 0, false
}

// IDs lists the node ids that have names, ascending.
func (h *Hosts) IDs() []llt.NodeID {
	var out []llt.NodeID
	for id, n := range h.names {
		if n != "" {
			out = append(out, llt.NodeID(id))
		}
	}
	return out
}

// NodeOf finds this system's node id: the argument of set-node is an id, a
// name, or the absolute path of a file with the name, which read reads.
func (t *Tab) NodeOf(file string, h *Hosts, read func(path string) (string, error)) (llt.NodeID, error) {
	p := &parser{file: file}
	name := t.Node
	if strings.HasPrefix(name, "/") {
		text, err := read(name)
		if err != nil {
			return 0, fmt.Errorf("%s:%d:%d: set-node: %w", file, t.nodePos.line, t.nodePos.col, err)
		}
		fields := strings.Fields(text)
		if len(fields) == 0 {
			return 0, p.errorAt(t.nodePos, "set-node: %s is empty; write this system's name into it", name)
		}
		name = fields[0]
	}
	if id, ok := h.ID(name); ok {
		return id, nil
	}
	if id, err := strconv.ParseUint(name, 10, 8); err == nil && id < llt.MaxNodes {
		return llt.NodeID(id), nil
	}
	var known []string
	for _, id := range h.IDs() {
		known = append(known, h.Name(id))
	}
	return 0, p.errorAt(t.nodePos, "set-node: llthosts has no system %q%s", name, guess(name, known))
}
