package engine

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/evenkeel/evenkeel/services/had/decision"
	"github.com/evenkeel/evenkeel/services/had/maincf"
)

// Message ids of what changes of the configuration say. Those below 90000 are
// VCS's.
const (
	idWritable     = 10364 // writable already
	idNotWritable  = 10369
	idListRefused  = 10180 // a system stays in SystemList
	idNoSuchFile   = 90054 // an applied configuration is wrong
	idDeleteOnline = 90041 // a resource that is online is not deleted
	idUseFence     = 90217 // UseFence against the mode that gab runs in
	idSystemRuns   = 90043 // a system that is there is not deleted
	idLinkUnmet    = 90044 // the running state does not meet a link
	idParallel     = 90045 // Parallel stays as it is
	idDisable      = 90046 // a resource that is online is not disabled
	idOperations   = 90047 // Operations of a type stay as they are
	idUnconfirmed  = 90048 // something waits to be confirmed
	idNothing      = 90049 // nothing waits to be confirmed
	idNotDumped    = 90050 // a system could not write a dump
	idReverted     = 90051 // an applied configuration was reverted
	idNotReverted  = 90052 // and cannot be
	idChanged      = 90053 // the configuration was changed
	idBadEdit      = 90055 // no command that changes a configuration
)

// Bounds of what is kept beside the text of the files.
const (
	keptEdits     = 512
	keptEditBytes = 1 << 20
	// shownEdits is how many edits an answer tells.
	shownEdits = 1000
)

// revertAgain is how often a reversal is tried that the running state forbids.
const revertAgain = 10 * time.Second

// configState is what is replicated about the configuration but for its text.
type configState struct {
	// Writable is the opposite of cluster attribute ReadOnly.
	Writable bool `json:"writable,omitempty"`
	// Edits are what was changed since Files, each the words of a command.
	Edits [][]string `json:"edits,omitempty"`
	// Sequence counts the changes over the life of the cluster: of two copies
	// the one with the higher sequence wins. Changed is the last one's place.
	Sequence uint64 `json:"sequence,omitempty"`
	Changed  *Pos   `json:"changed,omitempty"`
	// Version numbers the dumps; Dumped is the sequence of the last one.
	Version uint64 `json:"version,omitempty"`
	Dumped  uint64 `json:"dumped,omitempty"`
	// Stale: the disks are marked, because they may lack a change.
	Stale bool `json:"stale,omitempty"`
	// Dump is the last dump; Dumping are the systems that owe it.
	Dump    *dump         `json:"dump,omitempty"`
	Dumping []SystemID    `json:"dumping,omitempty"`
	Failed  []DumpProblem `json:"failed,omitempty"`
	// Unconfirmed is a change that is reverted unless it is confirmed.
	Unconfirmed *unconfirmed `json:"unconfirmed,omitempty"`
}

// dump is who ordered a dump, and where.
type dump struct {
	At      Pos    `json:"at"`
	User    string `json:"user,omitempty"`
	Request string `json:"request,omitempty"`
}

// DumpProblem is why a system did not write a dump.
type DumpProblem struct {
	System SystemID `json:"system"`
	Why    string   `json:"why"`
}

// unconfirmed is the way back from a change.
type unconfirmed struct {
	// Until is when it is reverted, in engine time; Again when next, if it
	// could not be.
	Until time.Duration `json:"until"`
	Again time.Duration `json:"again,omitempty"`
	User  string        `json:"user,omitempty"`
	Why   string        `json:"why,omitempty"`
	Files []File        `json:"files"`
	Edits [][]string    `json:"edits,omitempty"`
}

func (c configState) clone() configState {
	c.Edits = slices.Clone(c.Edits)
	c.Dumping, c.Failed = slices.Clone(c.Dumping), slices.Clone(c.Failed)
	c.Changed, c.Dump, c.Unconfirmed = same(c.Changed), same(c.Dump), same(c.Unconfirmed)
	return c
}

// configCommand carries out what changes the configuration or its state.
func (e *Engine) configCommand(c Command, res *CommandResult) ([]Notice, *refusal) {
	switch c.Kind {
	case CommandConfigWritable:
		return nil, e.makeWritable(c.User)
	case CommandConfigChange:
		return e.changeConfig(c, c.Edits, res)
	case CommandConfigDump:
		return e.dumpConfig(c)
	case CommandConfigApply:
		return e.applyConfig(c, res)
	case CommandConfigConfirm:
		return nil, e.confirmConfig(c)
	}
	g := e.mod.byGroup[c.Group]
	if g == nil {
		return nil, e.unknown(12130, "Group", c.Group, groupNames(e.mod))
	}
	if no := e.checkSystem(g, c.System); no != nil {
		return nil, no
	}
	return e.changeConfig(c, e.enableEdits(g, c), res)
}

