package server

import (
	"fmt"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	gabv1 "github.com/evenkeel/evenkeel/proto/evenkeel/gab/v1"
)

// TestConfigure: options change while gab runs; what is wrong changes nothing;
// a seed count that is reached now seeds now.
func TestConfigure(t *testing.T) {
	c := newCluster(t, 2, "")
	n := c.start(0) // waits for two
	until(t, func() string {
		_, err := n.gab.GetConfiguration(t.Context(), &gabv1.GetConfigurationRequest{})
		if err != nil {
			return err.Error()
		}
		return ""
	})
	configure := func(r *gabv1.ConfigureRequest) error {
		_, err := n.gab.Configure(t.Context(), r)
		return err
	}
	no, yes := false, true
	isolate, bad, many, one := uint32(5000), uint32(5), uint32(65), uint32(1)
	for want, r := range map[string]*gabv1.ConfigureRequest{
		"isolate_time 5 is not in 1000 to 240000 ms": {IsolateMs: &bad, Quorum: &yes},
		"seed count 65 is not in 0 to 64":            {SeedCount: &many, Quorum: &yes},
	} {
		if err := configure(r); status.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v", r, err)
		}
	}
	if err := configure(&gabv1.ConfigureRequest{HaltOnRejoin: &yes, KeepKilling: &yes, IsolateMs: &isolate, HaltOnProcessDeath: &no}); err != nil {
		t.Fatal(err)
	}
	got, err := n.gab.GetConfiguration(t.Context(), &gabv1.GetConfigurationRequest{})
	if err != nil || !got.GetHaltOnRejoin() || !got.GetKeepKilling() || got.GetIsolateMs() != 5000 || got.GetQuorum() || got.GetHaltOnProcessDeath() {
		t.Errorf("configuration: %v, %v", got, err)
	}
	if got.GetState() != "unseeded" || got.GetSeedCount() != 2 {
		t.Errorf("before the count is lowered: %v", got)
	}
	if err := configure(&gabv1.ConfigureRequest{SeedCount: &one}); err != nil {
		t.Fatal(err)
	}
	c.waitMembers(n, "a", "s0")
}

// TestQuorumFlag: with gabconfig -q less than half of a membership does not go
// on; with nothing protected here, gab leaves.
func TestQuorumFlag(t *testing.T) {
	c := formed(t, 3, "")
	yes := true
	for _, n := range c.nodes {
		if _, err := n.gab.Configure(t.Context(), &gabv1.ConfigureRequest{Quorum: &yes}); err != nil {
			t.Fatal(err)
		}
	}
	const word = "less than half of the membership is left"
	alone := func() bool { // the two went one after the other: half of two was left, which is enough
		got, _ := c.nodes[0].members("a")
		return got == "s0" && !strings.Contains(c.nodes[0].log.String(), word)
	}
	var err error
	for ended := false; !ended; {
		for _, i := range []int{1, 2} { // as a crash
			c.nodes[i].cancel()
		}
		again := false
		until(t, func() string {
			select {
			case err = <-c.nodes[0].ended:
				c.nodes[0].ended <- err // for the end of the test
				ended = true
				return ""
			default:
			}
			if again = alone(); again {
				return ""
			}
			return fmt.Sprintf("gab goes on\n%s", c.nodes[0].log)
		})
		if again {
			for _, i := range []int{1, 2} {
				c.stop(c.nodes[i])
				c.start(i)
			}
			c.waitMembers(c.nodes[0], "a", "s0 s1 s2")
		}
	}
	if err != nil {
		t.Errorf("gab ended with %v", err)
	}
	if !strings.Contains(c.nodes[0].log.String(), word) {
		t.Errorf("no word of it:\n%s", c.nodes[0].log)
	}
}
