package server

import (
	"context"
	"fmt"
	"strings"
	"time"

	gabv1 "github.com/evenkeel/evenkeel/proto/evenkeel/gab/v1"
	hadv1 "github.com/evenkeel/evenkeel/proto/evenkeel/had/v1"
	"github.com/evenkeel/evenkeel/services/had/engine"
	"github.com/evenkeel/evenkeel/services/had/maincf"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

const (
	// linkPeriod is how often the local gab is asked for the links, linkTime
	// how long it may take to answer.
	linkPeriod = 5 * time.Second
	linkTime   = 2 * time.Second
)

func (r *replica) systemAttributes(s engine.SystemStatus) []*hadv1.Attribute {
	t := r.rows()
	state := string(s.State)
	if s.Name == r.self && (s.State == engine.SystemUnknown || state == "") {
		state = r.state
	}
	t.set("SysName", "", s.Name)
	t.set("SysState", "", state)
	t.number("LLTNodeId", "", s.Node)
	t.number("NodeId", "", s.Node)
	t.flag("Frozen", "", s.Frozen)
	t.flag("TFrozen", "", s.TFrozen)
	t.set("EngineVersion", "", orElse(s.Version, Version))
	t.set("SysInfo", "", s.Info)
	t.number("OnGrpCnt", "", r.groupsOn(s.Name))
	t.flag("AgentsStopped", "", s.AgentsStopped)
	t.flag("EngineRestarted", "", s.EngineRestarted)
	t.flag("NoAutoDisable", "", s.NoAutoDisable)
	t.number("UpDownState", "", upDown(s))
	t.set("LinkHbStatus", "", strings.Join(r.links[s.Name], "\t"))
	t.set("VCSFeatures", "", "0")
	r.loadRows(t, s)
	meterRows(t, s)
	var attrs maincf.Attrs
	if r.cfg != nil {
		if declared := r.cfg.System(s.Name); declared != nil {
			attrs = declared.Attrs
		}
	}
	t.configured(maincf.SystemAttrs(), attrs)
	return t.sorted()
}

func (r *replica) groupsOn(system string) int {
	online := 0
	for _, g := range r.st.Groups {
		for _, on := range g.Systems {
			if on.System == system && on.ActiveCount > 0 {
				online++
			}
		}
	}
	return online
}

// upDown is VCS's number: 0 down, 1 up without had, 2 a member over one link,
// 3 a member.
func upDown(s engine.SystemStatus) int {
	switch {
	case s.InView && s.Jeopardy:
		return 2
	case s.InView:
		return 3
	case s.MachineUp:
		return 1
	}
	return 0
}

func (r *replica) loadRows(t *rows, s engine.SystemStatus) {
	if s.Room == nil {
		return
	}
	t.number("AvailableCapacity", "", s.Room.Available)
	t.number("DynamicLoad", "", 0)
	if s.Room.Dynamic {
		t.list[len(t.list)-1].Value = fmt.Sprint(s.Room.Load)
	}
	t.number("LoadTimeCounter", "", int(s.Room.Over/time.Second))
	var limits, reserved []string
	for _, p := range s.Room.Limits {
		limits = append(limits, p.Key, p.Value)
	}
	for _, g := range s.Room.Reserved {
		reserved = append(reserved, g, "1")
	}
	t.set("CurrentLimits", "", strings.Join(limits, "\t"))
	t.set("ReservedCapacity", "", strings.Join(reserved, "\t"))
}

// meterRows gives what a system measured: percent in use and what is forecast
// to be free, CPU in cores, Mem and Swap in MB, IO in percent of the time.
func meterRows(t *rows, s engine.SystemStatus) {
	var used, free []string
	for _, m := range s.Meters {
		used = append(used, m.Name, fmt.Sprint(m.Percent()))
		text := fmt.Sprint(m.Forecast)
		if m.Name == "CPU" || m.Name == "IO" {
			text = fmt.Sprintf("%.2f", float64(m.Forecast)/100)
		}
		free = append(free, m.Name, text)
		if m.Name == "CPU" {
			t.set("CPUUsage", "", fmt.Sprint(m.Percent()))
		}
	}
	t.set("HostUtilization", "", strings.Join(used, "\t"))
	t.set("HostAvailableForecast", "", strings.Join(free, "\t"))
}

// askLinks asks the local gab, again and again, on which links it hears whom.
func (l *loop) askLinks() {
	conn, err := grpc.NewClient("unix:"+l.root.Socket("gab"), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		l.log.Warn("the state of the links is not known", "error", err)
		return
	}
	defer conn.Close()
	llt := gabv1.NewLltServiceClient(conn)
	for l.ctx.Err() == nil {
		ctx, cancel := context.WithTimeout(l.ctx, linkTime)
		answer, err := llt.ListPeers(ctx, &gabv1.ListPeersRequest{})
		cancel()
		if err == nil {
			links := map[string][]string{}
			for _, p := range answer.GetPeers() {
				for _, k := range p.GetLinks() {
					links[p.GetName()] = append(links[p.GetName()], k.GetTag(), pick(p.GetSelf() || k.GetStatus() != "DOWN", "UP", "DOWN"))
				}
			}
			l.post(func() { l.links = links })
		}
		wait(l.ctx, linkPeriod)
	}
}

func pick(yes bool, a, b string) string {
	if yes {
		return a
	}
	return b
}
