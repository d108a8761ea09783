package doctor

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/evenkeel/evenkeel/services/had/maincf"
)

func configUnconfirmed(f *Facts) []Finding {
	u := f.State.GetUnconfirmed()
	if u == nil {
		return nil
	}
	return []Finding{{Severity: isWarning, What: fmt.Sprintf("a change of the configuration is taken back in %v unless it is confirmed%s", time.Duration(u.GetLeftMs())*time.Millisecond, because(u.GetHindrance())),
		Why: "it was applied with --confirm", Command: "ha config confirm"}}
}

func configUnsaved(f *Facts) []Finding {
	if !f.State.GetUndumped() {
		return nil
	}
	return []Finding{{Severity: isWarning, What: "the running configuration has changes that no disk holds",
		Why: "they are gone when the whole cluster stops", Command: "ha config dump --read-only"}}
}

func configWritable(f *Facts) []Finding {
	if !f.State.GetWritable() || f.State.GetUndumped() {
		return nil
	}
	return []Finding{{Severity: isWarning, What: "the configuration is writable, and nothing was changed since the last dump",
		Why: "somebody forgot to close it; disk copies count as stale meanwhile", Command: "ha config dump --read-only"}}
}

func configDisk(f *Facts) (found []Finding) {
	mistakes := f.Status.GetConfigErrors()
	for _, text := range f.DiskMistakes {
		if !slices.Contains(mistakes, text) {
			mistakes = append(slices.Clone(mistakes), text)
		}
	}
	for _, text := range mistakes {
		found = append(found, Finding{Severity: isError, What: "the configuration on this system's disk: " + text,
			Why: "this system cannot build the cluster from it", Command: "ha config dump, if another system runs; else correct it: ha config verify /etc/evenkeel"})
	}
	return found
}

func configDiffers(f *Facts) []Finding {
	if f.Running == nil || f.Disk == nil || f.State.GetUndumped() || len(f.State.GetDumpingSystems()) > 0 {
		return nil
	}
	edits, err := f.Running.Diff(f.Disk)
	if err != nil || len(edits) == 0 {
		return nil
	}
	return []Finding{{Severity: isWarning, What: fmt.Sprintf("main.cf on this system's disk differs from what runs in %d places, first: %s", len(edits), edits[0]),
		Why:     "somebody edited the file while the cluster runs; the next dump overwrites it",
		Command: "ha config apply /etc/evenkeel/main.cf --plan; to take what runs instead: ha config dump"}}
}

func dumpFailed(f *Facts) (found []Finding) {
	for _, d := range f.State.GetDumpFailures() {
		found = append(found, Finding{Severity: isError, What: fmt.Sprintf("system %s could not write the configuration: %s", d.GetSystem(), d.GetWhy()),
			Why: "its disk holds an older one", Command: "repair that, then: ha config dump"})
	}
	return found
}

func groupAlone(f *Facts) (found []Finding) {
	if f.Running == nil {
		return nil
	}
	for _, g := range f.Running.Groups {
		if v, _ := f.Running.GroupAttr(g, "Parallel", ""); v.Int() != 0 {
			continue
		}
		if list, _ := f.Running.GroupAttr(g, "SystemList", ""); len(list.Pairs) < 2 && len(f.Running.Systems) > 1 {
			found = append(found, Finding{Severity: isWarning, What: fmt.Sprintf("group %s may run on %d of %d systems", g.Name, len(list.Pairs), len(f.Running.Systems)),
				Why: "if that system fails, nothing takes the group over", Command: fmt.Sprintf("ha group modify %s SystemList --add SYSTEM 1", g.Name)})
		}
	}
	return found
}

func autoStartList(f *Facts) (found []Finding) {
	if f.Running == nil {
		return nil
	}
	for _, g := range f.Running.Groups {
		list, _ := f.Running.GroupAttr(g, "SystemList", "")
		start, _ := f.Running.GroupAttr(g, "AutoStartList", "")
		for _, n := range start.List {
			if !slices.ContainsFunc(list.Pairs, func(p maincf.Pair) bool { return p.Key == n }) {
				found = append(found, Finding{Severity: isWarning, What: fmt.Sprintf("AutoStartList of group %s names %s, which is not in its SystemList", g.Name, n),
					Why: "the group never starts there", Command: fmt.Sprintf("ha group modify %s AutoStartList --delete %s", g.Name, n)})
			}
		}
	}
	return found
}

// here calls back for each resource that may run on this system.
func here(f *Facts, look func(g *maincf.Group, r *maincf.Resource)) {
	if f.Running == nil {
		return
	}
	for _, g := range f.Running.Groups {
		if !g.RunsOn(f.Self) {
			continue
		}
		for _, r := range g.Resources {
			look(g, r)
		}
	}
}

func deviceMissing(f *Facts) (found []Finding) {
	if f.Devices == nil {
		return nil
	}
	here(f, func(g *maincf.Group, r *maincf.Resource) {
		if r.Type != "IP" && r.Type != "NIC" {
			return
		}
		if v, _ := f.Running.ResourceAttr(r, "Device", f.Self); v.Text != "" && !f.Devices[v.Text] {
			found = append(found, Finding{Severity: isError, What: fmt.Sprintf("resource %s of group %s wants network device %s, which this system does not have", r.Name, g.Name, v.Text),
				Why: "the group does not come online here", Command: fmt.Sprintf("ip link; then ha resource local %s Device && ha resource modify %s Device NAME --system %s", r.Name, r.Name, f.Self)})
		}
	})
	return found
}

func triggerMissing(f *Facts) (found []Finding) {
	if f.Running == nil || f.Triggers == nil {
		return nil
	}
	for _, g := range f.Running.Groups {
		if !g.RunsOn(f.Self) {
			continue
		}
		if path, _ := f.Running.GroupAttr(g, "TriggerPath", ""); path.Text != "" {
			continue // another folder than the one that was looked at
		}
		enabled, _ := f.Running.GroupAttr(g, "TriggersEnabled", f.Self)
		names := slices.Clone(enabled.List)
		if pre, _ := f.Running.GroupAttr(g, "PreOnline", f.Self); pre.Bool() && !slices.Contains(names, "PREONLINE") {
			names = append(names, "PREONLINE")
		}
		for _, name := range names {
			if name = strings.ToLower(name); !f.Triggers[name] {
				found = append(found, Finding{Severity: isWarning, What: fmt.Sprintf("group %s enables the trigger %s, and %s/%s is no program on this system", g.Name, name, f.TriggersDir, name),
					Why: "what it should do is not done", Command: fmt.Sprintf("put the program there (chmod 755), or: ha group modify %s TriggersEnabled --delete %s", g.Name, strings.ToUpper(name))})
			}
		}
	}
	return found
}
