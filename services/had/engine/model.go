package engine

import (
	"fmt"
	"sort"
	"time"

	"github.com/evenkeel/evenkeel/services/had/maincf"
	"github.com/evenkeel/evenkeel/services/had/policy"
)

// model is the configuration as the engine uses it. It is derived from the
// text of the files alone and never changes while it is in use.
type model struct {
	cfg     *maincf.Config
	cluster string
	systems []string
	groups  []*groupModel
	// resources of all groups, in the order of the groups.
	resources []*resourceModel
	byGroup   map[string]*groupModel
	// names finds them by name.
	names nameTable

	// bySystem are the systems as load, meters and stopping see them; the rest
	// is what the cluster's attributes say about that.
	bySystem       map[string]*systemModel
	statistics     string
	meterInterval  time.Duration
	forecastCycle  int
	meterWeight    []maincf.Pair
	engineShutdown string
	rebootAction   string
}

type groupModel struct {
	// What each report of a resource looks at comes first, so that it lies in
	// one line of the processor's cache.
	//
	// num is the place in model.groups; firstInstance that of its first instance
	// among those of all groups, firstResource that of the first of its size
	// resources.
	num                                int
	firstInstance, firstResource, size int32
	alone                              bool                    // no group depends on it, and it on none
	places                             map[SystemID]int        // of a long list; see place
	list                               []maincf.SystemPriority // by priority

	name   string
	source *maincf.Group
	// first is the place of its first system among those of all groups.
	first int
	// turn is the place in the order in which groups choose where to go, and
	// priority the attribute Priority, which gives it.
	turn, priority int
	autoList       []string
	resources      []*resourceModel
	graph          *policy.Graph
	disabled       map[string]bool

	autoStart, autoStartIfPartial bool
	frozen, manualOps, evacuate   bool
	faultPropagation              bool
	manageFaults                  bool
	onlineClearParent             bool
	quietFaults                   bool // DisableFaultMessages
	autoClearLimit                int
	autoClearInterval             time.Duration
	parallel                      int
	autoFailOver, autoRestart     int
	failOverPolicy                string
	autoStartPolicy               string
	retryLimit                    int
	retryInterval                 time.Duration
	acceptOverlap                 time.Duration
	load                          int
	prerequisites                 []maincf.Pair
	triggers                      groupTriggers
	// meterLoad is Load by meter, meterWeight MeterWeight.
	meterLoad, meterWeight []maincf.Pair
	// zones is SystemZones; empty if the group has none.
	zones map[string]int
	// requires are the links to its children, requiredBy to its parents.
	requires, requiredBy []*link
	// level is 0 for a group that requires none; family are the groups that
	// depend on each other, itself included, children first.
	level  int
	family []*groupModel
	// whole is the group, parts what it is made of and zone which part this
	// is: see split.
	whole *groupModel
	parts []*groupModel
	zone  string
	// inWhole are the places of a part's list in the whole list.
	inWhole []int
}

type resourceModel struct {
	// num is the place in model.resources.
	num                       int
	in                        *groupModel
	name, typ                 string
	category                  string
	critical, enabled, autoUp bool
	faultPropagation          bool
	// onlineGroup, offlineGroup and offlineHold are the keys of
	// ExternalStateChange.
	onlineGroup, offlineGroup, offlineHold bool
	// owner is ResourceOwner as the log has it.
	owner    string
	triggers *resourceTriggers
}

// onOff says whether the resource counts for the group's active count.
func (r *resourceModel) onOff() bool { return r.category == maincf.OperationsOnOff }

// persistent says whether the resource is only monitored.
func (r *resourceModel) persistent() bool { return r.category == maincf.OperationsNone }

// failover says whether the group may be active on one system only.
func (g *groupModel) failover() bool { return g.parallel != 1 }

func (g *groupModel) on(s SystemID) bool {
	return g.place(s) >= 0
}

// longList is how many systems are looked through faster than looked up.
const longList = 8

func (g *groupModel) findPlaces() {
	if len(g.list) <= longList {
		return
	}
	g.places = make(map[SystemID]int, len(g.list))
	for i, p := range g.list {
		g.places[p.System] = i
	}
}

// place returns where a system is in the list, or -1.
func (g *groupModel) place(s SystemID) int {
	if g.places != nil {
		if i, ok := g.places[s]; ok {
			return i
		}
		return -1
	}
	for i := range g.list {
		if g.list[i].System == s {
			return i
		}
	}
	return -1
}

// placeInWhole is the place in the list of the whole group of a place in the
// list of a part.
func (g *groupModel) placeInWhole(place int) int {
	if g.inWhole == nil {
		return place
	}
	return g.inWhole[place]
}

// sameZone says whether two systems are in one zone of the group: always
// without SystemZones; a system that it leaves out is in zone 0.
func (g *groupModel) sameZone(a, b SystemID) bool {
	return len(g.zones) == 0 || g.zones[a] == g.zones[b]
}

// parse reads the files of a configuration.
func parse(main string, files []File) (*model, error) {
	cfg, _, err := maincf.LoadText(main, func(name string) (string, error) {
		for _, f := range files {
			if f.Name == name {
				return f.Text, nil
			}
		}
		return "", fmt.Errorf("open %s: no such file in the configuration that was sent", name)
	})
	if err != nil {
		return nil, err
	}
	return newModel(cfg), nil
}

