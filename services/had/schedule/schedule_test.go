package schedule_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"github.com/evenkeel/evenkeel/internal/vclock"
	"github.com/evenkeel/evenkeel/services/had/resource"
	"github.com/evenkeel/evenkeel/services/had/schedule"
)

// story drives a core from lines such as "12.5 result ip offline".
type story struct {
	core  *schedule.Core
	calls map[string]schedule.CallID
	next  resource.EffectID
	acts  schedule.ActionID
	now   vclock.Time
}

func newStory() *story {
	return &story{core: schedule.New(), calls: map[string]schedule.CallID{}}
}

var limitNames = map[string]func(*schedule.Spec, int){
	"restart":       func(s *schedule.Spec, n int) { s.Limits.RestartLimit = n },
	"retry":         func(s *schedule.Spec, n int) { s.Limits.OnlineRetryLimit = n },
	"onwait":        func(s *schedule.Spec, n int) { s.Limits.OnlineWaitLimit = n },
	"offwait":       func(s *schedule.Spec, n int) { s.Limits.OfflineWaitLimit = n },
	"cleanmax":      func(s *schedule.Spec, n int) { s.Limits.CleanRetryLimit = n },
	"tolerance":     func(s *schedule.Spec, n int) { s.Limits.ToleranceLimit = n },
	"hung":          func(s *schedule.Spec, n int) { s.Limits.FaultOnMonitorTimeouts = n },
	"conf":          func(s *schedule.Spec, n int) { s.Limits.ConfInterval = n },
	"offmon":        func(s *schedule.Spec, n int) { s.Limits.OfflineMonitorInterval = n },
	"monitor":       func(s *schedule.Spec, n int) { s.Limits.MonitorInterval = n },
	"montimeout":    func(s *schedule.Spec, n int) { s.Limits.MonitorTimeout = n },
	"ontimeout":     func(s *schedule.Spec, n int) { s.Limits.OnlineTimeout = n },
	"offtimeout":    func(s *schedule.Spec, n int) { s.Limits.OfflineTimeout = n },
	"cleantimeout":  func(s *schedule.Spec, n int) { s.Limits.CleanTimeout = n },
	"opentimeout":   func(s *schedule.Spec, n int) { s.Limits.OpenTimeout = n },
	"closetimeout":  func(s *schedule.Spec, n int) { s.Limits.CloseTimeout = n },
	"attrtimeout":   func(s *schedule.Spec, n int) { s.Limits.AttrChangedTimeout = n },
	"actiontimeout": func(s *schedule.Spec, n int) { s.Limits.ActionTimeout = n },
	"infotimeout":   func(s *schedule.Spec, n int) { s.Limits.InfoTimeout = n },
	"info":          func(s *schedule.Spec, n int) { s.Limits.InfoInterval = n },
	"leveltwo":      func(s *schedule.Spec, n int) { s.Limits.LevelTwoMonitorFreq = n },
	"alert":         func(s *schedule.Spec, n int) { s.Limits.AlertOnMonitorTimeouts = n },
	"stats":         func(s *schedule.Spec, n int) { s.Limits.StatsFrequency = n },
	"threads":       func(s *schedule.Spec, n int) { s.Limits.NumThreads = n },
	"enabled":       func(s *schedule.Spec, n int) { s.Enabled = n != 0 },
	"protected":     func(s *schedule.Spec, n int) { s.Protected = n != 0 },
	"noclean":       func(s *schedule.Spec, n int) { s.NoClean = n != 0 },
	"none":          func(s *schedule.Spec, n int) { s.ManageFaultsNone = n != 0 },
	"intent":        func(s *schedule.Spec, n int) { s.Limits.IntentionalOffline = n != 0 },
	"onoff":         func(s *schedule.Spec, n int) { s.Operations = schedule.OnOff },
	"ononly":        func(s *schedule.Spec, n int) { s.Operations = schedule.OnOnly },
	"persist":       func(s *schedule.Spec, n int) { s.Operations = schedule.None },
}

