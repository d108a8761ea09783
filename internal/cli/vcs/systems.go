package vcs

import (
	"context"
	"fmt"
	"strconv"

	"github.com/evenkeel/evenkeel/internal/cli/layout"
	hadv1 "github.com/evenkeel/evenkeel/proto/evenkeel/had/v1"
)

func systemActions() map[string]action {
	return map[string]action{
		"state": {usage: "[S...]", options: []string{"clus=", "localclus"}, most: -1, run: func(ctx context.Context, s *session, l line) error {
			systems, err := s.had.TheSystems(ctx, l.names)
			if err != nil {
				return err
			}
			if len(l.names) == 1 {
				fmt.Fprintln(s.Out, systems[0].GetState())
				return nil
			}
			layout.SystemStates(s.Out, systems)
			return nil
		}},
		"list": {usage: "[Attr=value...]", options: []string{"clus=", "localclus"}, most: -1, run: func(ctx context.Context, s *session, l line) error {
			systems, err := s.had.AllSystems(ctx, l.names)
			if err != nil {
				return err
			}
			for _, system := range systems {
				fmt.Fprintln(s.Out, system.GetName())
			}
			return nil
		}},
		"display": {usage: "[S...] [-attribute A...]", options: []string{"attribute*", "clus=", "localclus"}, most: -1, run: func(ctx context.Context, s *session, l line) error {
			systems, err := s.had.TheSystems(ctx, l.names)
			if err != nil {
				return err
			}
			layout.SystemAttributes(s.Out, systems, layout.Filter{Attributes: l.values["attribute"]})
			return nil
		}},
		"value": {usage: "S Attr", options: []string{"clus=", "localclus"}, least: 2, most: 2, run: func(ctx context.Context, s *session, l line) error {
			value, err := s.systemValue(ctx, l.names[0], l.names[1])
			if err == nil {
				fmt.Fprintln(s.Out, value)
			}
			return err
		}},
		"nodeid": {usage: "[S|ID]", most: 1, run: nodeID},
		"wait": {usage: "S Attr value [-time T]", options: []string{"time=", "clus=", "localclus"}, least: 3, most: 3, waits: true, run: wait(func(ctx context.Context, s *session, l line) (string, error) {
			return s.systemValue(ctx, l.names[0], l.names[1])
		})},
	}
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
	for _, system := range systems {
		id := strconv.Itoa(int(system.GetNodeId()))
		if len(l.names) == 1 && l.names[0] != id && l.names[0] != system.GetName() {
			continue
		}
		found = true
		fmt.Fprintf(s.Out, "%-20s %s\n", system.GetName(), id)
	}
	if !found {
		return warning(10357, "System %s does not exist", l.names[0])
	}
	return nil
}

func typeActions() map[string]action {
	return map[string]action{
		"list": {usage: "[Attr=value...]", options: []string{"clus=", "localclus"}, most: -1, run: func(ctx context.Context, s *session, l line) error {
			types, err := s.had.AllTypes(ctx, l.names)
			for _, t := range types {
				fmt.Fprintln(s.Out, t.GetName())
			}
			return err
		}},
		"display": {usage: "[T...] [-attribute A...]", options: []string{"attribute*", "clus=", "localclus"}, most: -1, run: func(ctx context.Context, s *session, l line) error {
			types, err := s.had.TheTypes(ctx, l.names)
			if err != nil {
				return err
			}
			layout.TypeAttributes(s.Out, types, layout.Filter{Attributes: l.values["attribute"]})
			return nil
		}},
		"resources": {usage: "T", options: []string{"clus=", "localclus"}, least: 1, most: 1, run: func(ctx context.Context, s *session, l line) error {
			types, err := s.had.TheTypes(ctx, l.names)
			if err != nil {
				return err
			}
			for _, name := range types[0].GetResources() {
				fmt.Fprintln(s.Out, name)
			}
			return nil
		}},
		"value": {usage: "T Attr", options: []string{"clus=", "localclus"}, least: 2, most: 2, run: func(ctx context.Context, s *session, l line) error {
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
		"display": {options: []string{"clus=", "localclus"}, run: func(ctx context.Context, s *session, _ line) error {
			a, err := s.had.Clusters.GetCluster(ctx, &hadv1.GetClusterRequest{})
			if err != nil {
				return err
			}
			layout.ClusterAttributes(s.Out, a.GetCluster())
			return nil
		}},
		"value": {usage: "Attr", options: []string{"clus=", "localclus"}, least: 1, most: 1, run: func(ctx context.Context, s *session, l line) error {
			value, err := s.clusterValue(ctx, l.names[0])
			if err == nil {
				fmt.Fprintln(s.Out, value)
			}
			return err
		}},
		"list": {run: func(ctx context.Context, s *session, _ line) error {
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
			return warning(10000, "Cluster %s does not exist", l.names[0])
		}},
		"wait": {usage: "Attr value [-time T]", options: []string{"time=", "clus=", "localclus"}, least: 2, most: 2, waits: true, run: wait(func(ctx context.Context, s *session, l line) (string, error) {
			return s.clusterValue(ctx, l.names[0])
		})},
	}
}

func (s *session) clusterValue(ctx context.Context, attribute string) (string, error) {
	a, err := s.had.Clusters.GetCluster(ctx, &hadv1.GetClusterRequest{})
	if err != nil {
		return "", err
	}
	return s.pick(a.GetCluster().GetAttributes(), "the cluster", attribute, "")
}
