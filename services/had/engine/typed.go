package engine

import (
	"strconv"
	"strings"
)

// typed is a command as an administrator types it, for the log: in the words of
// VCS's commands, whatever it came through.
func (c Command) typed() string {
	var out []string
	say := func(words ...string) { out = append(out, words...) }
	flag := func(is bool, words ...string) {
		if is {
			out = append(out, words...)
		}
	}
	program, action, _ := strings.Cut(string(c.Kind), "-")
	switch c.Kind {
	case CommandSystemStop:
		say("hastop")
		switch {
		case c.All:
			say("-all")
		case c.Reboot:
			say("-sysoffline")
		case c.Local:
			say("-local")
		default:
			say("-sys")
			say(c.Systems...)
			flag(len(c.Systems) == 0, c.System)
		}
		flag(c.Force, "-force")
		flag(c.Evacuate, "-evacuate")
		flag(c.NoAutoDisable, "-noautodisable")
		return strings.Join(out, " ")
	case CommandConfigWritable:
		return "haconf -makerw"
	case CommandConfigDump:
		return "haconf -dump" + pick(c.MakeReadOnly, " -makero", "")
	case CommandConfigChange:
		return strings.TrimSpace(c.changes())
	case CommandConfigApply, CommandConfigConfirm:
		return "ha config " + action + c.changes()
	case CommandSystemLoad:
		return "hasys -load " + c.System + pick(c.ClearLoad, " -clear", " "+strconv.Itoa(c.Load))
	case CommandSystemFreeze, CommandSystemUnfreeze, CommandSystemForce:
		say("hasys", "-"+action)
		flag(c.Persistent, "-persistent")
		flag(c.Evacuate, "-evacuate")
		say(c.System)
		return strings.Join(out, " ")
	case CommandAgentSwap:
		return "ha agent swap " + c.Type + " --system " + c.System
	case CommandResourceRefreshInfo, CommandResourceFlushInfo, CommandGroupClearAdminWait:
		action = strings.ReplaceAll(action, "-", "")
	case CommandResourceOffline:
		action = pick(c.Propagate, "offprop", action)
	}
	program, known := map[string]string{"group": "hagrp", "resource": "hares", "agent": "haagent"}[program]
	if !known {
		return c.words()
	}
	say(program, "-"+action)
	flag(c.Fault, "-fault")
	flag(c.Propagate && program == "hagrp", "-propagate")
	flag(c.Force, "-force")
	flag(c.NoPre && c.Kind == CommandGroupOnline, "-nopre")
	flag(c.IgnoreParent, "-ignoreparent")
	flag(c.ParentProp, "-parentprop")
	for _, name := range []string{c.Group, c.Resource, c.Type} {
		flag(name != "", name)
	}
	flag(c.System != "", pick(c.Kind == CommandGroupSwitch, "-to", "-sys"), c.System)
	flag(c.NoPre && c.Kind == CommandGroupSwitch, "-nopre")
	flag(c.CheckPartial != "", "-checkpartial", c.CheckPartial)
	flag(c.Any, "-any")
	flag(c.Persistent, "-persistent")
	return strings.Join(out, " ")
}
