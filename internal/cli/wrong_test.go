package cli

import (
	"context"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/internal/cli/vcs"
	"github.com/evenkeel/evenkeel/internal/paths"
)

// TestWrongCalls: what is wrong is said, with the nearest right thing where
// there is one; the exit code is that of wrong usage or of a refusal, nothing
// is printed for scripts to take for an answer, and nothing is changed.
func TestWrongCalls(t *testing.T) {
	r, e := root(t), newEngine()
	e.config = fullConfig
	serve(t, r, e)
	cases := []struct {
		line string
		code int
		want string
	}{
		{"hastatus -smu", 2, "unknown option -smu"},
		{"hastatus -summaryy", 2, "did you mean -summary"},
		{"hastatus -sum app", 2, "-group app"},
		{"hastatus -group", 2, "-group wants a value"},
		{"hastatus -sum -group ap", 1, "did you mean app?"},
		{"hastatus -sum -clus demoo", 1, "this cluster is demo"},
		{"hagrp", 2, "usage:"},
		{"hagrp state", 2, "an action comes first"},
		{"hagrp -onlien app -sys sysA", 2, "did you mean -online?"},
		{"hagrp -online app", 2, "Either -sys S or -any"},
		{"hagrp -online app -sys sysA -any", 2, "Either -sys S or -any"},
		{"hagrp -online app db -sys sysA", 2, "1 word is too many behind what it takes: db"},
		{"hagrp -online -sys sysA", 2, "1 word is missing"},
		{"hagrp -online app -sys sysA -sys sysB", 2, "-sys stands twice"},
		{"hagrp -online app -sys", 2, "-sys wants a value"},
		{"hagrp -online app -on sysA", 2, "unknown option -on"},
		{"hagrp -switch app -sys sysB", 2, "unknown option -sys"},
		{"hagrp -flush app", 2, "Name it: -sys S"},
		{"hagrp -freeze app -persistant", 2, "did you mean -persistent?"},
		{"hagrp -state ap", 1, "Group ap does not exist"},
		{"hagrp -state app -sys sysX", 1, "V-16-1-10357"},
		{"hagrp -state db -sys sysB", 1, "V-16-1-10135"},
		{"hagrp -display -attribute Stat", 1, "did you mean State?"},
		{"hagrp -display app -sys sysX", 1, "V-16-1-10357"},
		{"hagrp -value app", 2, "1 word is missing"},
		{"hagrp -value app SystemLst", 1, "did you mean SystemList?"},
		{"hagrp -wait app State ONLNE -time 1", 1, "did you mean ONLINE?"},
		{"hagrp -wait app State ONLINE -time -1", 2, "-time wants a value"},
		{"hagrp -wait app State ONLINE -time 1s", 2, "-time takes seconds"},
		{"hagrp -wait app State", 2, "1 word is missing"},
		{"hagrp -resources", 2, "1 word is missing"},
		{"hagrp -resources nope", 1, "V-16-1-40131"},
		{"hagrp -modify app", 2, "the name of the attribute is missing"},
		{"hagrp -modify app SystemList -update", 2, "the value of SystemList is missing"},
		{"hagrp -modify app Load -x", 2, "%-x"},
		{"hagrp -link app db", 2, "category"},
		{"hagrp -add", 2, "one name"},
		{"hagrp -clear app -clus nowhere", 1, "this cluster is demo"},
		{"hares -state nope", 1, "V-16-1-40130"},
		{"hares -st nope", 1, "V-16-1-40130"},
		{"hares -o app_ip -sys sysA", 2, "-offline or -offprop or -online or -override"},
		{"hares -probe app_ip", 2, "Name it: -sys S"},
		{"hares -display -type Nope", 1, "Type Nope does not exist"},
		{"hares -display -group nope", 1, "V-16-1-40131"},
		{"hares -action app_ip", 2, "1 word is missing"},
		{"hares -action app_ip x", 2, "Name it: -sys S"},
		{"hares -link a b,c -min none", 2, "-min takes a number"},
		{"hares -add ip IP", 2, "its type and its group"},
		{"hares -wait app_ip State ONLIN -time 1", 1, "did you mean ONLINE?"},
		{"hares -override app_ip", 2, "expected 2"},
		{"hasys -state sysX", 1, "V-16-1-10357"},
		{"hasys -freeze", 2, "1 word is missing"},
		{"hasys -freeze sysA -evacuat -persist -now", 2, "unknown option -now"},
		{"hasys -wait sysA SysState RUNING -time 1", 1, "did you mean RUNNING?"},
		{"hasys -nodeid 7", 1, "V-16-1-10357"},
		{"hasys -modify", 2, "an object, an attribute"},
		{"hatype -display IPP", 1, "Type IPP does not exist"},
		{"hatype -value IP MonitorIntervall", 1, "did you mean MonitorInterval?"},
		{"haattr -display IPP", 1, "did you mean"},
		{"haattr -add IP", 2, "a type and an attribute"},
		{"haattr -add IP Depth -text", 2, "unknown option -text"},
		{"haclus -value ReadOnlyy", 1, "did you mean ReadOnly?"},
		{"haclus -value", 2, "1 word is missing"},
		{"haclus -modify", 2, "the name of the attribute is missing"},
		{"haclus -wait ReadOnly", 2, "1 word is missing"},
		{"haconf -makerww", 2, "did you mean -makerw?"},
		{"haconf -makero", 2, "unknown option -makero"},
		{"haconf -dump main.cf", 2, "1 word is too many"},
		{"hauser -display nobody", 1, "User nobody does not exist"},
		{"hauser -addpriv opr Operater", 2, "did you mean Operator?"},
		{"hauser -addpriv staff AdministratorGrup", 2, "did you mean AdministratorGroup"},
		{"halogin", 2, "it takes a host, a user"},
		{"halogin -endsesion sysA", 2, "did you mean -endsession?"},
		{"halogin -endsession sysA admin", 2, "one of -endallsessions"},
		{"halogin sysA admin secret", 1, "no login is needed"},
		{"haagent -stop IP", 2, "Name it: -sys S"},
		{"haagent -value IP Faultss", 1, "did you mean Faults?"},
		{"hamsg", 2, "name one log"},
		{"hamsg nope", 1, "V-16-1-90505"},
		{"hamsg -sev ERROR engine_A", 2, "C, E, W, N or I"},
		{"halog -add", 2, "1 word is missing"},
		{"halog -add a b", 2, "1 word is too many"},
		{"hastop", 2, "one of -local, -all, -sysoffline and -sys"},
		{"hastop -all -evacuate", 2, "-all takes -force only"},
		{"hastop -local -force -evacuate", 2, "neither"},
		{"hastart -stale -force", 2, "exclude each other"},
		{"ha grup list", 2, "unknown command \"ha grup\"; did you mean group? ha --help lists them"},
		{"ha group modify app SystemList --add --delete x", 2, "only one of --add, --update, --delete, --clear"},
		{"ha resource modify app_mnt FsckOpt -y", 2, "stands behind --"},
		{"ha attribute add IP Depth --type integr", 2, "did you mean integer?"},
		{"ha attribute add IP Depth --dimension list", 2, "it is one of scalar, vector, keylist, assoc"},
		{"ha log -n -5", 2, "a number from 0"},
		{"ha config apply /nowhere --confirm -5s", 2, "a time from now"},
		{"ha config rollback 1 --confirm 0s", 2, "a time from now"},
		{"hacf -verfy /tmp", 2, "did you mean -verify?"},
		{"hacf -verify", 2, "takes a folder"},
	}
	wrong := 0
	for _, c := range cases {
		e.calls = nil
		out, errs, code := call(t, r, c.line)
		wrong++
		if code != c.code || !strings.Contains(errs, c.want) || out != "" || len(e.calls) > 0 {
			t.Errorf("%s: exit %d (want %d), calls %q, out %q\n%s", c.line, code, c.code, e.calls, out, errs)
		}
		if first, _, _ := strings.Cut(errs, "\n"); code == 1 && !strings.HasPrefix(first, "VCS ") {
			t.Errorf("%s: a refusal not in VCS's form: %q", c.line, first)
		}
	}
	if wrong < 60 {
		t.Errorf("only %d wrong calls", wrong)
	}
}