// makeWritable is haconf -makerw (E80).
func (e *Engine) makeWritable(user string) *refusal {
	if e.st.Conf.Writable {
		return refuse(idWritable, "Cluster already writable.")
	}
	e.st.Conf.Writable = true
	e.decide("", decision.Order{Asked: decision.Asked{Words: "configuration", User: user}, Does: "writable: changes are taken until haconf -dump -makero; the copies on the disks are marked .stale",
		Then: "haconf -dump -makero"})
	e.soil()
	return nil
}

// soil lets every running system mark its disk's copy (E81).
func (e *Engine) soil() {
	if e.st.Conf.Stale {
		return
	}
	e.st.Conf.Stale = true
	for _, n := range e.running() {
		e.emit(MarkStale{System: n})
	}
}

// running returns the systems that carry out effects.
func (e *Engine) running() []SystemID {
	return slices.DeleteFunc(slices.Clone(e.systemNames()), func(n SystemID) bool { return !e.usable(n) })
}

// mayChange says whether the configuration may be changed now.
func (e *Engine) mayChange() *refusal {
	switch u := e.st.Conf.Unconfirmed; {
	case !e.st.Conf.Writable:
		return refuse(idNotWritable, "Cluster not writable: haconf -makerw first")
	case u != nil:
		return refuse(idUnconfirmed, "A configuration that %s applied waits to be confirmed: ha config confirm, or wait until it is reverted", orNobody(u.User))
	}
	return nil
}

// changeConfig carries out edits as one change, all or none (E82).
func (e *Engine) changeConfig(c Command, args [][]string, res *CommandResult) ([]Notice, *refusal) {
	if no := e.mayChange(); no != nil {
		return nil, no
	}
	edits, no := readEdits(args, res)
	if no != nil {
		return nil, no
	}
	edits = append(edits, e.joinClusterService(edits)...)
	changed, err := e.mod.cfg.Change(edits...)
	if err != nil {
		return nil, refusedEdit(err, len(edits), res)
	}
	for i, edit := range edits {
		if edit.Class == maincf.ClassCluster && edit.Attr == "UseFence" && len(edit.Words) == 1 {
			if no := e.fenceMismatch(edit.Words[0]); no != nil { // also the default, which leaves nothing in the text
				res.RefusedEdit = i + 1
				return nil, no
			}
		}
	}
	m := newModelFrom(changed.Config, e.mod, changed.Narrow)
	if no := e.breaks(m, forced(edits)); no != nil {
		return nil, no
	}
	for _, edit := range edits {
		e.st.Conf.Edits = append(e.st.Conf.Edits, edit.Args())
		res.Edits = append(res.Edits, edit.String())
	}
	e.adoptModel(m)
	e.changedConfig(c)
	e.fold()
	notices := make([]Notice, 0, len(changed.Notices))
	for _, n := range changed.Notices {
		notices = append(notices, Notice{Severity: n.Severity, ID: messageID(n.ID), Text: n.Text})
	}
	return notices, nil
}

func readEdits(args [][]string, res *CommandResult) ([]maincf.Edit, *refusal) {
	edits := make([]maincf.Edit, 0, len(args))
	for i, words := range args {
		edit, err := maincf.ParseArgs(words)
		if err != nil {
			res.RefusedEdit = i + 1
			no := refuse(idBadEdit, "%s", err)
			no.severity, no.code = "ERROR", CodeInvalidArgument
			return nil, no
		}
		edits = append(edits, edit)
	}
	return edits, nil
}

// forced are the resources that may be deleted while they are online.
func forced(edits []maincf.Edit) map[string]bool {
	out := map[string]bool{}
	for _, edit := range edits {
		if edit.Force {
			out[edit.Name] = true
		}
	}
	return out
}

