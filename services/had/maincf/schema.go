package maincf

import "sort"

// class is a kind of object that has built-in attributes.
type class uint8

const (
	classCluster class = iota
	classSystem
	classGroup
	classResource
	classStatic
	classHeartbeat
	classRemote
)

// builtin is an attribute that the engine knows without a declaration.
type builtin struct {
	AttrDecl
	// engine: kept by the engine, never set in a file.
	engine bool
	// stray: kept by the engine, but seen in files that VCS wrote; ignored
	// with a warning.
	stray bool
	// local: a group attribute that may differ from system to system.
	local bool
	// override: a static attribute that a resource may override.
	override bool
	// assocToo: releases differ; scalar and association are both accepted.
	assocToo bool
	// enum: the only texts allowed, if not empty.
	enum []string
	// min, max: the range of an integer, if bounded.
	min, max int
	bounded  bool
	// orNone: 0 is allowed, too, and means never or none.
	orNone bool
}

func scalar(name string, k Kind, def string) builtin {
	return builtin{AttrDecl: AttrDecl{Name: name, Kind: k, Default: Value{Kind: k, Text: def}}}
}

func str(name, def string) builtin { return scalar(name, KindStr, def) }
func boolean(name, def string) builtin {
	return scalar(name, KindBool, def)
}

func integer(name string, def int) builtin {
	b := builtin{AttrDecl: AttrDecl{Name: name, Kind: KindInt, Default: IntValue(def)}}
	return b.between(0, 1<<31-1)
}

func multi(name string, k Kind, d Dim) builtin {
	return builtin{AttrDecl: AttrDecl{Name: name, Kind: k, Dim: d, Default: ZeroValue(k, d)}}
}

func keylist(name string) builtin { return multi(name, KindStr, DimKeylist) }
func vector(name string) builtin  { return multi(name, KindStr, DimVector) }

func assoc(name string, k Kind, def ...string) builtin {
	b := multi(name, k, DimAssoc)
	for i := 0; i+1 < len(def); i += 2 {
		b.Default.Pairs = append(b.Default.Pairs, Pair{def[i], def[i+1]})
	}
	return b
}

func (b builtin) between(lo, hi int) builtin {
	b.min, b.max, b.bounded = lo, hi, true
	return b
}

func (b builtin) orZero() builtin { b.orNone = true; return b }

func (b builtin) anyInt() builtin { b.bounded = false; return b }

func (b builtin) oneOf(words ...string) builtin { b.enum = words; return b }
func (b builtin) perSystem() builtin            { b.local = true; return b }
func (b builtin) over() builtin                 { b.override = true; return b }
func (b builtin) orAssoc() builtin              { b.assocToo = true; return b }
func (b builtin) ignored() builtin              { b.stray = true; return b }

func engineOnly(bs ...builtin) []builtin {
	for i := range bs {
		bs[i].engine = true
	}
	return bs
}

// seconds is a time limit: at least one second.
func seconds(name string, def int) builtin { return integer(name, def).between(1, 1<<31-1) }

// builtins is the table of one class with an index; it never changes.
type builtins struct {
	list  []builtin
	index map[string]int
}

func newBuiltins(parts ...[]builtin) builtins {
	t := builtins{index: map[string]int{}}
	for _, p := range parts {
		t.list = append(t.list, p...)
	}
	sort.Slice(t.list, func(i, j int) bool { return t.list[i].Name < t.list[j].Name })
	for i, b := range t.list {
		t.index[b.Name] = i
	}
	return t
}

func (t builtins) find(name string) (builtin, bool) {
	i, ok := t.index[name]
	if !ok {
		return builtin{}, false
	}
	return t.list[i], true
}

// settable are the names a file may set, sorted.
func (t builtins) settable() []string {
	var out []string
	for _, b := range t.list {
		if !b.engine {
			out = append(out, b.Name)
		}
	}
	return out
}

func table(c class) builtins {
	switch c {
	case classCluster:
		return clusterTable
	case classSystem:
		return systemTable
	case classGroup:
		return groupTable
	case classResource:
		return resourceTable
	case classStatic:
		return staticTable
	case classHeartbeat:
		return heartbeatTable
	default:
		return remoteTable
	}
}