// TestShortened: shortened options, and options in another place, are the same
// command.
func TestShortened(t *testing.T) {
	r, e := root(t), newEngine()
	e.config = fullConfig
	serve(t, r, e)
	for _, same := range [][]string{
		{"hastatus -summary", "hastatus -summ", "hastatus -sum", "hastatus -su", "hastatus -s", "hastatus -sum -localclus", "hastatus -sum -clus demo"},
		{"hagrp -state app -sys sysA", "hagrp -stat app -s sysA", "hagrp -state -localclus app -sys sysA", "hagrp -state app -sys sysA -clus demo"},
		{"hagrp -display app -attribute State -attribute Parallel", "hagrp -disp app -attr State Parallel"},
		{"hagrp -online app -sys sysA -propagate", "hagrp -onl -prop app -sys sysA", "hagrp -online -propagate -sys sysA app -localclus"},
		{"hagrp -flush app -sys sysA -force", "hagrp -flush -force app -sys sysA", "hagrp -fl -f app -s sysA"},
		{"hagrp -modify app AutoStartList -delete -keys", "hagrp -modi app AutoStartList -del -keys"},
		{"hasys -freeze sysA -persistent -evacuate", "hasys -freeze -persistent -evacuate sysA", "hasys -fr -p -e sysA"},
		{"hares -modify app_ip Address 1.2.3.4 -sys sysA", "hares -mod app_ip Address 1.2.3.4 -s sysA"},
		{"haconf -dump -makero", "haconf -d -m"},
		{"haattr -add IP Depth -integer 1", "haattr -add IP Depth -int 1"},
		{"hamsg -list", "hamsg -li"},
		{"haclus -value ReadOnly", "haclus -val ReadOnly"},
		{"hagrp -list Parallel=0", "hagrp -lis Parallel=0"},
	} {
		writeLogs(t, r, "")
		var first string
		for i, line := range same {
			e.calls = nil
			out, errs, code := call(t, r, line)
			got := out + errs + strings.Join(e.calls, "\n")
			if code != 0 {
				t.Errorf("%s: exit %d: %s", line, code, errs)
			}
			if i == 0 {
				first = got
			} else if got != first {
				t.Errorf("%s and %s differ:\n%s\n---\n%s", same[0], line, first, got)
			}
		}
	}
}

