package engine

import (
	"fmt"
	"strings"

	"pgregory.net/rapid"
)

// drawGroups draws a configuration for the three systems: groups of every
// kind and policy, with random dependencies of resources and of groups, and
// with whatever else decides where a group goes.
func drawGroups(t *rapid.T) string {
	var b strings.Builder
	chance := func(label string, percent int) bool { return rapid.IntRange(1, 100).Draw(t, label) <= percent }
	set := func(percent int, name string, values ...string) {
		if chance(name, percent) {
			fmt.Fprintf(&b, "\t%s = %s\n", name, rapid.SampledFrom(values).Draw(t, name+" value"))
		}
	}
	for _, n := range threeSystems {
		fmt.Fprintf(&b, "system %s (\n", n)
		set(50, "Capacity", "10", "3", "1")
		set(50, "Limits", "{ Slots = 1 }", "{ Slots = 2 }")
		set(30, "SystemLocation", "east", "west")
		b.WriteString("\t)\n")
	}
	if chance("ClusterService", 20) {
		b.WriteString("group ClusterService (\n\tSystemList = { A = 0, B = 1, C = 2 }\n\tAutoStartList = { A, B, C }\n")
		set(50, "OnlineRetryLimit", "1", "3")
		b.WriteString("\t)\n\tApp csr0 (\n\t\t)\n")
	}
	groups := rapid.IntRange(1, 4).Draw(t, "groups")
	kinds, hard := make([]int, groups), make([]bool, groups)
	for g := range groups {
		list := rapid.Permutation(threeSystems).Draw(t, "systems")[:rapid.SampledFrom([]int{3, 3, 3, 2, 1}).Draw(t, "width")]
		var pairs []string
		for i, n := range list {
			pairs = append(pairs, fmt.Sprintf("%s = %d", n, i))
		}
		fmt.Fprintf(&b, "group g%d (\n\tSystemList = { %s }\n", g, strings.Join(pairs, ", "))
		if chance("auto", 80) {
			fmt.Fprintf(&b, "\tAutoStartList = { %s }\n", strings.Join(list[:rapid.IntRange(1, len(list)).Draw(t, "auto list")], ", "))
		}
		if chance("Parallel", 40) {
			kinds[g] = rapid.IntRange(1, 2).Draw(t, "kind")
			fmt.Fprintf(&b, "\tParallel = %d\n", kinds[g])
		}
		if chance("zones", 30) {
			var zones []string
			for _, n := range list {
				zones = append(zones, fmt.Sprintf("%s = %d", n, rapid.IntRange(0, 1).Draw(t, "zone")))
			}
			fmt.Fprintf(&b, "\tSystemZones = { %s }\n", strings.Join(zones, ", "))
		}
		set(30, "AutoFailOver", "0", "2")
		set(40, "FailOverPolicy", "RoundRobin", "Load", "BiggestAvailable")
		set(30, "AutoStartPolicy", "Load", "Priority")
		set(30, "Load", "1", "2")
		set(20, "Prerequisites", "{ Slots = 1 }")
		set(30, "OnlineRetryLimit", "1", "2")
		set(15, "AutoRestart", "0", "2")
		set(15, "AutoStartIfPartial", "0")
		set(15, "FaultPropagation", "0")
		set(15, "ManageFaults", "NONE")
		set(15, "Evacuate", "0")
		set(15, "PreOnline", "1")
		set(15, "AutoClearLimit", "1", "2")
		set(30, "AutoClearInterval", "2")
		set(15, "OnlineClearParent", "1")
		set(20, "Priority", "1", "2", "4")
		b.WriteString("\t)\n")
		drawLinks(t, &b, g, kinds, hard)
		resources := rapid.IntRange(1, 4).Draw(t, "resources")
		for r := range resources {
			fmt.Fprintf(&b, "\t%s g%dr%d (\n", rapid.SampledFrom([]string{"App", "App", "App", "App", "Net", "Daemon"}).Draw(t, "type"), g, r)
			if chance("critical", 20) {
				b.WriteString("\t\tCritical = 0\n")
			}
			if chance("enabled", 5) {
				b.WriteString("\t\tEnabled = 0\n")
			}
			if chance("autostart", 10) {
				b.WriteString("\t\tAutoStart = 0\n")
			}
			b.WriteString("\t\t)\n")
		}
		for parent := range resources {
			for child := parent + 1; child < resources; child++ {
				if chance("requires", 50) {
					fmt.Fprintf(&b, "\tg%dr%d requires g%dr%d\n", g, parent, g, child)
				}
			}
		}
	}
	return b.String()
}

// drawLinks lets a group require earlier ones, as a configuration may.
func drawLinks(t *rapid.T, b *strings.Builder, g int, kinds []int, hard []bool) {
	for child := range g {
		if rapid.IntRange(1, 100).Draw(t, "link") > 30 {
			continue
		}
		category := rapid.SampledFrom([]string{
			"online local soft", "online local firm", "online local hard", "online global soft", "online global firm",
			"online remote soft", "online remote firm", "offline local", "online site soft", "online site firm",
		}).Draw(t, "category")
		up, down := kinds[g], kinds[child]
		switch words := strings.Fields(category); {
		case up == 1 && down == 1 && (words[1] == "global" || words[1] == "remote"):
			category = "online local soft"
		case up != 0 && down == 0 && strings.HasPrefix(category, "online local"):
			category = "online global firm"
		case words[len(words)-1] == "hard" && (up != 0 || down != 0 || hard[g] || hard[child]):
			category = "online local firm"
		case words[len(words)-1] == "hard":
			hard[g], hard[child] = true, true
		}
		fmt.Fprintf(b, "\trequires group g%d %s\n", child, category)
	}
}