// refusedEdit is the refusal of maincf in the engine's words.
func refusedEdit(err error, edits int, res *CommandResult) *refusal {
	said, ok := err.(*maincf.Refusal)
	if !ok {
		return refuse(idBadEdit, "%s", err)
	}
	if said.Edit < edits {
		res.RefusedEdit = said.Edit + 1
	}
	no := &refusal{code: CodeFailedPrecondition, severity: said.Severity, id: said.ID, text: said.Text}
	switch said.ID {
	case maincf.IDGroupUnknown, maincf.IDGroupUnknownLink, maincf.IDResourceUnknown, maincf.IDSystemUnknown, maincf.IDTypeUnknown, maincf.IDAttrUnknown:
		no.code = CodeNotFound
	case maincf.IDValue, maincf.IDName:
		no.code = CodeInvalidArgument
	}
	if _, rest, found := strings.Cut(said.Text, "did you mean "); found {
		if name, _, found := strings.Cut(rest, "?"); found {
			no.nearest = []string{name}
		}
	}
	return no
}

// changedConfig gives the change its number and tells everybody.
func (e *Engine) changedConfig(c Command) {
	e.st.Conf.Sequence++
	pos := e.st.Pos
	e.st.Conf.Changed = &pos
	e.log("NOTICE", idChanged, "", "", "Configuration %d: %s", e.st.Conf.Sequence, c.typed())
	e.soil()
}

// fold turns edits into text when there are many, on every system at once, so
// that a snapshot stays about as large as the configuration (E83).
func (e *Engine) fold() {
	size := 0
	for _, words := range e.st.Conf.Edits {
		for _, w := range words {
			size += len(w)
		}
	}
	if len(e.st.Conf.Edits) <= keptEdits && size <= keptEditBytes {
		return
	}
	e.load(e.Source().Files())
}

// load makes texts, and what temp attributes hold, the running configuration.
// The texts mean what runs.
func (e *Engine) load(files []File) {
	m, err := parse(e.st.Main, files)
	if err != nil {
		// Checked before; what is printed is read again.
		panic("engine: the running configuration cannot be read: " + err.Error())
	}
	kept := e.mod.cfg.TempEdits(m.cfg)
	e.st.Files, e.st.Conf.Edits = files, nil
	for _, edit := range kept {
		e.st.Conf.Edits = append(e.st.Conf.Edits, edit.Args())
	}
	if len(kept) > 0 {
		if m.cfg, err = m.cfg.Replay(kept...); err != nil {
			panic("engine: temp attributes cannot be set again: " + err.Error())
		}
		m = newModel(m.cfg)
	}
	e.adoptModel(m)
}

// Source is the running configuration as it is at one place of the order. It
// never changes and may be used by any goroutine.
type Source struct {
	// Main is the name of the main file.
	Main  string
	files []File
	cfg   *maincf.Config // nil: files are all there is
}

// Source returns the running configuration.
func (e *Engine) Source() Source {
	s := Source{Main: e.st.Main, files: slices.Clone(e.st.Files)}
	if len(e.st.Conf.Edits) > 0 {
		s.cfg = e.mod.cfg
	}
	return s
}

// Files returns its text, the main file first. A file in which nothing was
// changed is as it was loaded, with its comments.
func (s Source) Files() []File {
	if s.cfg == nil {
		return s.files
	}
	base, err := parse(s.Main, s.files)
	if err != nil {
		panic("engine: the configuration that was loaded cannot be read again: " + err.Error())
	}
	was := map[string]string{}
	for _, f := range s.files {
		was[f.Name] = f.Text
	}
	var out []File
	for _, f := range s.cfg.Dump() {
		text := f.Text
		if old, had := was[f.Name]; had && base.cfg.Print(f.Name) == f.Text {
			text = old
		}
		out = append(out, File{Name: f.Name, Text: text})
	}
	return out
}

// ConfigFiles returns the main file's name and the text of all files.
func (e *Engine) ConfigFiles() (string, []File) { return e.st.Main, e.Source().Files() }

// applyConfig makes the configuration what files say, as one change (E86).
func (e *Engine) applyConfig(c Command, res *CommandResult) ([]Notice, *refusal) {
	if no := e.mayChange(); no != nil {
		return nil, no
	}
	files, to, no := e.readFiles(c)
	if no != nil {
		return nil, no
	}
	edits, err := e.mod.cfg.Diff(to)
	if err != nil {
		return nil, refuse(idNoSuchFile, "The configuration cannot be reached from the running one: %s", err)
	}
	if len(edits) == 0 {
		res.Unchanged = true
		e.decide("", decision.Order{Asked: c.ordered(), Does: "nothing changed: the files say what is running"})
		return []Notice{{Severity: "NOTICE", ID: messageID(idChanged), Text: "The files say what is running: nothing changed"}}, nil
	}
	for _, edit := range edits[:min(len(edits), shownEdits)] {
		res.Edits = append(res.Edits, edit.String())
	}
	if no := e.breaks(newModel(to), nil); no != nil {
		return nil, no
	}
	old := unconfirmed{Files: e.st.Files, Edits: e.st.Conf.Edits, User: c.User, Until: e.st.Now + c.Confirm}
	e.load(files)
	e.changedConfig(c)
	if c.Confirm > 0 {
		e.st.Conf.Unconfirmed = &old
		e.decide("", decision.Order{Asked: c.ordered(), Does: fmt.Sprintf("in force; reverted in %s unless confirmed", c.Confirm), Then: "ha config confirm"})
	}
	return nil, nil
}

