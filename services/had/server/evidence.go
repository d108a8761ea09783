package server

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/evenkeel/evenkeel/internal/paths"
	gabv1 "github.com/evenkeel/evenkeel/proto/evenkeel/gab/v1"
)

// evidenceFile is what storage agents read before they take over the claim of
// another system on a disk (R4). It is replaced before any engine effect of
// the view that it belongs to, so an agent never decides on less than the
// engine knew.
const evidenceFile = "evidence.json"

// standingOf is what is known about one system's hold on shared storage.
type standingOf struct {
	Name        string `json:"name"`
	Incarnation uint64 `json:"incarnation,string"`
	Member      bool   `json:"member"`
	Evidence    string `json:"evidence,omitempty"`
}

// evidenceTable is the content of the file.
type evidenceTable struct {
	Self    string       `json:"self"`
	View    string       `json:"view"`
	Systems []standingOf `json:"systems"`
}

// readEvidence reads what a former had of this boot wrote: a system that left
// before this had began is in no view of its own.
func readEvidence(root paths.Root, self string) (evidenceTable, error) {
	table := evidenceTable{Self: self}
	text, err := os.ReadFile(root.Run(evidenceFile))
	if errors.Is(err, fs.ErrNotExist) {
		return table, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &table)
	}
	if err != nil {
		return evidenceTable{Self: self}, fmt.Errorf("read %s: %w (storage of departed systems needs a vouch)", root.Run(evidenceFile), err)
	}
	table.Self = self
	return table, nil
}

func (t *evidenceTable) entry(name string) *standingOf {
	for i := range t.Systems {
		if t.Systems[i].Name == name {
			return &t.Systems[i]
		}
	}
	t.Systems = append(t.Systems, standingOf{Name: name})
	slices.SortFunc(t.Systems, func(a, b standingOf) int { return strings.Compare(a.Name, b.Name) })
	return t.entry(name)
}

// view takes a released view: members, and departed systems with evidence.
func (t *evidenceTable) view(v *gabv1.View) {
	t.View = fmt.Sprintf("%016x/%d", v.GetId().GetLineage(), v.GetId().GetCounter())
	for i := range t.Systems {
		t.Systems[i].Member = false
	}
	for _, d := range v.GetDeparted() {
		t.departed(d)
	}
	// A system that lives without had keeps what it holds: it counts as a
	// member under its incarnation.
	for _, m := range slices.Concat(v.GetSystems(), v.GetMembers()) {
		*t.entry(m.GetName()) = standingOf{Name: m.GetName(), Incarnation: m.GetIncarnation(), Member: true}
	}
}

// departed takes the evidence for one system. Evidence is about one
// incarnation: a later one needs its own.
func (t *evidenceTable) departed(d *gabv1.Departed) {
	e := t.entry(d.GetMember().GetName())
	if e.Member && e.Incarnation != d.GetMember().GetIncarnation() {
		return
	}
	e.Member = false
	e.Incarnation = d.GetMember().GetIncarnation()
	e.Evidence = ""
	if kind := d.GetEvidence(); kind != gabv1.EvidenceKind_EVIDENCE_KIND_UNSPECIFIED {
		e.Evidence = strings.TrimPrefix(kind.String(), "EVIDENCE_KIND_")
	}
}

// write replaces the file as a whole.
func (t *evidenceTable) write(root paths.Root) error {
	text, err := json.Marshal(t)
	if err != nil {
		return fmt.Errorf("write %s: %w", evidenceFile, err)
	}
	draft, err := os.CreateTemp(root.RunDir(), "."+evidenceFile+"-*")
	if err != nil {
		return fmt.Errorf("write %s: %w", evidenceFile, err)
	}
	defer os.Remove(draft.Name())
	_, err = draft.Write(append(text, '\n'))
	if cerr := draft.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(draft.Name(), filepath.Clean(root.Run(evidenceFile)))
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", root.Run(evidenceFile), err)
	}
	return nil
}