func newModel(cfg *maincf.Config) *model {
	return buildModel(cfg, func(g *maincf.Group) *groupModel { return newGroupModel(cfg, g) })
}

func newGroupModel(cfg *maincf.Config, g *maincf.Group) *groupModel {
	value := func(name string) maincf.Value { v, _ := cfg.GroupAttr(g, name, ""); return v }
	seconds := func(name string) time.Duration { return time.Duration(value(name).Int()) * time.Second }
	gm := &groupModel{
		name:               g.Name,
		list:               g.SystemList(),
		autoList:           g.AutoStartList(),
		autoStart:          value("AutoStart").Bool(),
		autoStartIfPartial: value("AutoStartIfPartial").Bool(),
		frozen:             value("Frozen").Bool(),
		manualOps:          value("ManualOps").Bool(),
		evacuate:           value("Evacuate").Bool(),
		faultPropagation:   value("FaultPropagation").Bool(),
		manageFaults:       value("ManageFaults").Text != "NONE",
		onlineClearParent:  value("OnlineClearParent").Bool(),
		priority:           value("Priority").Int(),
		quietFaults:        value("DisableFaultMessages").Bool(),
		autoClearLimit:     value("AutoClearLimit").Int(),
		autoClearInterval:  seconds("AutoClearInterval"),
		parallel:           value("Parallel").Int(),
		autoFailOver:       value("AutoFailOver").Int(),
		autoRestart:        value("AutoRestart").Int(),
		failOverPolicy:     value("FailOverPolicy").Text,
		autoStartPolicy:    value("AutoStartPolicy").Text,
		retryLimit:         value("OnlineRetryLimit").Int(),
		retryInterval:      seconds("OnlineRetryInterval"),
		acceptOverlap:      seconds("AcceptOverlap"),
		load:               units(value("Load")),
		prerequisites:      value("Prerequisites").Pairs,
		meterLoad:          value("Load").Pairs,
		meterWeight:        value("MeterWeight").Pairs,
	}
	if pairs := value("SystemZones").Pairs; len(pairs) > 0 {
		gm.zones = make(map[string]int, len(pairs))
	}
	for _, p := range value("SystemZones").Pairs {
		gm.zones[p.Key] = number(p.Value)
	}
	sort.SliceStable(gm.list, func(i, j int) bool { return gm.list[i].Priority < gm.list[j].Priority })
	for _, s := range gm.list {
		v, _ := cfg.GroupAttr(g, "Enabled", s.System)
		if !v.Bool() {
			if gm.disabled == nil {
				gm.disabled = map[string]bool{}
			}
			gm.disabled[s.System] = true
		}
	}
	gm.findPlaces()
	gm.triggers = newGroupTriggers(cfg, g, gm.list)
	order := make([]string, 0, len(g.Resources))
	gm.resources = make([]*resourceModel, 0, len(g.Resources))
	for _, r := range g.Resources {
		gm.resources = append(gm.resources, newResourceModel(cfg, g, r))
		order = append(order, r.Name)
	}
	deps := make([]policy.Dependency, 0, len(g.Dependencies))
	for _, d := range g.Dependencies {
		deps = append(deps, policy.Dependency{Parent: d.Parent, Children: d.Children, AtLeast: d.AtLeast})
	}
	gm.graph = policy.NewGraph(order, deps)
	return gm
}

func newResourceModel(cfg *maincf.Config, g *maincf.Group, r *maincf.Resource) *resourceModel {
	value := func(name string) maincf.Value { v, _ := cfg.ResourceAttr(r, name, ""); return v }
	external, _ := cfg.StaticAttr(r, "ExternalStateChange", "")
	propagate, ok := cfg.StaticAttr(r, "FaultPropagation", "")
	return &resourceModel{
		name: r.Name, typ: r.Type,
		category:         cfg.Operations(r.Type),
		critical:         value("Critical").Bool(),
		enabled:          value("Enabled").Bool(),
		autoUp:           value("AutoStart").Bool(),
		faultPropagation: !ok || propagate.Bool(),
		onlineGroup:      external.Has("OnlineGroup"),
		offlineGroup:     external.Has("OfflineGroup"),
		offlineHold:      external.Has("OfflineHold"),
		owner:            pick(value("ResourceOwner").Text == "", "Unspecified", value("ResourceOwner").Text),
		triggers:         newResourceTriggers(cfg, r),
	}
}

// resource returns the resource of that name, or nil.
func (m *model) resource(name string) *resourceModel {
	if n := m.names.find(name); n >= 0 {
		return m.resources[n]
	}
	return nil
}

// limit returns a number of an association attribute of a system.
func (m *model) limit(s SystemID, attr, key string) int {
	sys := m.cfg.System(s)
	if sys == nil {
		return 0
	}
	v, _ := m.cfg.SystemAttr(sys, attr)
	text, ok := v.Lookup(key)
	if !ok {
		return 0
	}
	return maincf.StrValue(text).Int()
}

// frozenSystem says whether the configuration freezes a system for good.
func (m *model) frozenSystem(s SystemID) bool {
	sys := m.cfg.System(s)
	if sys == nil {
		return false
	}
	v, _ := m.cfg.SystemAttr(sys, "Frozen")
	return v.Bool()
}

// resource returns the resource of that name, or nil.
func (g *groupModel) resource(name string) *resourceModel {
	for _, r := range g.resources {
		if r.name == name {
			return r
		}
	}
	return nil
}

func number(text string) int { return maincf.StrValue(text).Int() }