// readFiles checks the files of a command as a whole. A file that they
// include and do not hold is the running one.
func (e *Engine) readFiles(c Command) ([]File, *maincf.Config, *refusal) {
	if c.Main != e.st.Main {
		no := refuse(idNoSuchFile, "The main file is %s, not %s", e.st.Main, c.Main)
		no.code = CodeInvalidArgument
		return nil, nil, no
	}
	given := map[string]string{}
	for _, f := range c.Files {
		given[f.Name] = f.Text
	}
	var files []File
	var running map[string]string
	cfg, _, err := maincf.Load(c.Main, func(name string) ([]byte, error) {
		text, have := given[name]
		if !have {
			if running == nil {
				running = map[string]string{}
				for _, f := range e.Source().Files() {
					running[f.Name] = f.Text
				}
			}
			text, have = running[name]
		}
		if !have {
			return nil, fmt.Errorf("no such file among those that were given, nor in the running configuration")
		}
		files = append(files, File{Name: name, Text: text})
		return []byte(text), nil
	})
	if err != nil {
		said := strings.Split(err.Error(), "\n")
		no := refuse(idNoSuchFile, "%s", strings.Join(said[:min(len(said), 10)], "; "))
		no.severity, no.code = "ERROR", CodeInvalidArgument
		return nil, nil, no
	}
	return files, cfg, nil
}

// confirmConfig keeps what was applied (E87).
func (e *Engine) confirmConfig(c Command) *refusal {
	if e.st.Conf.Unconfirmed == nil {
		return refuse(idNothing, "Nothing waits to be confirmed")
	}
	e.st.Conf.Unconfirmed = nil
	e.decide("", decision.Order{Asked: c.ordered(), Does: "the configuration that was applied stays"})
	return nil
}

// revertDue goes back to the configuration before a change that nobody
// confirmed. Where the running state does not allow it, it is tried again.
func (e *Engine) revertDue() {
	u := e.st.Conf.Unconfirmed
	if u == nil {
		return
	}
	in := decision.Reversal{Left: max(u.Until, u.Again) - e.st.Now, Said: u.Why}
	if in.Decide().Do != decision.DoLook {
		return
	}
	in.Looked = true
	m, err := restoreModel(e.st.Main, u.Files, u.Edits)
	if err != nil {
		panic("engine: the former configuration cannot be read again: " + err.Error())
	}
	if no := e.breaks(m, nil); no != nil {
		in.Refused = no.text
	}
	o := in.Decide()
	if o.Do == decision.DoWait {
		u.Again = e.st.Now + revertAgain
		if u.Why != in.Refused {
			u.Why = in.Refused
			e.log("ERROR", idNotReverted, "", "", "The configuration that %s applied was not confirmed and cannot be reverted: %s", orNobody(u.User), in.Refused)
			e.told("", in, o)
		}
		return
	}
	e.st.Conf.Unconfirmed = nil
	e.st.Files, e.st.Conf.Edits = u.Files, u.Edits
	e.adoptModel(m)
	e.st.Conf.Sequence++
	pos := e.st.Pos
	e.st.Conf.Changed = &pos
	e.log("WARNING", idReverted, "", "", "Configuration %d: the one that %s applied was not confirmed and is reverted", e.st.Conf.Sequence, orNobody(u.User))
	e.told("", in, o)
	e.soil()
}

// configDeadline is when the engine has something to do for the
// configuration, or 0.
func (e *Engine) configDeadline() time.Duration {
	if u := e.st.Conf.Unconfirmed; u != nil {
		return max(u.Until, u.Again)
	}
	return 0
}

