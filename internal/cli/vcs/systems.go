package vcs

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/evenkeel/evenkeel/internal/cli/layout"
	"github.com/evenkeel/evenkeel/internal/cli/operate"
	hadv1 "github.com/evenkeel/evenkeel/proto/evenkeel/had/v1"
)

func systemActions() map[string]action {
	return map[string]action{
		"state": {usage: "[S...]", options: ofCluster(), most: -1, run: func(ctx context.Context, s *session, l line) error {
			systems, err := s.someSystems(ctx, l.names)
			if err != nil {
				return err
			}
			if len(l.names) == 1 && !strings.Contains(l.names[0], "=") {
				fmt.Fprintln(s.Out, systems[0].GetState())
				return nil
			}
			layout.SystemStates(s.Out, systems)
			return nil
		}},
		"list": {usage: "[Attr=value|Attr!=value|Attr=~value...]", options: ofCluster(), most: -1, run: func(ctx context.Context, s *session, l line) error {
			systems, err := s.had.AllSystems(ctx, l.names)
			if err != nil {
				return err
			}
			for _, system := range systems {
				fmt.Fprintln(s.Out, system.GetName())
			}
			return nil
		}},
		"display": {usage: "[S...|Attr=value...] [-attribute A...]", options: ofCluster("attribute*"), most: -1, run: systemDisplay},
		"value": {usage: "S Attr", options: ofCluster(), least: 2, most: 2, run: func(ctx context.Context, s *session, l line) error {
			value, err := s.systemValue(ctx, l.names[0], l.names[1])
			if err == nil {
				fmt.Fprintln(s.Out, value)
			}
			return err
		}},
		"nodeid": {usage: "[S|ID]", most: 1, run: nodeID},
		"wait": {usage: "S Attr value [-time SECONDS]", options: ofCluster("time="), least: 3, most: -1, waits: true, run: wait(2, systemWords, func(ctx context.Context, s *session, l line) (string, error) {
			return s.systemValue(ctx, l.names[0], l.names[1])
		})},
		"load": {usage: "S LOAD", options: ofCluster(), least: 2, most: 2, changes: true, run: func(ctx context.Context, s *session, l line) error {
			load, err := strconv.ParseInt(l.names[1], 10, 32)
			if err != nil || load < 0 {
				return fmt.Errorf("a load is a number from 0, not %q: %w", l.names[1], errUsage)
			}
			return s.done(operate.SetLoad(ctx, s.had, operate.Request{Name: l.names[0], Load: int32(load)}))
		}},
		"util": {usage: "S", least: 1, most: 1, run: func(ctx context.Context, s *session, l line) error {
			return s.attributesOf(ctx, l.names, func(name string) bool {
				return strings.HasSuffix(name, "Capacity") || strings.HasSuffix(name, "Usage") || strings.Contains(name, "Util") || strings.Contains(name, "Load") || strings.Contains(name, "Meter")
			})
		}},
		"dumptunables": {usage: "S", least: 1, most: 1, run: func(ctx context.Context, s *session, l line) error {
			return s.attributesOf(ctx, l.names, func(name string) bool {
				return strings.Contains(name, "Threshold") || strings.Contains(name, "Level") || strings.Contains(name, "Interval") || strings.Contains(name, "Timeout") || strings.Contains(name, "Priority") || strings.Contains(name, "Class")
			})
		}},
		"updatelic": {usage: "-sys S\n-all", options: []string{"sys=", "all"}, run: func(ctx context.Context, s *session, l line) error {
			if l.flags["all"] == (l.value("sys") != "") {
				return fmt.Errorf("either -sys S or -all: %w", errUsage)
			}
			if err := s.exists(ctx, l.value("sys")); err != nil {
				return err
			}
			return noLicences()
		}},
	}
}

func noLicences() error {
	return warning(idUnsupported, "There is nothing to update: Evenkeel needs no licence")
}