// The tables follow the attribute appendices of the Cluster Server
// Administrator's Guide. Defaults are VCS's unless a comment says otherwise.

var resourceTable = newBuiltins([]builtin{
	boolean("AutoStart", "1"),
	boolean("ComputeStats", "0"),
	boolean("Critical", "1"),
	boolean("Enabled", "1"),
	str("ResourceOwner", ""),
	assoc("ResourceRecipients", KindStr),
	boolean("TriggerEvent", "0"),
	str("TriggerPath", ""),
	boolean("TriggerResRestart", "0"),
	boolean("TriggerResStateChange", "0"),
	keylist("TriggersEnabled"),
}, engineOnly(
	vector("ArgListValues"),
	integer("ConfidenceLevel", 0),
	integer("Flags", 0),
	str("Group", ""),
	integer("IState", 0),
	str("LastOnline", ""),
	str("MonitorMethod", "Traditional"),
	boolean("MonitorOnly", "0"),
	assoc("MonitorTimeStats", KindStr, "Avg", "0", "TS", ""),
	str("Name", ""),
	boolean("Path", "0"),
	boolean("Probed", "0"),
	assoc("ResourceInfo", KindStr, "State", "Stale", "Msg", "", "TS", ""),
	assoc("Signaled", KindInt),
	integer("Start", 0),
	integer("State", 0),
))

var staticTable = newBuiltins([]builtin{
	seconds("ActionTimeout", 30),
	keylist("AdvDbg"),
	boolean("AEPTimeout", "0"),
	str("AgentClass", "TS"),
	str("AgentDirectory", ""),
	str("AgentFile", ""),
	str("AgentPriority", "0"),
	seconds("AgentReplyTimeout", 130),
	seconds("AgentStartTimeout", 60),
	integer("AlertOnMonitorTimeouts", 0).over(),
	vector("ArgList"),
	seconds("AttrChangedTimeout", 60).over(),
	integer("CleanRetryLimit", 0).over(),
	seconds("CleanTimeout", 60).over(),
	seconds("CloseTimeout", 60).over(),
	integer("ConfInterval", 600).over(),
	assoc("ContainerOpts", KindInt),
	str("EPClass", "-1"),
	str("EPPriority", "-1"),
	keylist("ExternalStateChange"),
	integer("FaultOnMonitorTimeouts", 4).over(),
	boolean("FaultPropagation", "1"),
	boolean("FireDrill", "0"),
	assoc("IMF", KindInt, "Mode", "3", "MonitorFreq", "1", "RegisterRetryLimit", "3").over(),
	vector("IMFRegList"),
	integer("InfoInterval", 0).over(),
	seconds("InfoTimeout", 30).over(),
	integer("IntentionalOffline", 0).over(),
	integer("LevelTwoMonitorFreq", 0).over(),
	keylist("LogDbg"),
	integer("LogFileSize", 33554432).between(65536, 134217728),
	boolean("LogViaHalog", "0"),
	seconds("MigrateTimeout", 600),
	integer("MigrateWaitLimit", 2),
	seconds("MonitorInterval", 60).over(),
	assoc("MonitorStatsParam", KindInt, "Frequency", "0", "ExpectedValue", "100",
		"ValueThreshold", "100", "AvgThreshold", "40"),
	seconds("MonitorTimeout", 60).over(),
	integer("NumThreads", 10).between(1, 30),
	integer("OfflineMonitorInterval", 300).over(),
	seconds("OfflineTimeout", 300).over(),
	integer("OfflineWaitLimit", 0).over(),
	str("OnlineClass", "-1"),
	str("OnlinePriority", "-1"),
	integer("OnlineRetryLimit", 0).over(),
	seconds("OnlineTimeout", 300).over(),
	integer("OnlineWaitLimit", 2).over(),
	seconds("OpenTimeout", 60).over(),
	str("Operations", "OnOff").oneOf("OnOff", "OnOnly", "None"),
	keylist("RegList"),
	integer("RestartLimit", 0).over(),
	str("ScriptClass", "TS"),
	str("ScriptPriority", "0"),
	keylist("SupportedActions"),
	keylist("SupportedOperations"),
	integer("ToleranceLimit", 0).over(),
	str("TypeOwner", ""),
	assoc("TypeRecipients", KindStr),
}, engineOnly(
	keylist("AgentFailedOn"),
	str("SourceFile", "./types.cf"),
))