func (s *story) event(t testing.TB, words []string) schedule.Event {
	switch words[0] {
	case "set":
		spec := schedule.Spec{Resource: words[1], Type: "T", Enabled: true, Limits: schedule.DefaultLimits()}
		newValues := false
		for _, word := range words[2:] {
			if word == "newvalues" {
				newValues = true
				continue
			}
			name, value, _ := strings.Cut(word, "=")
			n, _ := strconv.Atoi(value)
			set := limitNames[name]
			if set == nil {
				t.Fatalf("unknown limit %q", word)
			}
			set(&spec, n)
		}
		return schedule.SetResource{Spec: spec, NewValues: newValues}
	case "act":
		s.acts++
		until := s.now.Add(30 * time.Second)
		if len(words) > 2 {
			until = seconds(t, words[2])
		}
		return schedule.Act{ID: s.acts, Resource: words[1], Until: until}
	case "remove":
		return schedule.RemoveResource{Resource: words[1]}
	case "up":
		return schedule.PluginUp{Type: "T"}
	case "down":
		return schedule.PluginDown{Type: "T"}
	case "push":
		return schedule.WatchPush{Resource: words[1]}
	case "wake":
		return schedule.Wake{}
	case "armed":
		return schedule.Armed{OK: true}
	case "disarmed":
		return schedule.Armed{}
	case "lease":
		if words[1] == "never-ends" {
			return schedule.Lease{Until: vclock.Never}
		}
		return schedule.Lease{Until: seconds(t, words[1])}
	case "result":
		return s.result(t, words[1:])
	}
	kinds := map[string]resource.CommandKind{"online": resource.CommandOnline, "offline": resource.CommandOffline,
		"probe": resource.CommandProbe, "clear": resource.CommandClear,
		"clearfault": resource.CommandClear, "freeze": resource.CommandMonitorOnly,
		"thaw": resource.CommandMonitorOnly, "refreshinfo": resource.CommandRefreshInfo}
	kind, known := kinds[words[0]]
	if !known {
		t.Fatalf("unknown event %q", words)
	}
	s.next++
	cmd := resource.Command{ID: s.next, Kind: kind, Resource: words[1]}
	if words[0] == "freeze" || words[0] == "clearfault" {
		cmd.Arg = 1
	}
	return schedule.Command{Command: cmd}
}

func (s *story) result(t testing.TB, words []string) schedule.Event {
	id := s.calls[words[0]]
	if id == 0 {
		t.Fatalf("%s has no running call", words[0])
	}
	delete(s.calls, words[0])
	r := schedule.EntryPointResult{Call: id}
	for _, word := range words[1:] {
		name, value, _ := strings.Cut(word, "=")
		switch name {
		case "ok":
		case "online":
			r.Saw, r.Confidence = schedule.SawOnline, 100
			if value != "" {
				r.Confidence, _ = strconv.Atoi(value)
			}
		case "offline":
			r.Saw = schedule.SawOffline
		case "intentional":
			r.Saw = schedule.SawIntentionalOffline
		case "unknown":
		case "failed":
			r.Outcome = schedule.Failed
		case "timeout":
			r.Outcome = schedule.TimedOut
		case "cancelled":
			r.Outcome = schedule.Cancelled
		case "gone":
			r.Outcome = schedule.PluginGone
		case "missing":
			r.Outcome, r.Missing = schedule.Failed, true
		case "fact":
			key, text, _ := strings.Cut(value, ":")
			r.Facts = append(r.Facts, resource.Fact{Name: key, Value: text})
		case "because":
			r.Detail = value
		case "wait":
			r.Wait, _ = strconv.Atoi(value)
		default:
			t.Fatalf("unknown result %q", word)
		}
	}
	return r
}

func seconds(t testing.TB, text string) vclock.Time {
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		t.Fatal(err)
	}
	return vclock.Time(f * 1e9)
}

// TestStories plays testdata/*.txt. Each line is "SECONDS EVENT ARGS"; the
// answer shows the effects, then the phase of the resources when asked for by
// "show".
func TestStories(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		var s *story
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			if d.Cmd == "new" {
				s = newStory()
			}
			var b strings.Builder
			for _, line := range strings.Split(d.Input, "\n") {
				if words := strings.Fields(line); len(words) > 1 {
					s.play(t, &b, words)
				}
			}
			return b.String()
		})
	})
}

func (s *story) play(t testing.TB, b *strings.Builder, words []string) {
	s.now = seconds(t, words[0])
	if words[1] == "show" {
		next, ok := s.core.Deadline()
		fmt.Fprintf(b, "  %s: %s; protected %d; next %v %t\n", words[2], s.core.Phase(words[2]), len(s.core.Protected()), next, ok)
		return
	}
	ev := s.event(t, words[1:])
	fmt.Fprintf(b, "%s %s\n", words[0], strings.Join(words[1:], " "))
	for _, effect := range s.core.Step(s.now, ev, nil) {
		if call, isCall := effect.(schedule.Call); isCall {
			s.calls[call.Resource] = call.ID
		}
		fmt.Fprintf(b, "  %s\n", effect)
	}
}
