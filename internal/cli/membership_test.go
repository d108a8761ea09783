package cli

import (
	"context"
	"net"
	"testing"

	"google.golang.org/grpc"

	gabv1 "github.com/evenkeel/evenkeel/proto/evenkeel/gab/v1"
)

// broadcast answers like a gab.
type broadcast struct {
	gabv1.UnimplementedGabServiceServer
	seeded bool
	told   int
}

func (b *broadcast) GetMembership(context.Context, *gabv1.GetMembershipRequest) (*gabv1.GetMembershipResponse, error) {
	if !b.seeded {
		return &gabv1.GetMembershipResponse{}, nil
	}
	a, c := &gabv1.Member{NodeId: 0, Name: "sysA"}, &gabv1.Member{NodeId: 12, Name: "sysC", Jeopardy: true}
	return &gabv1.GetMembershipResponse{Seeded: true, Ports: []*gabv1.PortMembership{
		{Port: "a", Members: []*gabv1.Member{a, c}},
		{Port: "b", Members: []*gabv1.Member{a}},
		{Port: "h", Members: []*gabv1.Member{a}, Visible: []*gabv1.Member{c}, Stalled: []*gabv1.Member{a}},
	}, Gate: &gabv1.Gate{Held: true, Reason: "no evidence for sysB; ha fencing vouch sysB"}}, nil
}

func (b *broadcast) GetConfiguration(context.Context, *gabv1.GetConfigurationRequest) (*gabv1.GetConfigurationResponse, error) {
	if b.seeded {
		return &gabv1.GetConfigurationResponse{Name: "sysA", State: "in view", FencingMode: "customized"}, nil
	}
	return &gabv1.GetConfigurationResponse{Name: "sysA", State: "unseeded", FencingMode: "customized", WaitingFor: "2 systems to be seen, now 1"}, nil
}

func (b *broadcast) Seed(context.Context, *gabv1.SeedRequest) (*gabv1.SeedResponse, error) {
	b.told++
	b.seeded = true
	return &gabv1.SeedResponse{}, nil
}

// TestMembership: who is a member of what, without had; seeding by hand only
// when it is meant, and once.
func TestMembership(t *testing.T) {
	r, b := root(t), &broadcast{}
	want := func(line, out, errs string, code int) {
		t.Helper()
		if o, e, c := call(t, r, line); o != out || e != errs || c != code {
			t.Errorf("%s: exit %d\n%s%s\nwant %d\n%s%s", line, c, o, e, code, out, errs)
		}
	}
	want("ha membership show", "", "ha: gab does not run on this system ("+r.Socket("gab")+"); start it with: ha node start\n", 1)
	listener, err := net.Listen("unix", r.Socket("gab"))
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer()
	gabv1.RegisterGabServiceServer(s, b)
	go s.Serve(listener)
	t.Cleanup(s.Stop)

	want("ha membership show", "sysA is not seeded; fencing mode customized\nwaits for 2 systems to be seen, now 1\n", "", 0)
	want("ha membership seed --plan", "plan: sysA forms a membership without waiting; gab waits for 2 systems to be seen, now 1\n", "", 0)
	if b.told != 0 {
		t.Fatal("a plan seeded")
	}
	want("ha membership seed", "sysA was told to form a membership; see: ha membership show\n", "", 0)
	want("ha membership seed", "seeded already: nothing to do\n", "", 0)
	if b.told != 1 {
		t.Fatalf("gab was told %d times to seed", b.told)
	}
	want("ha membership show", `sysA is in view; fencing mode customized
port h is held: no evidence for sysB; ha fencing vouch sysB

SYSTEM  NODE  A SYSTEMS  B FENCING  H ENGINE
sysA    0     member     member     member, STALLED
sysC    12    JEOPARDY   -          visible
`, "", 0)
}
