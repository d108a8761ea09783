package doctor

import (
	"slices"
	"strings"
	"testing"

	"github.com/evenkeel/evenkeel/etc"
	fencingv1 "github.com/evenkeel/evenkeel/proto/evenkeel/fencing/v1"
	hadv1 "github.com/evenkeel/evenkeel/proto/evenkeel/had/v1"
	"github.com/evenkeel/evenkeel/services/had/maincf"
)

const text = `include "types.cf"
cluster demo ( )
system sysA ( )
system sysB ( )
group app (
	SystemList = { sysA = 0, sysB = 1 }
	AutoStartList = { sysA }
	)
	IP app_ip (
		Device = eth0
		Address = "192.0.2.7"
		NetMask = "255.255.255.0"
		)
`

func load(t *testing.T, text string) *maincf.Config {
	t.Helper()
	c, _, err := maincf.LoadMap("main.cf", map[string]string{"main.cf": text, "types.cf": etc.TypesCF})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// healthy is a cluster that lacks nothing.
func healthy(t *testing.T) *Facts {
	system := func(name string) *hadv1.System {
		return &hadv1.System{Name: name, State: "RUNNING", Attributes: []*hadv1.Attribute{{Name: "EngineVersion", Value: "1.0"}}}
	}
	return &Facts{
		Self: "sysA",
		Status: &hadv1.GetStatusResponse{
			LocalSystem: "sysA", Systems: []*hadv1.System{system("sysA"), system("sysB")},
			Groups: []*hadv1.Group{{Name: "app", Systems: []*hadv1.GroupOnSystem{{System: "sysA", State: "ONLINE", Probed: true}, {System: "sysB", State: "OFFLINE", Probed: true}}}},
			Resources: []*hadv1.Resource{{Name: "app_ip", Group: "app", Type: "IP", Enabled: true, Systems: []*hadv1.ResourceOnSystem{
				{System: "sysA", State: "ONLINE", Probed: true}, {System: "sysB", State: "OFFLINE", Probed: true}}}},
		},
		State: &hadv1.ConfigState{}, Running: load(t, text), Disk: load(t, text),
		Agents:  []*hadv1.Agent{{Type: "IP", State: "Running", System: "sysA"}},
		Fencing: &fencingv1.GetStatusResponse{SelfStop: &fencingv1.SelfStop{Action: "reboot", Armed: true}},
		KeyFile: "/etc/evenkeel/cluster.key", KeyMode: 0o600,
		Volumes: []Volume{{Path: "/var/log", Free: 1 << 30, Size: 10 << 30}},
		Devices: map[string]bool{"eth0": true}, Triggers: map[string]bool{}, TriggersDir: "/usr/lib/evenkeel/triggers",
	}
}

func TestHealthy(t *testing.T) {
	if found := Examine(healthy(t)); len(found) != 0 {
		t.Errorf("a healthy cluster: %+v", found)
	}
}

// TestEachCheck: each fault is found by its check and by no other, and names
// the command that mends it. Every check has its fault here.
func TestEachCheck(t *testing.T) {
	gate := "sysB is lost and not proved gone"
	tested := map[string]bool{}
	for _, c := range []struct {
		check, command string
		fault          func(f *Facts)
	}{
		{"had-down", "ha node start", func(f *Facts) { *f = Facts{HadDown: "connection refused"} }},
		{"gate-held", "ha fencing vouch sysB", func(f *Facts) {
			f.Status.Gate = &gate
			f.Status.Systems[1].Freshness = &hadv1.Freshness{Stale: true}
		}},
		{"system-state", "on sysB: ha node start", func(f *Facts) { f.Status.Systems[1].State = "FAULTED" }},
		{"system-state", "ha system force sysB", func(f *Facts) { f.Status.Systems[1].State = "STALE_ADMIN_WAIT" }},
		{"system-state", "on sysB: hastart", func(f *Facts) { f.Status.Systems[1].State, f.Status.Systems[1].DaemonDown = "FAULTED", true }},
		{"system-state", "on sysB: ha node start", func(f *Facts) { f.Status.Systems[1].State = "EXITED" }},
		{"resource-faulted", "ha resource clear app_ip --system sysA", func(f *Facts) { f.Status.Resources[0].Systems[0].State = "FAULTED" }},
		{"admin-wait", "ha group clearadminwait app --system sysA", func(f *Facts) { f.Status.Resources[0].Systems[0].Istate = "ADMIN_WAIT" }},
		{"group-autodisabled", "ha group autoenable app --system sysB", func(f *Facts) { f.Status.Groups[0].Systems[1].Autodisabled = true }},
		{"group-stuck", "hagrp -online app -any", func(f *Facts) {
			for _, on := range f.Status.Groups[0].Systems {
				on.State = "OFFLINE"
			}
			f.Status.Groups[0].Hindrances = []string{"offline, and nothing brings it online by itself: hagrp -online app -any"}
		}},
		{"resource-unknown", "ha resource probe app_ip --system sysA", func(f *Facts) { f.Status.Resources[0].Systems[0].Flags = "STATE UNKNOWN" }},
		{"resource-unprobed", "ha resource probe app_ip --system sysB", func(f *Facts) { f.Status.Resources[0].Systems[1].Probed = false }},
		{"agent-down", "ha agent start IP --system sysA", func(f *Facts) { f.Agents[0].State = "Given up" }},
		{"fencing-down", "ha node start", func(f *Facts) { f.Fencing, f.FencingDown = nil, "connection refused" }},
		{"fencing-broken", "ha fencing status", func(f *Facts) { f.Fencing.Broken = true }},
		{"self-stop", "ha fencing status", func(f *Facts) { f.Fencing.SelfStop = &fencingv1.SelfStop{Reason: "no power switch"} }},
		{"jeopardy", "lltstat -nvv", func(f *Facts) { f.Status.Systems[1].Jeopardy = true }},
		{"frozen", "ha system unfreeze sysB", func(f *Facts) { f.Status.Systems[1].Frozen = true }},
		{"frozen", "ha group unfreeze app", func(f *Facts) { f.Status.Groups[0].Frozen = true }},
		{"frozen", "ha group unfreeze app --persistent", func(f *Facts) {
			f.Status.Groups[0].Frozen = true
			f.Status.Groups[0].Attributes = []*hadv1.Attribute{{Name: "Frozen", Value: "1"}}
			for _, on := range f.Status.Groups[0].Systems {
				on.State = "OFFLINE" // nobody wants it, so that it is stuck as little as before
			}
			f.Status.Groups[0].Hindrances = []string{"group is frozen: hagrp -unfreeze app -persistent"}
		}},
		{"config-unconfirmed", "ha config confirm", func(f *Facts) { f.State.Unconfirmed = &hadv1.Unconfirmed{LeftMs: 60000} }},
		{"config-unsaved", "ha config dump", func(f *Facts) { f.State.Undumped, f.State.Writable = true, true }},
		{"config-writable", "ha config dump --read-only", func(f *Facts) { f.State.Writable = true }},
		{"config-disk", "ha config dump", func(f *Facts) { f.Status.ConfigErrors = []string{"main.cf:3:1: what"} }},
		{"config-disk", "ha config dump", func(f *Facts) {
			f.Disk, f.DiskMistakes = nil, []string{"main.cf:9:1: what"} // edited by hand while the cluster runs
		}},
		{"config-differs", "ha config apply", func(f *Facts) { f.Disk = load(t, strings.Replace(text, "192.0.2.7", "192.0.2.8", 1)) }},
		{"dump-failed", "ha config dump", func(f *Facts) {
			f.State.DumpFailures = []*hadv1.DumpFailure{{System: "sysB", Why: "no space left on device"}}
		}},
		{"group-alone", "ha group modify app SystemList --add", func(f *Facts) {
			f.Running = load(t, strings.Replace(text, "sysA = 0, sysB = 1", "sysA = 0", 1))
			f.Disk = f.Running
		}},
		{"autostart-list", "ha group modify app AutoStartList --delete sysB", func(f *Facts) {
			g := f.Running.Group("app")
			for i := range g.Attrs {
				if g.Attrs[i].Name == "AutoStartList" {
					g.Attrs[i].Value.List = []string{"sysA", "sysB"}
				}
				if g.Attrs[i].Name == "SystemList" {
					g.Attrs[i].Value.Pairs = []maincf.Pair{{Key: "sysA", Value: "0"}, {Key: "sysC", Value: "1"}}
				}
			}
			f.Disk = nil
		}},
		{"device-missing", "ip link", func(f *Facts) { f.Devices = map[string]bool{"lo": true} }},
		{"trigger-missing", "--delete RESFAULT", func(f *Facts) {
			f.Running = load(t, strings.Replace(text, "AutoStartList", "TriggersEnabled = { RESFAULT }\n\tAutoStartList", 1))
			f.Disk = f.Running
		}},
		{"versions", "ha node stop", func(f *Facts) { f.Status.Systems[1].Attributes[0].Value = "2.0" }},
		{"key-permissions", "chmod 600 /etc/evenkeel/cluster.key", func(f *Facts) { f.KeyMode = 0o644 }},
		{"disk-full", "df -h /var/log", func(f *Facts) { f.Volumes[0].Free = 10 << 20 }},
	} {
		tested[c.check] = true
		f := healthy(t)
		c.fault(f)
		found := Examine(f)
		if len(found) != 1 || found[0].Check != c.check {
			t.Errorf("%s: found %+v", c.check, found)
			continue
		}
		if g := found[0]; !strings.Contains(g.Command, c.command) || g.What == "" || g.Why == "" || !slices.Contains([]string{"ERROR", "WARNING"}, g.Severity) {
			t.Errorf("%s: %+v, the command should have %q", c.check, g, c.command)
		}
	}
	for _, c := range Checks() {
		if !tested[c.ID] {
			t.Errorf("check %s is tested by no fault", c.ID)
		}
	}
}

// A fresh, small volume is not full.
func TestSmallVolume(t *testing.T) {
	f := healthy(t)
	f.Volumes = []Volume{{Path: "/var/log", Free: 60 << 20, Size: 100 << 20}}
	if found := Examine(f); len(found) != 0 {
		t.Errorf("%+v", found)
	}
}
