package vcs

import (
	"context"
	"fmt"
	"slices"

	"github.com/evenkeel/evenkeel/services/had/maincf"
)

// heartbeatActions are those of hahb beside its edits: heartbeats to other
// clusters are kept in the configuration, and nothing beats.
func heartbeatActions() map[string]action {
	return map[string]action{
		"list": {run: func(ctx context.Context, s *session, _ line) error {
			all, err := s.heartbeats(ctx, nil)
			for _, h := range all {
				fmt.Fprintln(s.Out, h.Name)
			}
			return err
		}},
		"display": {usage: "[HEARTBEAT...]", most: -1, run: func(ctx context.Context, s *session, l line) error {
			all, err := s.heartbeats(ctx, l.names)
			if err != nil {
				return err
			}
			fmt.Fprintf(s.Out, "%-12s %-21s %-10s %s\n", "#Heartbeat", "Attribute", "Cluster", "Value")
			for _, h := range all {
				for _, a := range h.Attrs {
					fmt.Fprintf(s.Out, "%-12s %-21s %-10s %s\n", h.Name, a.Name, orElse(a.System, "global"), valueText(a.Value))
				}
			}
			return nil
		}},
		"state": {usage: "[HEARTBEAT] [-clus C]", options: []string{"clus="}, most: 1, run: func(ctx context.Context, s *session, l line) error {
			if _, err := s.heartbeats(ctx, l.names); err != nil {
				return err
			}
			return warning(idUnsupported, "This cluster works with no other cluster; no heartbeat is sent")
		}},
		"value": {usage: "HEARTBEAT Attr [C]", least: 2, most: 3, run: func(ctx context.Context, s *session, l line) error {
			all, err := s.heartbeats(ctx, l.names[:1])
			if err != nil {
				return err
			}
			known := map[string]bool{}
			for _, d := range maincf.HeartbeatAttrs() {
				known[d.Name] = true
				if d.Name != l.names[1] {
					continue
				}
				value := d.Default
				if a, set := all[0].Attrs.Effective(d.Name, third(l)); set {
					value = a.Value
				}
				fmt.Fprintln(s.Out, valueText(value))
				return nil
			}
			return noAttribute(l.names[1], "heartbeat "+l.names[0], known)
		}},
	}
}

// heartbeats are the named ones of the running configuration, or all.
func (s *session) heartbeats(ctx context.Context, names []string) ([]*maincf.Heartbeat, error) {
	cfg, err := s.running(ctx)
	if err != nil {
		return nil, err
	}
	var known []string
	for _, h := range cfg.Heartbeats {
		known = append(known, h.Name)
	}
	if len(names) == 0 {
		return cfg.Heartbeats, nil
	}
	var all []*maincf.Heartbeat
	for _, name := range names {
		at := slices.Index(known, name)
		if at < 0 {
			return nil, warning(maincf.IDOther, "Heartbeat %s does not exist%s", name, meant("", name, known))
		}
		all = append(all, cfg.Heartbeats[at])
	}
	return all, nil
}