var groupTable = newBuiltins([]builtin{
	// Ours: seconds for which a cut-off system's addresses and processes may
	// live on beside this group's (R1).
	integer("AcceptOverlap", 0),
	keylist("AdministratorGroups"),
	keylist("Administrators"),
	integer("Authority", 0),
	integer("AutoClearInterval", 0),
	integer("AutoClearLimit", 0),
	integer("AutoFailOver", 1).between(0, 2),
	integer("AutoRestart", 1).between(0, 2),
	boolean("AutoStart", "1"),
	boolean("AutoStartIfPartial", "1"),
	keylist("AutoStartList"),
	str("AutoStartPolicy", "Order").oneOf("Order", "Priority", "Load"),
	str("ClusterFailOverPolicy", "Manual").oneOf("Manual", "Auto", "Connected"),
	assoc("ClusterList", KindInt),
	assoc("ContainerInfo", KindStr).perSystem(),
	boolean("DisableFaultMessages", "0"),
	boolean("Enabled", "1").perSystem(),
	boolean("Evacuate", "1"),
	str("FailOverPolicy", "Priority").oneOf("Priority", "RoundRobin", "Load", "BiggestAvailable"),
	boolean("FaultPropagation", "1"),
	// Frozen is the engine's, but a persistent freeze is kept in main.cf.
	boolean("Frozen", "0"),
	str("GroupOwner", ""),
	assoc("GroupRecipients", KindStr),
	keylist("Guests"),
	integer("Load", 0).orAssoc(),
	str("ManageFaults", "ALL").oneOf("ALL", "NONE"),
	boolean("ManualOps", "1"),
	assoc("MeterWeight", KindInt),
	boolean("OnlineClearParent", "0"),
	integer("OnlineRetryInterval", 0),
	integer("OnlineRetryLimit", 0),
	keylist("OperatorGroups"),
	keylist("Operators"),
	integer("Parallel", 0).between(0, 2),
	boolean("PreOnline", "0").perSystem(),
	integer("PreOnlineTimeout", 300),
	boolean("PreSwitch", "0"),
	assoc("Prerequisites", KindInt),
	boolean("PrintTree", "1"),
	integer("Priority", 0).between(0, 4),
	boolean("ProPCV", "0"),
	keylist("SysDownPolicy"),
	assoc("SystemList", KindInt),
	assoc("SystemZones", KindInt),
	str("Tag", ""),
	boolean("TriggerEvent", "1"),
	str("TriggerPath", ""),
	boolean("TriggerResFault", "1"),
	boolean("TriggerResRestart", "0"),
	boolean("TriggerResStateChange", "0"),
	keylist("TriggersEnabled").perSystem(),
	keylist("TypeDependencies"),
	assoc("UserAssoc", KindStr),
	integer("UserIntGlobal", 0).anyInt(),
	integer("UserIntLocal", 0).anyInt().perSystem(),
	str("UserStrGlobal", ""),
	str("UserStrLocal", "").perSystem(),
}, engineOnly(
	integer("ActiveCount", 0),
	integer("AutoClearCount", 0),
	boolean("AutoDisabled", "0"),
	boolean("CapacityReserved", "0"),
	integer("CurrentCount", 0),
	boolean("DeferAutoStart", "0"),
	integer("Evacuating", 0),
	integer("Failover", 0),
	str("FromQ", ""),
	integer("IntentOnline", 0),
	keylist("IntentionalOnlineList"),
	str("LastSuccess", ""),
	str("MigrateQ", ""),
	integer("NumRetries", 0),
	boolean("OnlineAtUnfreeze", "0"),
	boolean("PCVAllowOnline", "1"),
	integer("PathCount", 0),
	str("PolicyIntention", ""),
	boolean("PreOnlining", "0"),
	boolean("PreSwitching", "0"),
	boolean("Probed", "0"),
	integer("ProbesPending", 0),
	str("Responding", ""),
	integer("Restart", 0),
	str("SourceFile", "./main.cf").ignored(),
	integer("State", 0),
	integer("TargetCount", 0),
	boolean("TFrozen", "0").ignored(),
	str("ToQ", ""),
	integer("UnSteadyCount", 0),
	assoc("VCSi3Info", KindStr).ignored(),
))

