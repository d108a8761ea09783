package sim

import (
	"fmt"
	"strings"

	"github.com/evenkeel/evenkeel/internal/vclock"
	"github.com/evenkeel/evenkeel/services/had/engine"
	"github.com/evenkeel/evenkeel/services/had/maincf"
	"github.com/evenkeel/evenkeel/services/had/schedule"
)

// resourceModel is a resource as the world sees it: an application.
type resourceModel struct {
	name, group, typ string
	index            int
	op               schedule.Operations
	failover         bool
	gone             bool // the configuration has it no more
	enabled          bool
	disk             int                  // -1: none
	broken           []bool               // of a persistent resource, by node
	trouble          []string             // a scenario's word for an entry point, by node
	lies             []schedule.Monitored // what its monitor says whatever is, by node
	lieUntil         []vclock.Time
}

// simTypes are fast, so that much happens in a little simulated time.
const simTypes = `
type App (
	static int MonitorInterval = 2
	static int OfflineMonitorInterval = 4
	static int MonitorTimeout = 3
	static int OnlineTimeout = 4
	static int OfflineTimeout = 4
	static int CleanTimeout = 3
	static int OpenTimeout = 4
	static int CloseTimeout = 4
	static str ArgList[] = { What }
	str What
	)
type Disk (
	static int MonitorInterval = 2
	static int OfflineMonitorInterval = 4
	static int MonitorTimeout = 3
	static int OnlineTimeout = 4
	static int OfflineTimeout = 4
	static int CleanTimeout = 3
	static int OpenTimeout = 4
	static int CloseTimeout = 4
	static int OnlineRetryLimit = 1
	static str ArgList[] = { What }
	str What
	)
type Daemon (
	static str Operations = OnOnly
	static int MonitorInterval = 2
	static int OfflineMonitorInterval = 4
	static int OnlineTimeout = 4
	static int OpenTimeout = 4
	static int CloseTimeout = 4
	static str ArgList[] = { What }
	str What
	)
type Net (
	static str Operations = None
	static int MonitorInterval = 2
	static int OfflineMonitorInterval = 4
	static int OpenTimeout = 4
	static int CloseTimeout = 4
	static str ArgList[] = { What }
	str What
	)
`

// diskTypes are the types whose online takes a shared disk into possession.
var diskTypes = []string{"Disk", "DiskGroup", "LVMVolumeGroup", "Mount"}

// randomConfig writes a main.cf for n systems.
func randomConfig(r *random, n int) []engine.File {
	var b strings.Builder
	b.WriteString("include \"types.cf\"\ncluster sim (\n\t)\n")
	names := make([]string, n)
	for i := range names {
		names[i] = string(rune('A' + i))
		fmt.Fprintf(&b, "system %s (\n\t)\n", names[i])
	}
	for g := range 1 + r.n(4) {
		randomGroup(&b, r, fmt.Sprintf("g%d", g+1), names, g > 0 && r.one(4))
	}
	return []engine.File{{Name: "main.cf", Text: b.String()}, {Name: "types.cf", Text: simTypes}}
}

func randomGroup(b *strings.Builder, r *random, name string, systems []string, parallel bool) {
	var list, auto []string
	first := r.n(len(systems))
	for i := range systems {
		s := systems[(first+i)%len(systems)]
		if i < 2 || !r.one(4) {
			list = append(list, fmt.Sprintf("%s = %d", s, i))
			auto = append(auto, s)
		}
	}
	fmt.Fprintf(b, "group %s (\n\tSystemList = { %s }\n", name, strings.Join(list, ", "))
	if !r.one(6) {
		fmt.Fprintf(b, "\tAutoStartList = { %s }\n", strings.Join(auto[:1+r.n(len(auto))], ", "))
	}
	if parallel {
		b.WriteString("\tParallel = 1\n")
	} else {
		fmt.Fprintf(b, "\tFailOverPolicy = %s\n", [...]string{"Priority", "RoundRobin"}[r.n(2)])
	}
	if r.one(3) {
		b.WriteString("\tOnlineRetryLimit = 1\n")
	}
	b.WriteString("\t)\n")
	res := func(typ, suffix, extra string) string {
		fmt.Fprintf(b, "%s %s_%s (\n%s\t)\n", typ, name, suffix, extra)
		return name + "_" + suffix
	}
	base := ""
	if !parallel && !r.one(4) {
		base = res("Disk", "disk", "")
	}
	if r.one(3) {
		res("Net", "net", "")
	}
	apps := 1 + r.n(3)
	for i := range apps {
		extra := ""
		switch r.n(6) {
		case 0:
			extra = "\tRestartLimit = 1\n"
		case 1:
			extra = "\tToleranceLimit = 1\n"
		case 2:
			if i == apps-1 {
				extra = "\tCritical = 0\n"
			}
		}
		app := res("App", fmt.Sprintf("app%d", i), extra)
		if base != "" {
			fmt.Fprintf(b, "%s requires %s\n", app, base)
		}
		if !r.one(3) {
			base = app
		}
	}
	if r.one(5) {
		res("Daemon", "daemon", "")
	}
}

// load reads the configuration that every system has on its disk.
func (w *World) load() error {
	texts := map[string]string{}
	for _, f := range w.files {
		texts[f.Name] = f.Text
	}
	cfg, _, err := maincf.LoadMap("main.cf", texts)
	if err != nil {
		return fmt.Errorf("simulate: %w", err)
	}
	if n := len(cfg.Systems); n < 1 || n > 16 {
		return fmt.Errorf("simulate main.cf: it names %d systems; 1 to 16 can be simulated", n)
	}
	w.cfg = cfg
	w.names = w.systemNames()
	w.model(cfg)
	clear(w.meddled) // what it began with
	return nil
}

func (w *World) resource(name string) *resourceModel { return w.byName[name] }
