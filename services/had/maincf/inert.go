package maincf

import (
	"slices"
	"strings"
)

// inert are the attributes that are read, checked, kept and shown, but change
// nothing: what they ask for is done otherwise here, or not at all. What is
// there for people to read (owners, locations, tags, User*) is not among them.
var inert = map[class][]string{
	classCluster: {"AutoStartTimeout", "ClusterRecipients", "CompareRSM", "CounterInterval", "CounterMissAction",
		"CounterMissTolerance", "CredRenewFrequency", "EnableFFDC", "EnablePBF", "EnableVMAutoDiscovery", "EngineClass",
		"EnginePriority", "HaCliUserLevel", "HacliUserLevel", "HostAvailableMeters", "HostMeters", "LockMemory",
		"LogClusterUUID", "MeterUnit", "OpenExternalCommunicationPort", "PanicOnNoMem", "PreferredFencingPolicy", "PrintMsg",
		"ProcessClass", "ProcessPriority", "SecInfo", "SecInfoLevel", "SecureClus", "SiteAware", "Stewards", "WACPort"},
	classSystem: {"ConfigFile", "CPUBinding", "CPUUsageMonitoring", "FencingWeight", "GUIIPAddr", "SystemRecipients"},
	classGroup: {"Authority", "ClusterFailOverPolicy", "ClusterList", "ContainerInfo", "GroupRecipients", "ProPCV",
		"SysDownPolicy", "TypeDependencies"},
	classResource: {"ResourceRecipients"},
	classStatic: {"AdvDbg", "AEPTimeout", "AgentClass", "AgentPriority", "ContainerOpts", "EPClass", "EPPriority", "FireDrill",
		"IMF", "IMFRegList", "LogDbg", "LogViaHalog", "MigrateTimeout", "MigrateWaitLimit", "OnlineClass", "OnlinePriority",
		"RegList", "ScriptClass", "ScriptPriority", "SupportedOperations", "TypeRecipients"},
}

// isInert says whether a value of a built-in attribute changes nothing, but
// would if it were obeyed: that of the default needs no word.
func isInert(c class, attr string, v Value) bool {
	b, builtIn := table(c).find(attr)
	return builtIn && slices.Contains(inert[c], attr) && !v.Equal(b.Default)
}

// inertNotice tells who sets an attribute that it changes nothing.
func (d *draft) inertNotice(c class, attr string, v Value) {
	if isInert(c, attr, v) {
		d.notice(IDInert, attr+" is kept and shown, but changes nothing here")
	}
}

// checkInert warns, once for all of them, of the attributes that change
// nothing.
func (b *builder) checkInert() {
	var first Pos
	var names []string
	look := func(word string, c class, attr string, v Value, pos Pos) {
		name := word + " " + attr
		if !isInert(c, attr, v) || slices.Contains(names, name) {
			return
		}
		if len(names) == 0 {
			first = pos
		}
		names = append(names, name)
	}
	of := func(word string, c class, attrs Attrs) {
		for _, a := range attrs {
			if a.Static {
				look("type", classStatic, a.Name, a.Value, a.Pos)
			} else {
				look(word, c, a.Name, a.Value, a.Pos)
			}
		}
	}
	if b.cfg.Cluster != nil {
		of("cluster", classCluster, b.cfg.Cluster.Attrs)
	}
	for _, s := range b.cfg.Systems {
		of("system", classSystem, s.Attrs)
	}
	for _, g := range b.cfg.Groups {
		of("group", classGroup, g.Attrs)
		for _, r := range g.Resources {
			of("resource", classResource, r.Attrs)
		}
	}
	for _, t := range b.cfg.Types {
		for _, a := range t.Attrs {
			if a.Static && a.HasDefault {
				look("type", classStatic, a.Name, a.Default, t.Pos)
			}
		}
	}
	if len(names) > 0 {
		b.warnf(first, "these attributes are kept and shown, but change nothing here: %s", strings.Join(names, ", "))
	}
}