var systemTable = newBuiltins([]builtin{
	integer("Capacity", 100).orAssoc(),
	str("ConfigFile", ""),
	assoc("CPUBinding", KindStr, "BindTo", "NONE", "CPUNumber", "0"),
	assoc("CPUThresholdLevel", KindInt, "Critical", "90", "Warning", "80", "Note", "70", "Info", "60"),
	assoc("CPUUsageMonitoring", KindStr, "Enabled", "0", "ActionThreshold", "0", "ActionTimeLimit", "0",
		"Action", "NONE", "NotifyThreshold", "0", "NotifyTimeLimit", "0"),
	integer("FencingWeight", 0),
	// Frozen is the engine's, but a persistent freeze is kept in main.cf.
	boolean("Frozen", "0"),
	str("GUIIPAddr", ""),
	assoc("Limits", KindInt),
	integer("LoadTimeThreshold", 600),
	integer("LoadWarningLevel", 80).between(0, 100),
	assoc("MemThresholdLevel", KindInt, "Critical", "90", "Warning", "80", "Note", "70", "Info", "60"),
	str("PhysicalServer", ""),
	integer("ShutdownTimeout", 300),
	assoc("SwapThresholdLevel", KindInt, "Critical", "90", "Warning", "80", "Note", "70", "Info", "60"),
	str("SystemLocation", ""),
	str("SystemOwner", ""),
	assoc("SystemRecipients", KindStr),
	integer("UserInt", 0).anyInt(),
}, engineOnly(
	integer("AgentsStopped", 0),
	integer("AvailableCapacity", 0),
	integer("ConfigBlockCount", 0),
	integer("ConfigCheckSum", 0),
	integer("ConfigDiskState", 0),
	integer("ConfigInfoCnt", 0),
	integer("ConfigModDate", 0),
	integer("CPUUsage", 0),
	assoc("CurrentLimits", KindInt),
	assoc("DiskHbStatus", KindStr),
	integer("DynamicLoad", 0),
	boolean("EngineRestarted", "0"),
	integer("EngineVersion", 0),
	assoc("HostAvailableForecast", KindStr),
	assoc("HostMonitor", KindStr),
	assoc("HostUtilization", KindStr),
	integer("LicenseType", 0),
	assoc("LinkHbStatus", KindStr),
	integer("LLTNodeId", 0).ignored(),
	integer("LoadTimeCounter", 0),
	assoc("MeterRecord", KindStr),
	boolean("NoAutoDisable", "0"),
	integer("NodeId", 0).ignored(),
	integer("OnGrpCnt", 0),
	assoc("ReservedCapacity", KindStr),
	str("SourceFile", "./main.cf").ignored(),
	str("SysInfo", ""),
	str("SysName", "").ignored(),
	integer("SysState", 0),
	boolean("TFrozen", "0").ignored(),
	integer("TRSE", 0),
	integer("UpDownState", 0),
	integer("VCSFeatures", 0),
	integer("VCSMode", 0).ignored(),
))