func systemDisplay(ctx context.Context, s *session, l line) error {
	systems, err := s.someSystems(ctx, l.names)
	if err != nil {
		return err
	}
	filter, err := rows(ctx, s, l, "any system", systems)
	if err != nil {
		return err
	}
	layout.SystemAttributes(s.Out, systems, filter)
	return nil
}

// attributesOf displays those attributes of systems that are wanted.
func (s *session) attributesOf(ctx context.Context, names []string, wanted func(string) bool) error {
	systems, err := s.had.TheSystems(ctx, names)
	if err != nil {
		return err
	}
	var filter layout.Filter
	for _, system := range systems {
		for _, a := range system.GetAttributes() {
			if wanted(a.GetName()) {
				filter.Attributes = append(filter.Attributes, a.GetName())
			}
		}
	}
	if len(filter.Attributes) == 0 {
		return warning(idNoValue, "System %s has no such values yet", names[0])
	}
	layout.SystemAttributes(s.Out, systems, filter)
	return nil
}

func (s *session) systemValue(ctx context.Context, name, attribute string) (string, error) {
	systems, err := s.had.TheSystems(ctx, []string{name})
	if err != nil {
		return "", err
	}
	if attribute == "SysState" {
		return systems[0].GetState(), nil
	}
	return s.pick(systems[0].GetAttributes(), "system "+name, attribute, name)
}

func nodeID(ctx context.Context, s *session, l line) error {
	systems, err := s.had.AllSystems(ctx, nil)
	if err != nil {
		return err
	}
	found := false
	var names []string
	for _, system := range systems {
		id := strconv.Itoa(int(system.GetNodeId()))
		names = append(names, system.GetName())
		if len(l.names) == 1 && l.names[0] != id && l.names[0] != system.GetName() {
			continue
		}
		found = true
		fmt.Fprintf(s.Out, "%-20s %s\n", system.GetName(), id)
	}
	if !found {
		return warning(10357, "System %s does not exist%s", l.names[0], meant("", l.names[0], names))
	}
	return nil
}

func typeActions() map[string]action {
	return map[string]action{
		"list": {usage: "[Attr=value|Attr!=value|Attr=~value...]", options: ofCluster(), most: -1, run: func(ctx context.Context, s *session, l line) error {
			types, err := s.had.AllTypes(ctx, l.names)
			for _, t := range types {
				fmt.Fprintln(s.Out, t.GetName())
			}
			return err
		}},
		"display": {usage: "[T...|Attr=value...] [-attribute A...]", options: ofCluster("attribute*"), most: -1, run: func(ctx context.Context, s *session, l line) error {
			types, err := s.someTypes(ctx, l.names)
			if err != nil {
				return err
			}
			filter, err := rows(ctx, s, l, "any type", types)
			if err != nil {
				return err
			}
			layout.TypeAttributes(s.Out, types, filter)
			return nil
		}},
		"resources": {usage: "T", options: ofCluster(), least: 1, most: 1, run: func(ctx context.Context, s *session, l line) error {
			types, err := s.had.TheTypes(ctx, l.names)
			if err != nil {
				return err
			}
			for _, name := range types[0].GetResources() {
				fmt.Fprintln(s.Out, name)
			}
			return nil
		}},
		"value": {usage: "T Attr", options: ofCluster(), least: 2, most: 2, run: func(ctx context.Context, s *session, l line) error {
			types, err := s.had.TheTypes(ctx, l.names[:1])
			if err != nil {
				return err
			}
			value, err := s.pick(types[0].GetAttributes(), "type "+l.names[0], l.names[1], "")
			if err == nil {
				fmt.Fprintln(s.Out, value)
			}
			return err
		}},
	}
}

