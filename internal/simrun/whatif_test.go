package simrun

import (
	"bytes"
	"strings"
	"testing"
)

// TestWhatIf: an active/passive pair survives every single fault; two may be
// one too many, and the reason names the way out.
func TestWhatIf(t *testing.T) {
	if testing.Short() {
		t.Skip("dozens of simulated hours: without -short only")
	}
	var out, errs bytes.Buffer
	if code := Main([]string{"what-if", "--conf", "../../examples/topologies/active-passive"}, &out, &errs); code != 0 {
		t.Fatalf("exit code %d: %s%s", code, errs.String(), out.String())
	}
	singles, pairs, _ := strings.Cut(out.String(), "20 pairs of faults")
	for _, want := range []string{"app              primary", "5 single faults:\n  none leaves a group offline"} {
		if !strings.Contains(singles, want) {
			t.Errorf("%q is not in:\n%s", want, singles)
		}
	}
	for _, want := range []string{
		"crash primary, then crash standby: no system is left",
		"crash primary, then break app_server\n      app is offline: system primary is FAULTED: hastart on primary; faulted on standby (app_server): hagrp -clear app -sys standby",
		"17 of 20 leave groups offline",
	} {
		if !strings.Contains(pairs, want) {
			t.Errorf("%q is not in:\n%s", want, pairs)
		}
	}
}

func TestWhatIfRefuses(t *testing.T) {
	for _, args := range [][]string{{"what-if"}, {"what-if", "--conf", "/nowhere"}, {"what-if", "--fencing", "none", "--conf", "."}} {
		var out, errs bytes.Buffer
		if code := Main(args, &out, &errs); code != 2 || errs.Len() == 0 || out.Len() > 0 {
			t.Errorf("%v: exit code %d, %q, %q", args, code, out.String(), errs.String())
		}
	}
}