var clusterTable = newBuiltins([]builtin{
	keylist("AdministratorGroups"),
	keylist("Administrators"),
	boolean("AutoAddSystemtoCSG", "1"),
	integer("AutoStartTimeout", 150),
	integer("BackupInterval", 0).between(3, 1<<31-1).orZero(),
	str("ClusterAddress", ""),
	str("ClusterLocation", ""),
	str("ClusterOwner", ""),
	assoc("ClusterRecipients", KindStr),
	integer("CompareRSM", 0),
	integer("CounterInterval", 5),
	str("CounterMissAction", "LogOnly").oneOf("LogOnly", "Trigger"),
	integer("CounterMissTolerance", 20),
	integer("CredRenewFrequency", 0),
	boolean("DeleteOnlineResource", "0"), // VCS: 1
	boolean("EnableFFDC", "1"),
	boolean("EnablePBF", "0"),
	boolean("EnableVMAutoDiscovery", "0"),
	str("EngineClass", "RT"),
	str("EnginePriority", ""),
	str("EngineShutdown", "Enable").oneOf("Enable", "Disable", "DisableClusStop", "PromptClusStop",
		"PromptLocal", "PromptAlways"),
	// The limits on numbers of objects default to 0: none.
	integer("GroupLimit", 0),
	keylist("Guests"),
	// Both spellings occur in files that VCS wrote.
	str("HaCliUserLevel", "NONE").oneOf("NONE", "COMMANDROOT"),
	str("HacliUserLevel", "NONE").oneOf("NONE", "COMMANDROOT"),
	keylist("HostAvailableMeters"),
	keylist("HostMeters"),
	str("LockMemory", "ALL").oneOf("ALL", "CURRENT", "NONE"),
	boolean("LogClusterUUID", "0"),
	integer("LogSize", 33554432),
	assoc("MeterControl", KindInt),
	assoc("MeterUnit", KindStr),
	assoc("MeterWeight", KindInt),
	str("OpenExternalCommunicationPort", "YES").oneOf("YES", "NO"),
	keylist("OperatorGroups"),
	keylist("Operators"),
	boolean("PanicOnNoMem", "0"),
	str("PreferredFencingPolicy", "Disabled").oneOf("Disabled", "System", "Group", "Site"),
	boolean("PrintMsg", "0"),
	str("ProcessClass", "TS"),
	str("ProcessPriority", ""),
	integer("ResourceLimit", 0),
	str("SecInfo", ""),
	str("SecInfoLevel", "R"),
	boolean("SecureClus", "0"),
	integer("SiteAware", 0),
	str("Statistics", "Enabled").oneOf("Enabled", "MeteringOnly", "Disabled"),
	assoc("Stewards", KindStr),
	str("SystemRebootAction", ""),
	integer("TypeLimit", 0),
	str("UseFence", "NONE").oneOf("NONE", "SCSI3"),
	assoc("UserNames", KindStr),
	integer("WACPort", 14155).between(1, 65535),
}, engineOnly(
	vector("AutoClearQ"),
	str("CID", "").ignored(),
	integer("ClusState", 0),
	// The name in the cluster clause.
	str("ClusterName", "").ignored(),
	str("ClusterTime", "").ignored(),
	str("ClusterUUID", "").ignored(),
	integer("ConnectorState", 0),
	integer("DumpingMembership", 0),
	boolean("FipsMode", "0"),
	integer("GlobalCounter", 0),
	assoc("Notifier", KindStr).ignored(),
	// haconf sets it; a cluster starts read-only.
	boolean("ReadOnly", "1").ignored(),
	str("SourceFile", "./main.cf").ignored(),
	integer("VCSFeatures", 0).ignored(),
	integer("VCSMode", 0).ignored(),
))

var heartbeatTable = newBuiltins([]builtin{
	vector("Arguments").perSystem(),
	integer("AYAInterval", 60).perSystem(),
	integer("AYARetryLimit", 3).perSystem(),
	integer("AYATimeout", 30).perSystem(),
	integer("CleanTimeOut", 60).perSystem(),
	keylist("ClusterList"),
	integer("InitTimeout", 300).perSystem(),
	keylist("LogDbg"),
	integer("StartTimeout", 60).perSystem(),
	integer("StopTimeout", 60).perSystem(),
}, engineOnly(
	integer("AgentState", 0),
	integer("State", 0),
))

var remoteTable = newBuiltins([]builtin{
	str("ClusterAddress", ""),
	str("ClusterName", ""),
	integer("ConnectTimeout", 300),
	str("DeclaredState", "").oneOf("", "Disaster", "Outage", "Disconnect", "Replica"),
	integer("OfflineWaitLimit", 0),
	integer("RemoteConnectInterval", 30),
	integer("SocketTimeout", 180),
}, engineOnly(
	str("CID", "").ignored(),
	integer("ClusState", 0),
	integer("SysState", 0),
))
