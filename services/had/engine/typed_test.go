package engine

import "testing"

// A command stands in the log as somebody who knows VCS types it.
func TestTyped(t *testing.T) {
	for want, c := range map[string]Command{
		"hagrp -online web -sys A":                         {Kind: CommandGroupOnline, Group: "web", System: "A"},
		"hagrp -online -propagate web -any":                {Kind: CommandGroupOnline, Group: "web", Any: true, Propagate: true},
		"hagrp -online -nopre web -sys A -checkpartial B":  {Kind: CommandGroupOnline, Group: "web", System: "A", NoPre: true, CheckPartial: "B"},
		"hagrp -switch web -to B -nopre":                   {Kind: CommandGroupSwitch, Group: "web", System: "B", NoPre: true},
		"hagrp -freeze web -persistent":                    {Kind: CommandGroupFreeze, Group: "web", Persistent: true},
		"hagrp -flush -force web -sys A":                   {Kind: CommandGroupFlush, Group: "web", System: "A", Force: true},
		"hagrp -clearadminwait -fault web -sys A":          {Kind: CommandGroupClearAdminWait, Group: "web", System: "A", Fault: true},
		"hagrp -disableresources web":                      {Kind: CommandGroupDisableResources, Group: "web"},
		"hares -offline -ignoreparent fs -sys A":           {Kind: CommandResourceOffline, Resource: "fs", System: "A", IgnoreParent: true},
		"hares -offprop fs -sys A":                         {Kind: CommandResourceOffline, Resource: "fs", System: "A", Propagate: true},
		"hares -refreshinfo fs":                            {Kind: CommandResourceRefreshInfo, Resource: "fs"},
		"hasys -freeze -persistent -evacuate A":            {Kind: CommandSystemFreeze, System: "A", Persistent: true, Evacuate: true},
		"hasys -force A":                                   {Kind: CommandSystemForce, System: "A"},
		"hasys -load A 85":                                 {Kind: CommandSystemLoad, System: "A", Load: 85},
		"hastop -local -evacuate -noautodisable":           {Kind: CommandSystemStop, System: "A", Local: true, Evacuate: true, NoAutoDisable: true},
		"hastop -sys A B -force":                           {Kind: CommandSystemStop, Systems: []string{"A", "B"}, Force: true},
		"hastop -all":                                      {Kind: CommandSystemStop, All: true},
		"haagent -stop App -sys A":                         {Kind: CommandAgentStop, Type: "App", System: "A"},
		"haconf -dump -makero":                             {Kind: CommandConfigDump, MakeReadOnly: true},
		"hagrp -add web; hagrp -modify web SystemList A 0": {Kind: CommandConfigChange, Edits: [][]string{{"hagrp", "-add", "web"}, {"hagrp", "-modify", "web", "SystemList", "A", "0"}}},
	} {
		if got := c.typed(); got != want {
			t.Errorf("%s: %q", want, got)
		}
	}
}