// restoreModel reads files and carries edits out.
func restoreModel(main string, files []File, args [][]string) (*model, error) {
	m, err := parse(main, files)
	if err != nil || len(args) == 0 {
		return m, err
	}
	var res CommandResult
	edits, no := readEdits(args, &res)
	if no != nil {
		return nil, fmt.Errorf("edit %d: %s", res.RefusedEdit, no.text)
	}
	cfg, err := m.cfg.Replay(edits...)
	if err != nil {
		return nil, err
	}
	return newModel(cfg), nil
}

// dumpConfig is haconf -dump (E90).
func (e *Engine) dumpConfig(c Command) ([]Notice, *refusal) {
	conf := &e.st.Conf
	switch u := conf.Unconfirmed; {
	case c.MakeReadOnly && !conf.Writable:
		return nil, refuse(idNotWritable, "Cluster not writable.")
	case u != nil:
		return nil, refuse(idUnconfirmed, "A configuration that %s applied waits to be confirmed: ha config confirm, or wait until it is reverted", orNobody(u.User))
	}
	if conf.Version == 0 || conf.Dumped != conf.Sequence {
		conf.Version++
	}
	conf.Dump = &dump{At: e.st.Pos, User: c.User, Request: c.RequestID}
	conf.Dumped, conf.Stale, conf.Failed = conf.Sequence, false, nil
	if c.MakeReadOnly {
		conf.Writable = false
	}
	conf.Dumping = e.running()
	for _, n := range conf.Dumping {
		e.emit(e.dumpOf(n))
	}
	return nil, nil
}

func (e *Engine) dumpOf(n SystemID) DumpConfig {
	conf := &e.st.Conf
	d := DumpConfig{System: n, Version: conf.Version, Sequence: conf.Dumped}
	if conf.Dump != nil {
		d.At, d.User, d.Request = conf.Dump.At, conf.Dump.User, conf.Dump.Request
	}
	return d
}

// dumped: a system has written a dump, or could not (E91).
func (e *Engine) dumped(from SystemID, ev ConfigDumped) {
	conf := &e.st.Conf
	at := slices.Index(conf.Dumping, ev.System)
	if ev.System != from || at < 0 || ev.Version != conf.Version || conf.Dump == nil || ev.At != conf.Dump.At {
		return
	}
	e.endDump(at)
	if ev.Problem == "" {
		return
	}
	conf.Failed = append(conf.Failed, DumpProblem{System: ev.System, Why: ev.Problem})
	slices.SortFunc(conf.Failed, func(a, b DumpProblem) int { return strings.Compare(a.System, b.System) })
	e.log("ERROR", idNotDumped, ev.System, "", "The configuration is not written on %s: %s; its disk holds what it held before", ev.System, ev.Problem)
}

func (e *Engine) endDump(at int) {
	conf := &e.st.Conf
	conf.Dumping = slices.Delete(slices.Clone(conf.Dumping), at, at+1)
	if len(conf.Dumping) == 0 {
		conf.Dumping = nil
	}
}

// dumpLeft takes a system that is gone out of the dump.
func (e *Engine) dumpLeft(n SystemID) {
	if at := slices.Index(e.st.Conf.Dumping, n); at >= 0 {
		e.endDump(at)
	}
}

// enableEdits are hagrp -enable, -disable and their like, as edits (E89).
func (e *Engine) enableEdits(g *groupModel, c Command) [][]string {
	value := pick(c.Kind == CommandGroupEnable || c.Kind == CommandGroupEnableResources, "1", "0")
	declared := e.mod.cfg.Group(g.name)
	if c.Kind == CommandGroupEnable || c.Kind == CommandGroupDisable {
		local := declared.Attrs.IsLocal("Enabled")
		switch {
		case c.System == "" && local:
			return [][]string{{"hagrp", "-global", g.name, "Enabled", value}}
		case c.System == "":
			return [][]string{{"hagrp", "-modify", g.name, "Enabled", value}}
		}
		set := []string{"hagrp", "-modify", g.name, "Enabled", value, "-sys", c.System}
		if local {
			return [][]string{set}
		}
		return [][]string{{"hagrp", "-local", g.name, "Enabled"}, set}
	}
	var out [][]string
	for _, r := range declared.Resources {
		if r.Attrs.IsLocal("Enabled") {
			out = append(out, []string{"hares", "-global", r.Name, "Enabled", value})
		} else {
			out = append(out, []string{"hares", "-modify", r.Name, "Enabled", value})
		}
	}
	return out
}