// TestHungEngine: every command that reads ends within two seconds when the
// engine takes the connection and says nothing.
func TestHungEngine(t *testing.T) {
	r := root(t)
	listener, err := net.Listen("unix", r.Socket("had"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	var all sync.WaitGroup
	for _, line := range []string{
		"hastatus", "hastatus -sum -group app", "hagrp -state", "hagrp -display app -attribute State", "hagrp -list Parallel=1", "hagrp -dep",
		"hagrp -resources app", "hagrp -value app State", "hagrp -forecast app", "hares -display", "hares -display -ovalues", "hares -dep -atleast",
		"hares -action r x -sys s", "hasys -nodeid", "hasys -util sysA", "hatype -display", "haattr -display IP", "haclus -display",
		"haclus -status far", "hauser -list", "haagent -list", "haagent -display IP", "hagrp -wait g State ONLINE -time 60",
	} {
		all.Go(func() {
			began := time.Now()
			out, errs, code := call(t, r, line)
			if took := time.Since(began); took >= 2*time.Second {
				t.Errorf("%s took %v", line, took)
			}
			if code != 1 || !strings.HasPrefix(errs, "VCS ERROR V-16-1-10805 Connection timed out") {
				t.Errorf("%s: exit %d, %q %q", line, code, out, errs)
			}
		})
	}
	all.Wait()
}

// seen tells when a text was written to it.
type seen struct {
	mu    sync.Mutex
	all   strings.Builder
	text  string
	found chan struct{} // closed when it was
}

func (s *seen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := strings.Contains(s.all.String(), s.text)
	s.all.Write(p)
	if !before && strings.Contains(s.all.String(), s.text) {
		close(s.found)
	}
	return len(p), nil
}

// TestLiveEnds: hastatus ends well when it is interrupted, and says so when the
// engine goes.
func TestLiveEnds(t *testing.T) {
	for _, goes := range []bool{false, true} {
		r, e := root(t), newEngine()
		e.stays = true
		stop := serve(t, r, e)
		ctx, interrupt := context.WithCancel(t.Context())
		out, errs := &seen{text: "app                                  sysA                 ONLINE", found: make(chan struct{})}, &strings.Builder{}
		ended := make(chan int, 1) // one exit code
		go func() { ended <- Main(ctx, []string{"hastatus"}, Surroundings{Root: r, Out: out, Err: errs}) }()
		<-out.found
		want, text := 0, ""
		if goes {
			stop()
			want, text = 1, "VCS WARNING V-16-1-11046 Local system not available: the engine has gone\n"
		} else {
			interrupt()
		}
		if code := <-ended; code != want || errs.String() != text {
			t.Errorf("engine goes %v: exit %d, %q", goes, code, errs.String())
		}
		interrupt()
	}
}

// FuzzCommands: no words make a command panic or end otherwise than with 0, 1
// or 2, and wrong usage never prints on standard output.
func FuzzCommands(f *testing.F) {
	dir, err := os.MkdirTemp("", "ek")
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { os.RemoveAll(dir) })
	r := paths.Root(dir)
	names := slices.DeleteFunc(vcs.Names(), func(n string) bool { return n == "hacf" }) // it writes where it is told
	for i, words := range []string{"-state app -sys a", "-modify g A -add k v -sys s", "-online g -any", "-help -list", "-display -attribute A B -sys", "-modify x y -5 %-z", "-", "-- -", "-otype GRP x", "-list A=b"} {
		f.Add(i, words)
	}
	f.Fuzz(func(t *testing.T, which int, text string) {
		name := names[(which%len(names)+len(names))%len(names)]
		var out, errs strings.Builder
		code := Main(t.Context(), append([]string{name}, strings.Fields(text)...), Surroundings{Root: r, In: strings.NewReader(""), Out: &out, Err: &errs, Programs: "/nonexistent"})
		if code < 0 || code > 2 || code == 2 && (out.String() != "" || errs.String() == "") {
			t.Errorf("%s %q: exit %d, %q %q", name, text, code, out.String(), errs.String())
		}
	})
}