func clusterActions() map[string]action {
	return map[string]action{
		"display": {usage: "[-attribute A...]", options: ofCluster("attribute*"), run: func(ctx context.Context, s *session, l line) error {
			a, err := s.had.Clusters.GetCluster(ctx, &hadv1.GetClusterRequest{})
			if err != nil {
				return err
			}
			filter, err := rows(ctx, s, l, "the cluster", []*hadv1.Cluster{a.GetCluster()})
			if err != nil {
				return err
			}
			layout.ClusterAttributes(s.Out, a.GetCluster(), filter)
			return nil
		}},
		"value": {usage: "Attr", options: ofCluster(), least: 1, most: 1, run: func(ctx context.Context, s *session, l line) error {
			value, err := s.clusterValue(ctx, l.names[0])
			if err == nil {
				fmt.Fprintln(s.Out, value)
			}
			return err
		}},
		"list": {options: []string{"localclus"}, run: func(ctx context.Context, s *session, _ line) error {
			a, err := s.had.Clusters.ListClusters(ctx, &hadv1.ListClustersRequest{})
			for _, c := range a.GetClusters() {
				fmt.Fprintln(s.Out, c.GetName())
			}
			return err
		}},
		"state": {usage: "[C]", most: 1, options: []string{"localclus"}, run: func(ctx context.Context, s *session, l line) error {
			a, err := s.had.Clusters.ListClusters(ctx, &hadv1.ListClustersRequest{})
			if err != nil {
				return err
			}
			if len(l.names) == 0 {
				layout.ClusterStates(s.Out, a.GetClusters())
				return nil
			}
			for _, c := range a.GetClusters() {
				if c.GetName() == l.names[0] {
					fmt.Fprintln(s.Out, c.GetState())
					return nil
				}
			}
			return s.otherClusters(ctx, l.names[0])
		}},
		"wait": {usage: "Attr value [-clus C] [-time SECONDS]", options: ofCluster("time="), least: 2, most: -1, waits: true, run: wait(1, clusterWords, func(ctx context.Context, s *session, l line) (string, error) {
			return s.clusterValue(ctx, l.names[0])
		})},
		"updatelic": {run: func(context.Context, *session, line) error { return noLicences() }},
		"status": {usage: "C", least: 1, most: 1, run: func(ctx context.Context, s *session, l line) error {
			return s.otherClusters(ctx, l.names[0])
		}},
		"declare": {usage: "disaster|outage|disconnect|replica -clus C [-failover]", options: []string{"clus=", "failover"}, least: 1, most: 1, run: func(ctx context.Context, s *session, l line) error {
			return s.otherClusters(ctx, l.value("clus"))
		}},
		"enable":  {usage: "LinkMonitoring", least: 1, most: 1, run: linkMonitoring},
		"disable": {usage: "LinkMonitoring", least: 1, most: 1, run: linkMonitoring},
	}
}

// otherClusters refuses what is about clusters that work together.
func (s *session) otherClusters(ctx context.Context, name string) error {
	a, err := s.had.Clusters.GetCluster(ctx, &hadv1.GetClusterRequest{})
	if err != nil {
		return err
	}
	if have := a.GetCluster().GetName(); name != "" && name != have {
		return warning(idOtherCluster, "Cluster %s is not known here; this cluster is %s", name, have)
	}
	return warning(idUnsupported, "Cluster %s works with no other cluster; there is nothing to declare or to show", a.GetCluster().GetName())
}

func linkMonitoring(_ context.Context, _ *session, l line) error {
	if l.names[0] != "LinkMonitoring" {
		return fmt.Errorf("it takes LinkMonitoring, not %s: %w", l.names[0], errUsage)
	}
	return warning(idUnsupported, "Links are always monitored; see them with lltstat -nvv")
}

func (s *session) clusterValue(ctx context.Context, attribute string) (string, error) {
	a, err := s.had.Clusters.GetCluster(ctx, &hadv1.GetClusterRequest{})
	if err != nil {
		return "", err
	}
	return s.pick(a.GetCluster().GetAttributes(), "the cluster", attribute, "")
}