// persistentFreeze is hagrp and hasys -freeze and -unfreeze -persistent: an
// edit of Frozen (E88).
func (e *Engine) persistentFreeze(c Command, res *CommandResult) ([]Notice, *refusal) {
	switch c.Kind {
	case CommandGroupFreeze, CommandGroupUnfreeze:
		return e.freezeGroupForGood(c, res)
	case CommandSystemFreeze, CommandSystemUnfreeze:
		return e.freezeSystemForGood(c, res)
	}
	no := refuse(idBadEdit, "-persistent is for freezing and unfreezing")
	no.code = CodeInvalidArgument
	return nil, no
}

func (e *Engine) freezeGroupForGood(c Command, res *CommandResult) ([]Notice, *refusal) {
	g := e.mod.byGroup[c.Group]
	on := c.Kind == CommandGroupFreeze
	switch {
	case g == nil:
		return nil, e.unknown(12130, "Group", c.Group, groupNames(e.mod))
	case on && g.frozen:
		return nil, refuse(40209, "Group %s is frozen persistently already", g.name)
	case on && e.st.Groups[g.name].TFrozen:
		return nil, refuse(40208, "Group %s is frozen temporarily already; hagrp -unfreeze %s first", g.name, g.name)
	case !on && !g.frozen:
		return nil, refuse(40202, "Group %s is not frozen persistently%s", g.name, pick(e.st.Groups[g.name].TFrozen, ", but temporarily: hagrp -unfreeze "+g.name, ""))
	}
	notices, no := e.changeConfig(c, [][]string{{"hagrp", "-modify", g.name, "Frozen", pick(on, "1", "0")}}, res)
	if no == nil {
		e.decide(c.Group, decision.Freezing{Asked: c.ordered(), Group: c.Group, On: on, Persistent: true})
	}
	return notices, no
}

func (e *Engine) freezeSystemForGood(c Command, res *CommandResult) ([]Notice, *refusal) {
	n, on := c.System, c.Kind == CommandSystemFreeze
	if !slices.Contains(e.mod.systems, n) {
		return nil, e.unknown(10357, "System", n, e.mod.systems)
	}
	s := e.st.Systems[n]
	switch {
	case s.State == SystemRemoteBuild:
		return nil, refuse(50129, "Operation refused: system %s is in REMOTE_BUILD; wait until it is RUNNING", n)
	case on && e.mod.frozenSystem(n):
		return nil, refuse(40206, "System %s is frozen persistently already", n)
	case on && (s.TFrozen || s.Draining):
		return nil, refuse(40207, "System %s is frozen temporarily already; hasys -unfreeze %s first", n, n)
	case !on && s.DrainedBy != nil:
		s.Draining, s.DrainedBy = false, nil
		e.decide("", decision.Freezing{Asked: c.ordered(), System: n, GivenUp: true})
		e.touchAll()
		return nil, nil
	case !on && !e.mod.frozenSystem(n):
		return nil, refuse(40205, "System %s is not frozen persistently%s", n, pick(s.TFrozen || s.Draining, ", but temporarily: hasys -unfreeze "+n, ""))
	}
	if on && c.Evacuate {
		if no := e.mayChange(); no != nil {
			return nil, no
		}
		s.Draining, s.DrainedBy, s.FrozenBy = true, &c.User, c.User
		e.evacuate(n)
		e.decide("", decision.Freezing{Asked: c.ordered(), System: n, On: true, Persistent: true, Evacuate: true})
		e.touchAll()
		return nil, nil
	}
	notices, no := e.changeConfig(c, frozenEdit(n, on), res)
	if no == nil {
		e.decide("", decision.Freezing{Asked: c.ordered(), System: n, On: on, Persistent: true})
	}
	return notices, no
}

func frozenEdit(n SystemID, on bool) [][]string {
	return [][]string{{"hasys", "-modify", n, "Frozen", pick(on, "1", "0")}}
}

// drainedForGood freezes a system persistently that an evacuation has
// emptied. It says why that is not possible: then it is frozen temporarily.
func (e *Engine) drainedForGood(n SystemID) string {
	s := e.st.Systems[n]
	c := Command{User: *s.DrainedBy, Kind: CommandConfigChange, Edits: frozenEdit(n, true)}
	s.Draining, s.DrainedBy = false, nil
	if _, no := e.changeConfig(c, c.Edits, &CommandResult{}); no != nil {
		return no.text
	}
	return ""
}

// Dumping says whether a system owes a dump.
func (e *Engine) Dumping() bool { return len(e.st.Conf.Dumping) > 0 }
